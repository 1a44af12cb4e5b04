"""Tables of a study over many series: each a pure function of the panel's losses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from regimeslot.evaluation.comparison import (
    SIGNIFICANT,
    Difference,
    long_run_variance,
    newey_west_lags,
)
from regimeslot.evaluation.panel_result import SCORES, Panel
from regimeslot.evaluation.regime_value import _NET, _QUESTIONS
from regimeslot.evaluation.risk import LEVELS, coverage

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "coverage_table",
    "headline_table",
    "models_table",
    "regime_value_table",
    "regime_words",
    "regimes_table",
    "series_table",
    "steps_table",
    "years_table",
]

SIZE = 0.05  # p below which one series counts as significant
MCS_LEVEL = 0.9

# Models without features whose memory alone is the difference, beside those of regime_value.
_PLAIN_MEMORY = ("Memory, without features", "markov-t", "mixture-t")


def headline_table(panel: Panel, main: str, references: Sequence[str]) -> pd.DataFrame:
    """Main model against each reference, over all series.

    Returns
    -------
    DataFrame
        Indexed by reference. ``series``; log score: ``gain`` (mean over series, nats a row),
        ``median`` over series, ``low``, ``high``, ``t`` and ``p`` (of daily averages), ``won``,
        ``significant`` and ``significantly_worse`` (series, each a single comparison). For CRPS and
        QLIKE ``crps_gain`` and ``qlike_gain``: share of the reference's CRPS, and plain difference.
    """
    import pandas as pd

    rows = {}
    for against in references:
        row: dict[str, Any] = {}
        for score in SCORES:
            found = panel.average(main, against, score, relative=score == "crps")
            if found is None:
                break
            gains = panel.gains(against, score)
            own = gains[gains["model"] == main]
            told = own["p"] < SIZE
            prefix = "" if score == "log_score" else f"{score}_"
            row[f"{prefix}gain"] = found.gain
            if score == "log_score":
                row |= {"median": own["gain"].median(), "low": found.low, "high": found.high}
            row |= {f"{prefix}t": found.t, f"{prefix}p": found.p}
            row[f"{prefix}won"] = int((own["gain"] > 0).sum())
            row[f"{prefix}significant"] = int((told & (own["gain"] > 0)).sum())
            row[f"{prefix}significantly_worse"] = int((told & (own["gain"] < 0)).sum())
        else:
            rows[against] = {"series": int(own["gain"].notna().sum()), **row}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("against")


def models_table(panel: Panel, reference: str | None, sets: pd.DataFrame) -> pd.DataFrame:
    """Every model: series run, gain over one reference, and in how many confidence sets it is.

    Returns
    -------
    DataFrame
        Indexed by model, best first: ``series``, ``log_score`` (mean over series), ``gain``, ``t``
        (of daily averages), ``won``, ``significant``, ``in_set`` (of ``sets`` rows).
    """
    import pandas as pd

    gains = pd.DataFrame(columns=["model", "gain", "p"]) if reference is None else None
    if gains is None:
        gains = panel.gains(str(reference))
    rows = {}
    for model in panel.models:
        scores = [
            -float(losses["log_score"][model].mean())
            for losses in panel.losses.values()
            if model in losses["log_score"]
        ]
        row: dict[str, Any] = {"series": len(scores), "log_score": float(np.mean(scores))}
        found = panel.average(model, reference) if reference not in (None, model) else None
        own = gains[gains["model"] == model]
        row["gain"] = math.nan if found is None else found.gain
        row["t"] = math.nan if found is None else found.t
        row["won"] = int((own["gain"] > 0).sum())
        row["significant"] = int(((own["p"] < SIZE) & (own["gain"] > 0)).sum())
        inside = sets.get(model)
        row["in_set"] = 0 if inside is None else int((inside == True).sum())  # noqa: E712 - NaN too
        rows[model] = row
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")
    return table.sort_values("log_score", ascending=False, kind="stable")


def series_table(
    panel: Panel, main: str, references: Sequence[str], sets: pd.DataFrame
) -> pd.DataFrame:
    """Main model on every series, by its gain over the first reference.

    Returns
    -------
    DataFrame
        Indexed by series: ``first``, ``last``, ``rows``, ``gain:REF``, ``t:REF`` and ``p:REF`` for
        every reference; for the first of them also ``crps_gain``, ``crps_p``, ``qlike_gain`` and
        ``qlike_p``; ``in_set``.
    """
    import pandas as pd

    table = pd.DataFrame(index=pd.Index(list(panel.losses), name="series"))
    spans = [losses.index for losses in panel.losses.values()]
    table["first"] = [str(_label(index[0])) for index in spans]
    table["last"] = [str(_label(index[-1])) for index in spans]
    table["rows"] = [len(index) for index in spans]
    for number, against in enumerate(references):
        for score in SCORES if number == 0 else SCORES[:1]:
            gains = panel.gains(against, score)
            own = gains[gains["model"] == main].set_index("series")
            if score == "log_score":
                for column in ("gain", "t", "p"):
                    table[f"{column}:{against}"] = own[column]
            else:
                scale: Any = 1.0
                if score == "crps":
                    scale = pd.Series(
                        {n: panel.losses[n][score][against].mean() for n in own.index}, dtype=float
                    )
                table[f"{score}_gain"] = own["gain"] / scale
                table[f"{score}_p"] = own["p"]
    if main in sets:
        table["in_set"] = sets[main].reindex(table.index) == True  # noqa: E712 - NaN is outside
    if references:
        table = table.sort_values(f"gain:{references[0]}", ascending=False, kind="stable")
    return table


def years_table(panel: Panel, main: str, references: Sequence[str]) -> pd.DataFrame:
    """Gain of the main model in each calendar year: mean over series, and series ahead."""
    import pandas as pd

    columns: dict[str, Any] = {}
    for against in references:
        table = panel.differences(main, against)
        if table.empty or not isinstance(table.index, pd.DatetimeIndex):
            continue
        by_year = table.groupby(table.index.year).mean()
        columns.setdefault("series", by_year.notna().sum(axis=1))
        columns[f"gain:{against}"] = by_year.mean(axis=1)
        columns[f"won:{against}"] = (by_year > 0).sum(axis=1)
    return pd.DataFrame(columns).rename_axis("year")


def regimes_table(
    panel: Panel, main: str, references: Sequence[str], regime_model: str
) -> pd.DataFrame:
    """Gain of the main model by the regime that was predicted before each row.

    The regime is each series' own, the likeliest by the predicted probabilities of
    ``regime_model``, so that rows are told apart by what was known before them. Rows weigh the
    same; t allows for series that move together on the same day.

    Returns
    -------
    DataFrame
        Indexed by regime, calm first: ``share`` of rows, then ``gain:REF`` and ``t:REF``.
    """
    import pandas as pd

    states = {n: table[regime_model] for n, table in panel.states.items() if regime_model in table}
    if not states:
        return pd.DataFrame()
    held = pd.concat(states, axis=1)
    numbers = range(int(np.nanmax(held.to_numpy())) + 1)
    total = int(held.notna().to_numpy().sum())
    columns: dict[str, Any] = {
        "share": [float((held == k).to_numpy().sum()) / total for k in numbers]
    }
    for against in references:
        table = panel.differences(main, against)
        if table.empty:
            continue
        inside = held.reindex(index=table.index, columns=table.columns)
        found = [_clustered(table.where(inside == k)) for k in numbers]
        columns[f"gain:{against}"] = [gain for gain, _ in found]
        columns[f"t:{against}"] = [t for _, t in found]
    return pd.DataFrame(columns, index=pd.Index(list(numbers), name="regime"))


def _clustered(table: pd.DataFrame) -> tuple[float, float]:
    """Mean of all numbers of a table (days, series) and its t, by day sums and Newey-West."""
    values = table.to_numpy(float)
    number = int(np.isfinite(values).sum())
    if number < 2:
        return math.nan, math.nan
    mean = float(np.nansum(values) / number)
    sums = np.nansum(values - mean, axis=1)
    days = len(sums)
    variance = long_run_variance(sums, newey_west_lags(days)) * days
    return mean, mean / (math.sqrt(variance) / number) if variance > 0 else math.nan


def regime_value_table(panel: Panel) -> pd.DataFrame:
    """Memory, gating and their net value, averaged over series, each with its t by day.

    Returns
    -------
    DataFrame
        Indexed by question: ``model``, ``against``, ``series``, ``gain``, ``low``, ``high``,
        ``t``, ``p``, ``pays`` and ``costs`` (series with abs(t) of 2 or more), ``words``.
    """
    import pandas as pd

    rows: dict[str, dict[str, Any]] = {}
    switching: list[Difference] = []
    for question, model, against in (_PLAIN_MEMORY, *_QUESTIONS):
        found = panel.average(model, against)
        if found is None:
            continue
        gains = panel.gains(against)
        t = gains.loc[gains["model"] == model, "t"]
        words = _verdict(found)
        if question == _NET:
            if words == "pays" and not any(d.found and d.gain > 0 for d in switching):
                words = "pays, but constant weights pay as much: not regimes"
        elif question != _PLAIN_MEMORY[0]:
            switching.append(found)
        rows[question] = {
            "model": model,
            "against": against,
            "series": len(t),
            **{k: getattr(found, k) for k in ("gain", "low", "high", "t", "p")},
            "pays": int((t >= SIGNIFICANT).sum()),
            "costs": int((t <= -SIGNIFICANT).sum()),
            "words": words,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("question")


def _verdict(found: Difference) -> str:
    if not found.found:
        return "no regimes found"
    return "pays" if found.gain > 0 else "costs"


def regime_words(value: pd.DataFrame, headline: pd.DataFrame, over: str | None) -> str:
    """What part of the gain is regimes and what part is not, in words.

    Parameters
    ----------
    value : DataFrame
        Of :func:`regime_value_table`.
    headline : DataFrame
        Of :func:`headline_table`.
    over : str, optional
        Reference of the whole gain.
    """
    total = ""
    if over is not None and over in headline.index:
        total = f"{float(headline['gain'][over]):+.4f} over {over}"
    pairs = value[value["against"] == "slots-static"] if len(value) else value
    if not len(pairs):
        return (
            "What part of the gain is regimes is not known: slots-static, the same experts "
            "with constant weights, was not run beside a model that switches."
        )
    told = ", ".join(
        f"{row['model'].removeprefix('slots-')} {row['gain']:+.4f} (t {row['t']:.1f})"
        for _, row in pairs.iterrows()
    )
    if (pairs["t"] >= 2.0).any():
        lead = f"Switching pays{total and f', as part of the {total}'}"
    elif (pairs["t"] <= -2.0).any():
        lead = f"Switching costs here{total and f', within the {total}'}"
    else:
        lead = (
            f"No regimes found: what switching adds{total and f' to the {total}'} cannot be "
            "told from zero"
        )
    words = (
        f"{lead}. Over the same experts with constant weights, nats a row: {told}. The rest of "
        "the gain is features, Student-t tails, shrinkage and pooling, and is not due to "
        "regimes."
    )
    plain = value[value["against"] == "mixture-t"]
    if len(plain) and plain["t"].iloc[0] >= 2.0:
        words += (
            f" Without features memory alone gains {plain['gain'].iloc[0]:+.4f} "
            f"(t {plain['t'].iloc[0]:.1f}, markov-t over mixture-t): regimes are levels of "
            "volatility that last, which the features of the other models already tell."
        )
    return words


def steps_table(panel: Panel, main: str, reference: str) -> pd.DataFrame:
    """The gain over a reference in steps that add up: features, shape, regimes, pooling.

    Empty where one of the models in between was not run on every series.

    Returns
    -------
    DataFrame
        Indexed by step: ``model``, ``against``, ``gain``, ``t``, ``regimes`` (whether the step is
        switching between regimes). The last row is the whole.
    """
    import pandas as pd

    regime = next((m for m in ("slots-sticky", "slots-markov") if m in panel.models), None)
    if regime is None or main not in ("pool", regime):
        return pd.DataFrame()
    chain = [
        ("One expert: features, Student-t tails, shrinkage", "slots-single", reference),
        ("A second expert with constant weights: shape", "slots-static", "slots-single"),
        ("Switching between them: regimes", regime, "slots-static"),
    ]
    if main != regime:
        chain.append(("Pooling with the other slot models", main, regime))
    chain.append(("All together", main, reference))
    whole = list(panel.differences(main, reference).columns)
    rows = {}
    for step, model, against in chain:
        found = panel.average(model, against)
        if found is None or list(panel.differences(model, against).columns) != whole:
            return pd.DataFrame()
        rows[step] = {
            "model": model,
            "against": against,
            "gain": found.gain,
            "t": found.t,
            "regimes": step.endswith("regimes"),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("step")


def coverage_table(panel: Panel, model: str) -> pd.DataFrame:
    """Losses beyond the value at risk on every series, as forecast and with adaptive thresholds.

    Returns
    -------
    DataFrame
        Indexed by series, those of one-row targets; for 1 and 5 %: ``raw_1``, ``raw_p_1``,
        ``adapted_1``, ``adapted_p_1`` and the same with 5. Rates are shares of
        rows, p of Kupiec's test.
    """
    import pandas as pd

    rows = {}
    for series, uniforms in panel.uniforms.items():
        if model not in uniforms or panel.horizons[series] > 1:
            continue  # where targets overlap, a hit is not known before the next threshold
        row: dict[str, float] = {}
        for found in coverage(uniforms[model].to_numpy(), LEVELS):
            level = f"{100 * found.level:.0f}"
            row |= {
                f"raw_{level}": found.raw,
                f"raw_p_{level}": found.p,
                f"adapted_{level}": found.adapted,
                f"adapted_p_{level}": found.adapted_p,
            }
        rows[series] = row
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("series")


def _label(value: Any) -> Any:
    return value.date() if hasattr(value, "date") else value
