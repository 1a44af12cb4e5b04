"""Second answer of the first screen, and the sections about regimes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from regimeslot.reporting.evidence import difference
from regimeslot.reporting.shapes import stack_shape
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count, date, probability, share

__all__ = ["lasted", "regime_answer", "slots_section", "stability_section", "transition_section"]

OUTLOOK_STEPS = 21
_CONSTANT = ("slots-static", "mixture-t")
_DISTINCT = 1.2  # ratio of volatilities from which two regimes are different in size
_NO_REGIMES = (
    "No regime model was run, so there are no regimes to show. Add one: --models slots-sticky."
)


def lasted(likeliest: np.ndarray, now: int) -> int:
    """Rows at the end of the series for which regime ``now`` has been the likeliest.

    Examples
    --------
    >>> lasted(np.array([0, 1, 1]), 1), lasted(np.array([0, 1, 1]), 0)
    (2, 0)
    """
    others = np.flatnonzero(likeliest != now)
    return len(likeliest) if not len(others) else int(len(likeliest) - 1 - others[-1])


def regime_answer(view: View) -> dict[str, Any]:
    """Regime of the next session: name, probability, age, time left, outlook."""
    table = view.regimes
    if table is None:
        return {"missing": _NO_REGIMES}
    outlook = view.run.regime_outlook(OUTLOOK_STEPS) if view.run is not None else None
    if outlook is None or outlook.empty:
        ahead, when = table.iloc[[-1]].to_numpy(), f"on {date(view.index[-1])}"
    else:
        ahead, when = outlook.to_numpy(), f"for the next {view.period.step}"
    names = list(table.columns)
    likeliest = table.to_numpy().argmax(axis=1)
    now = int(ahead[0].argmax())
    age = lasted(likeliest, now)
    period = view.period
    if age:
        age_words = f"the likeliest for {period.steps(age)}"
    else:
        age_words = "new, another was likeliest until now"
    answer = {
        "headline": names[now].capitalize(),
        "number": now,
        "probability": f"{probability(float(ahead[0, now]))} likely {when}",
        "age": age_words,
        "left": _time_left(view),
        "caution": _caution(view, table),
        "model": view.regime_model,
        "regimes": [
            {
                "number": k,
                "of": len(names),
                "name": name,
                "short": name.split(",")[0],
                "probability": probability(float(ahead[0, k])),
                "share": float(ahead[0, k]),
            }
            for k, name in enumerate(names)
        ],
        "outlook": None,
    }
    if len(ahead) > 1:
        answer["outlook"] = _outlook(view, ahead, names)
    return answer


def _time_left(view: View) -> str | None:
    if view.run is None:
        return None
    left = view.run.expected_time_left()
    if not math.isfinite(left):
        return None
    return f"about {count(max(left, 1.0))} more expected"


def _outlook(view: View, ahead: np.ndarray, names: list[str]) -> dict[str, Any]:
    steps = len(ahead)
    ticks = [(k - 1, str(k)) for k in (1, 5, 10, 15, 21) if k <= steps]
    ticks[0] = (0, "next")
    ticks[-1] = (ticks[-1][0], f"{ticks[-1][1]} {view.period.plural}")
    said = "; ".join(
        f"{name} {share(ahead[0, k])} next, {share(ahead[-1, k])} in {steps}"
        for k, name in enumerate(names)
    )
    rows = [[cell(str(i + 1)), *(cell(share(p, 1)) for p in row)] for i, row in enumerate(ahead)]
    return {
        "title": f"Regime probabilities over the next {view.period.steps(steps)}",
        "alt": f"Stacked areas of regime probabilities over {view.period.steps(steps)}: {said}.",
        "shape": stack_shape(ahead, ticks),
        "table": Table(
            "Probability of each regime by step ahead, with today's features held",
            (f"{view.period.step.capitalize()}s ahead", *names),
            rows,
            text_columns=(),
        ),
    }


def slots_section(view: View) -> dict[str, Any]:
    """What each regime is, in numbers and plain words."""
    table = view.regimes
    if table is None:
        return {"missing": _NO_REGIMES}
    held = _moments(view, table)
    if "features" in held and not held["features"].astype(bool).any():
        held = held.drop(columns="features")
    columns = [column for column in _columns(view) if column[0] in held]
    rows = [
        [cell(str(name), strong=True), *(cell(write(row[key])) for key, _, write in columns)]
        for name, row in held.iterrows()
    ]
    headers = ("Regime", *(header for _, header, _ in columns))
    return {
        "title": _slots_title(held, view),
        "table": Table(
            "What each regime is",
            headers,
            rows,
            text_columns=tuple(i for i, h in enumerate(headers) if h in _TEXTS),
        ),
        "note": "Means, volatilities and spells are those of the walk-forward rows, weighted by "
        "the probability predicted for each row; a regime's name is its typical volatility. "
        "Spells and extremes are of the rows in which it was the likeliest; the expected spell is "
        "that of the transitions below. Features act on the log of the scale, per standard "
        "deviation of the feature.",
    }


_TEXTS = ("Regime", "Tails", "Features that move its scale most")


def _columns(view: View) -> list[tuple[str, str, Callable[[Any], str]]]:
    """Column of the table of regimes, its header with its unit, and how a number is written."""
    unit, period = view.unit, view.period
    of = f"{unit.name} {view.span}"
    return [
        ("occupancy", "Share of time, %", lambda v: f"{100 * v:.0f}"),
        ("spells", "Spells", count),
        ("mean_duration", f"Mean spell, {period.plural}", lambda v: f"{v:.1f}"),
        ("expected_duration", f"Expected spell, {period.plural}", lambda v: f"{v:.1f}"),
        ("mean", f"Mean, {of}", lambda v: unit.number(v, plus=view.plus)),
        ("volatility", f"Volatility, {of}", unit.number),
        ("below_zero", f"Below zero, % of {period.plural}", lambda v: f"{100 * v:.0f}"),
        ("worst", f"Lowest, {unit.name}", lambda v: unit.number(v, plus=view.plus)),
        ("best", f"Highest, {unit.name}", lambda v: unit.number(v, plus=view.plus)),
        ("dof", "Degrees of freedom", _dof),
        ("dof", "Tails", _tails),
        ("features", "Features that move its scale most", lambda v: _feature_words(str(v))),
    ]


def stability_section(view: View) -> dict[str, Any] | None:
    """Whether consecutive refits label the same rows alike; None where nothing was refitted."""
    found = view.stability
    if found is None:
        return None
    record, table = found.to_json(), found.table
    rand, alike = table["rand"], table["alike"]
    times = f"{count(len(table))} refit{'s' if len(table) > 1 else ''}"
    renamed = record["renamed"]
    changed = "no refit changed a name" if not renamed else f"{count(renamed)} changed names"
    agreement = {
        "excellent": "Refits agree on the regimes",
        "good": "Refits largely agree on the regimes",
        "moderate": "Refits agree on the regimes in part: read their history with care",
        "poor": "Refits do not agree on the regimes: what they are depends on when it is asked",
    }[found.words]
    rows = [
        [
            cell("Adjusted Rand index"),
            cell(f"{rand.mean():.2f}"),
            cell(f"{rand.min():.2f}"),
            cell(date(rand.idxmin(), weekday=False)),
        ],
        [
            cell(f"{view.period.plural.capitalize()} labelled alike, %"),
            cell(f"{100 * alike.mean():.0f}"),
            cell(f"{100 * alike.min():.0f}"),
            cell(date(alike.idxmin(), weekday=False)),
        ],
    ]
    return {
        "title": f"{agreement} (adjusted Rand index {rand.mean():.2f} over {times}, {changed})",
        "table": Table(
            "Labels of consecutive refits on the same rows",
            ("Agreement", "Mean", "Lowest", "At the refit of"),
            rows,
            text_columns=(0, 3),
        ),
        "note": f"Each refit of {view.regime_model} labelled all {count(found.n_rows)} forecast "
        "rows by its own parameters; labels are matched so that most rows agree. An index of 1 "
        "is the same division, 0 no more than chance; from 0.9 it is called excellent, from 0.8 "
        f"good, from 0.65 moderate. First fit against last: {found.first_to_last:.2f}.",
    }


def _moments(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """Table of the run, or what the probabilities alone tell."""
    held = view.run.regime_table() if view.run is not None else pd.DataFrame()
    return _plain_table(view, table) if held.empty else held


def _caution(view: View, table: pd.DataFrame) -> str | None:
    """Sentence for regimes that promise more than they keep: by name, or as a forecast."""
    if view.regime_model in _CONSTANT:
        return "Constant weights: parts of one shape, not regimes that come and go."
    moves = _moments(view, table)["volatility"].to_numpy(dtype=float)
    if len(moves) < 2 or not np.isfinite(moves).all() or moves[-1] >= _DISTINCT * moves[0]:
        return _as_forecast(view)
    return (
        f"Read the names with care: realised moves hardly differ between these regimes "
        f"({view.unit.number(moves[0])} and {view.unit.text(moves[-1])} {view.span})."
    )


def _as_forecast(view: View) -> str | None:
    """What to think of the regime model's own forecasts, where another model makes the forecast."""
    model = view.regime_model
    if model is None or view.reference is None or model in (view.main, view.reference):
        return None
    d = difference(view, model, view.reference)
    if d.found and d.gain > 0:
        return None
    worse = "a worse forecast" if d.found else "no better forecast"
    return f"From {model}, {worse} than {view.reference} (t {d.t:.1f})."


