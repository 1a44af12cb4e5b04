"""How recorded forecasts have done: one row a forecast, and sums over them against a reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.calibration import kolmogorov_smirnov
from regimeslot.evaluation.comparison import diebold_mariano
from regimeslot.evaluation.record import Record
from regimeslot.evaluation.scores import log_score

__all__ = ["GROUPS", "record_reference", "record_scores", "record_table"]

GROUPS = {False: "in time", True: "after the fact"}

# Preferred first, as in the report.
_REFERENCES = ("gjr-garch", "egarch-skewt", "linear", "markov", "mean")
_ENOUGH = 20  # rows from which a test says something


def record_table(record: Record) -> pd.DataFrame:
    """One row for each recorded forecast and model, with its scores where it has come true.

    Parameters
    ----------
    record : Record
        From :func:`regimeslot.evaluation.record.read_record`.

    Returns
    -------
    DataFrame
        ``after`` (the last bar known), ``date`` (of the target's first session; while it has not
        come, as expected), ``model``, ``made_at`` (UTC), ``after_the_fact`` (the session was over
        when the forecast was made), ``version``, ``mean``, ``std``, ``var_1``, ``var_5`` (losses
        positive), then ``y`` (realised), ``log_score`` (nats), ``crps`` (unit of y), ``pit`` and
        ``hit_1``, ``hit_5`` (1 where the loss was beyond the value at risk), NaN before.
    """
    parts = []
    y, dates = _outcomes(record)
    for model in record.models:
        forecast = record.forecasts(model)
        held = [entry for entry in record.bars.values() if model in entry["forecasts"]]
        after = pd.DatetimeIndex([entry["bar"] for entry in held])
        told = [entry["forecasts"][model] for entry in held]
        table = pd.DataFrame(
            {
                "after": after,
                "date": dates[after].to_numpy(),
                "model": model,
                "made_at": pd.to_datetime([e["made_at"] for e in held], utc=True),
                "after_the_fact": [bool(e["after_the_fact"]) for e in held],
                "version": [e["version"] for e in held],
                **{
                    name: np.array([t[name] for t in told], dtype=float)
                    for name in ("mean", "std", "var_1", "var_5")
                },
                "y": y[after].to_numpy(),
            }
        )
        known = np.flatnonzero(table["y"].notna())
        come, outcome = forecast[known], table["y"].to_numpy()[known]
        scores = np.full((len(table), 5), np.nan)
        if len(known):
            hits = (outcome < -table[name].to_numpy()[known] for name in ("var_1", "var_5"))
            scores[known] = np.column_stack(
                [
                    log_score(come, outcome, record.header.get("rounded_to")),
                    come.crps(outcome),
                    come.cdf(outcome),
                    *hits,
                ]
            )
        names = ["log_score", "crps", "pit", "hit_1", "hit_5"]
        parts.append(table.join(pd.DataFrame(scores, columns=names)))
    if not parts:
        raise InvalidInputError(f"{record.path} holds no forecast yet")
    whole = pd.concat(parts, ignore_index=True)
    return whole.sort_values("after", kind="stable").reset_index(drop=True)


def _outcomes(record: Record) -> tuple[pd.Series, pd.Series]:
    """Target of the forecast after each bar, NaN while it is open, and its first day."""
    moves, horizon = record.moves, record.horizon
    bars = pd.DatetimeIndex(sorted(set(record.bars) | set(moves.index)))
    value = moves.reindex(bars).to_numpy(dtype=float)
    y = np.full(len(bars), np.nan)
    for row in range(len(bars) - horizon):
        window = value[row + 1 : row + 1 + horizon]
        y[row] = window[-1] if record.header["transform"] == "level" else window.sum()
    expected = [pd.Timestamp(record.bars[day]["next"]) for day in bars[-1:]]
    return pd.Series(y, bars), pd.Series(bars[1:].append(pd.DatetimeIndex(expected)), bars)


def record_reference(record: Record) -> str | None:
    """The model that the others are measured against: the first baseline that was run."""
    main = record.header["main"]
    held = [name for name in _REFERENCES if name in record.models and name != main]
    return held[0] if held else None


def record_scores(record: Record, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """Scores of the forecasts that have come true, by when they were made and by model.

    Parameters
    ----------
    record : Record
    table : DataFrame, optional
        :func:`record_table` of it, where it is at hand.

    Returns
    -------
    DataFrame
        Index ``made`` ("in time" or "after the fact") and ``model``; columns ``n``, ``log_score``
        (mean, nats), ``gain`` (sum of the log scores' differences to the reference), ``t`` (of the
        mean difference, Newey-West; NaN below 20 rows), ``crps`` (mean), ``pit_p``
        (Kolmogorov-Smirnov p-value of uniform transforms; NaN below 20 rows), ``var_1_hit``,
        ``var_5_hit`` (shares, ideally .01 and .05). Best log score first.
    """
    rows = record_table(record) if table is None else table
    rows = rows[rows["y"].notna()]
    reference = record_reference(record)
    columns = ["n", "log_score", "gain", "t", "crps", "pit_p", "var_1_hit", "var_5_hit"]
    found: dict[tuple[str, str], list[float]] = {}
    for late, made in GROUPS.items():
        group = rows[rows["after_the_fact"] == late]
        scores = group.pivot(index="after", columns="model", values="log_score")
        for model in [name for name in record.models if name in scores]:
            held = group[group["model"] == model]
            gain, t = _gain(scores, model, reference, record.horizon)
            uniform = held["pit"].to_numpy()
            found[made, model] = [
                len(held),
                held["log_score"].mean(),
                gain,
                t,
                held["crps"].mean(),
                kolmogorov_smirnov(uniform).p if len(held) >= _ENOUGH else np.nan,
                held["hit_1"].mean(),
                held["hit_5"].mean(),
            ]
    index = pd.MultiIndex.from_arrays(
        [[made for made, _ in found], [model for _, model in found]], names=["made", "model"]
    )
    result = pd.DataFrame(list(found.values()), index, columns, dtype=float)
    if found:
        order = {made: place for place, made in enumerate(GROUPS.values())}
        key: Any = [(order[made], -row[1]) for (made, _), row in found.items()]
        result = result.iloc[sorted(range(len(key)), key=key.__getitem__)]
    return result.astype({"n": int})


def _gain(
    scores: pd.DataFrame, model: str, reference: str | None, horizon: int
) -> tuple[float, float]:
    """Sum of log scores over the reference's on the rows that both have, and its t."""
    if reference is None or model == reference or reference not in scores:
        return np.nan, np.nan
    both: NDArray[np.float64] = scores[[model, reference]].dropna().to_numpy()
    gain = float((both[:, 0] - both[:, 1]).sum())
    if len(both) < max(_ENOUGH, 3 * horizon):
        return gain, np.nan
    return gain, diebold_mariano(-both[:, 1], -both[:, 0], horizon=horizon).t
