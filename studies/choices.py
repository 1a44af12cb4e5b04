"""What was chosen on returns up to 2010: features, and the members of the pool.

Walks the bundled series forward from 2000 to 2010, each forecast made before its day, and writes
choices.csv beside this file: the average gain of every candidate over what it might replace, with
the t of daily averages over the series (RRC apart: the GARCH fits of arch break on it). Nothing
after 2010 is read. Takes about four minutes on one core:

    python studies/choices.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from regimeslot import load_prices, make_dataset, walk_forward
from regimeslot.evaluation.comparison import score_difference
from regimeslot.features import other_series
from regimeslot.models.catalogue import POOL_MEMBERS
from regimeslot.prices.bundled import bundled_symbols

INDEX, APART = "^GSPC", "RRC"
FEATURES = {
    "own": (False, False),
    "own, market": (True, False),
    "own, cross-section": (False, True),
    "own, market, cross-section": (True, True),
}
KEPT = "own, market, cross-section"
BASELINES = ("gjr-garch", "egarch-t")
POOLS = {
    "pool and markov-t": (*POOL_MEMBERS, "markov-t"),
    "pool and slots-softmax": (*POOL_MEMBERS, "slots-softmax"),
    "pool and egarch-t": (*POOL_MEMBERS, "egarch-t"),
    "pool without slots-sticky": tuple(n for n in POOL_MEMBERS if n != "slots-sticky"),
}


def scores(prices: Mapping[str, object], models: tuple[str, ...], features: str) -> pd.DataFrame:
    """Log scores from 2000 on, columns (model, series)."""
    market, cross = FEATURES[features]
    others = {name: other_series(p) for name, p in prices.items() if name != INDEX}
    found = {}
    for name, own in prices.items():
        data = make_dataset(
            own,
            market=prices[INDEX] if market and name != INDEX else None,
            others=[o for key, o in others.items() if key != name] if cross else None,
        )
        first = int(data.index.searchsorted(pd.Timestamp("2000-01-01")))
        found[name] = walk_forward(models, data, train_size=data.skipped + first).log_scores()
    return pd.concat(found, axis=1).swaplevel(axis=1)


def pooled(held: pd.DataFrame, members: tuple[str, ...]) -> pd.DataFrame:
    """Log score of the equal pool of densities, columns series."""
    return np.log(sum(np.exp(held[name]) for name in members) / len(members))


def row(question: str, new: str, old: str, gain: pd.DataFrame) -> dict[str, object]:
    counted = gain.drop(columns=APART)
    found = score_difference(counted.mean(axis=1), np.zeros(len(counted)))
    return {
        "question": question,
        "candidate": new,
        "over": old,
        "gain": round(found.gain, 5),
        "t": round(found.t, 1),
        "series_better": int((counted.mean() > 0).sum()),
        "series": counted.shape[1],
        INDEX: round(float(gain[INDEX].mean()), 5),
        "first": f"{gain.index[0]:%Y-%m-%d}",
        "last": f"{gain.index[-1]:%Y-%m-%d}",
    }


def rows() -> Iterator[dict[str, object]]:
    prices = {n: load_prices(n, source="bundled", end="2010-12-31") for n in bundled_symbols()}
    base = scores(prices, BASELINES, "own")
    held = {name: scores(prices, (*POOL_MEMBERS, "pool"), name) for name in FEATURES}
    for name in FEATURES:
        for against in BASELINES:
            yield row("gain", f"pool: {name}", against, held[name]["pool"] - base[against])
    for name in FEATURES:
        if name != "own":
            yield row("features", name, "own", held[name]["pool"] - held["own"]["pool"])
    more = scores(prices, ("markov-t", "slots-softmax"), KEPT)
    whole = pd.concat([held[KEPT], more, base], axis=1)
    for name, members in POOLS.items():
        yield row("pool", name, "pool", pooled(whole, members) - held[KEPT]["pool"])


if __name__ == "__main__":
    with threadpool_limits(1):
        table = pd.DataFrame(rows())
    table.to_csv(Path(__file__).with_name("choices.csv"), index=False)
    print(table.to_string(index=False))