def _plain_table(view: View, table: pd.DataFrame) -> pd.DataFrame:
    """Occupancy, spell and moments from the probabilities alone."""
    rows = []
    likeliest = table.to_numpy().argmax(axis=1)
    for k in range(table.shape[1]):
        weight = table.iloc[:, k].to_numpy()
        share_of = weight / max(float(weight.sum()), 1e-300)
        mean = float(share_of @ view.y)
        inside = likeliest == k
        spells = int((inside & ~np.append(False, inside[:-1])).sum())
        rows.append(
            {
                "occupancy": float(weight.mean()),
                "mean_duration": float(inside.sum() / spells) if spells else math.nan,
                "mean": mean,
                "volatility": float(np.sqrt(share_of @ (view.y - mean) ** 2)),
            }
        )
    return pd.DataFrame(rows, index=table.columns)


def _slots_title(held: pd.DataFrame, view: View) -> str:
    unit, span = view.unit, view.span
    first, last = held.iloc[0], held.iloc[-1]
    ratio = last["volatility"] / first["volatility"] if first["volatility"] > 0 else math.nan
    if not math.isfinite(ratio):
        return f"{len(held)} regimes"
    if ratio < _DISTINCT:
        return (
            f"The regimes hardly differ in the size of moves: {unit.text(first['volatility'])} "
            f"and {unit.text(last['volatility'])} {span}"
        )
    return (
        f"The wildest regime moves {ratio:.1f} times as much as the calmest "
        f"({unit.text(last['volatility'])} against {unit.text(first['volatility'])} {span}), "
        f"{share(last['occupancy'])} of the time"
    )


def _dof(value: float) -> str:
    return "infinite" if not math.isfinite(value) or value > 200 else f"{value:.1f}"


def _tails(dof: float) -> str:
    if not math.isfinite(dof) or dof > 30:
        return "normal"
    if dof > 10:
        return "a little fatter than normal"
    return "fat" if dof > 4 else "very fat"


_FEATURES = {
    "log_vol": "volatility of the last two weeks",
    "last_return": "the last return",
    "last_z": "the last return, in volatilities",
    "last_abs_z": "the size of the last return",
    "close_location": "the close within the day's range",
    "range_last": "the last day's range",
    "market_last_z": "the market's last return",
    "mean_12": "the mean of the last 12 rows",
}
_FEATURES_BY_SPAN = {
    "vol": "{n}-row volatility against 11-row",
    "log_vol": "{n}-row volatility",
    "tail": "tail weight of the last {n} rows",
    "downside": "share of losses in the last {n} rows",
    "trend": "trend of the last {n} rows",
    "drawdown": "distance from the {n}-row high",
    "range": "{n}-row range against volatility",
    "market_vol": "the market's {n}-row volatility",
    "lag": "the value {n} rows ago",
}


def _feature_words(text: str) -> str:
    """Plain words for "vol_63 +0.12, trend_5 -0.03"."""
    words = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        column, _, size = part.rpartition(" ")
        stem, _, span = column.rpartition("_")
        if column in _FEATURES:
            said = _FEATURES[column]
        elif stem in _FEATURES_BY_SPAN and span.isdigit():
            said = _FEATURES_BY_SPAN[stem].format(n=span)
        else:
            said = column
        words.append(f"{said} ({size})")
    return "; ".join(words) or "none"


def transition_section(view: View) -> dict[str, Any]:
    """Transition matrix into the next session, shaded by probability."""
    matrix = view.run.transition_matrix() if view.run is not None else pd.DataFrame()
    if matrix.empty:
        return {
            "missing": "A transition matrix needs a fitted regime model: make the report of a run "
            "(regimeslot fit) with slots-sticky or slots-markov."
        }
    values = matrix.to_numpy(dtype=float)
    stay = np.diag(values)
    names = [str(name) for name in matrix.columns]
    calm, wild = names[0].split(",")[0], names[-1].split(",")[0]
    rows = [
        [cell(str(name), strong=True)]
        + [cell(f"{100 * p:.1f}", shade=round(float(p), 2)) for p in row]
        for name, row in zip(matrix.index, values, strict=True)
    ]
    spells = ", ".join(count(1.0 / max(1.0 - p, 1e-9)) for p in (stay[0], stay[-1]))
    return {
        "title": f"{calm.capitalize()} stays with {share(stay[0], 1)}, {wild} with "
        f"{share(stay[-1], 1)} ({spells} {view.period.step}s on average)",
        "table": Table(
            "Probability of the next regime (columns) from the present one (rows), %",
            ("From \\ to", *names),
            rows,
            text_columns=(0,),
        ),
        "note": _transition_note(view),
    }


def _transition_note(view: View) -> str:
    if str(view.regime_model).startswith("slots-"):
        step = view.period.step
        return f"At the features of the next {step}; a gate changes them from {step} to {step}."
    return "Constant from one fit to the next: this model has no features."
