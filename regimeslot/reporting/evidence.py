"""Whether to believe the model: its gain over baselines, and what part of the gain is regimes."""

from __future__ import annotations

import math
from typing import Any

from regimeslot.evaluation.comparison import SIGNIFICANT, Difference, score_difference
from regimeslot.evaluation.regime_value import FEATURE_FREE, REGIME_MODELS
from regimeslot.evaluation.regime_value import regime_value as evaluation_of_regimes
from regimeslot.reporting.tables import Cell, Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count, fixed, share, signed, verdict

__all__ = [
    "attribution",
    "difference",
    "regime_sentence",
    "regime_value",
    "scores_table",
    "tail_columns",
    "trust",
]


def difference(view: View, model: str, against: str) -> Difference:
    """Compare two models of the study."""
    scores = view.log_scores
    return score_difference(
        scores[model].to_numpy(),
        scores[against].to_numpy(),
        horizon=view.horizon,
        names=(model, against),
    )


def trust(view: View) -> dict[str, Any]:
    """Third answer of the first screen: the gain over the baseline, and how much is regimes."""
    if view.reference is None:
        return {
            "missing": "No baseline was run beside the model, so nothing says whether it is good. "
            "Add one: --models gjr-garch,pool."
        }
    d = difference(view, view.main, view.reference)
    unit = f"nats a {view.period.each}"
    interval = f"{signed(d.low)} to {signed(d.high)}"
    won = f"better on {share(d.won)} of {view.period.steps(len(view.y))}"
    if not d.found:
        level, headline = "bad", f"Not shown to be better than {d.against}"
        meaning = "The interval includes zero: on this series the gain may be chance."
    elif d.gain > 0:
        level, headline = "good", f"Better than {d.against}"
        meaning = f"On average it gave {_times(d.gain)} probability density to what happened."
    else:
        level, headline = "bad", f"Worse than {d.against}"
        meaning = f"On this series {d.against} is the better forecast."
    return {
        "level": level,
        "headline": headline,
        "gain": f"{signed(d.gain)} {unit}",
        "interval": f"95 % interval {interval}",
        "won": won,
        "meaning": meaning,
        "regimes": regime_sentence(view),
        "model": d.model,
        "against": d.against,
        "numbers": {"gain": d.gain, "low": d.low, "high": d.high, "t": d.t, "won": d.won},
    }


def _times(gain: float) -> str:
    """A gain in nats as a ratio of densities, in geometric mean."""
    if gain < math.log(2.0):
        return f"{100.0 * math.expm1(gain):.1f} % more"
    return f"{fixed(math.exp(min(gain, 700.0)), 1)} times the"


# The first whose models were both run answers: what switches, and its control.
_SWITCHING = (
    ("slots-sticky", "slots-static", "the same experts with constant weights"),
    ("slots-markov", "slots-static", "the same experts with constant weights"),
    ("slots-softmax", "slots-static", "the same experts with constant weights"),
    ("markov-t", "mixture-t", "the same regimes without memory"),
)


def regime_sentence(view: View) -> str:
    """How much of the gain is regimes, in one sentence that can also say: nothing."""
    held = view.study.forecasts
    pairs = [p for p in _SWITCHING if p[0] in held]
    if not pairs:
        if "slots-static" in held:
            return (
                "How much of it is regimes is not known: slots-static is the control, whose "
                "weights are constant; add slots-sticky."
            )
        if "markov" in held:
            return "How much of it is regimes is not known: add slots-sticky and slots-static."
        return "No regime model was run, so no part of this is regimes."
    whole = [p for p in pairs if p[1] in held]
    if not whole:
        control = pairs[0][1]
        return f"How much of it is regimes is not known: the control was not run (add {control})."
    model, against, control = whole[0]
    d = difference(view, model, against)
    numbers = f"{signed(d.gain)} nats a {view.period.each}, t {d.t:.1f}"
    if view.main != "pool" and view.main not in {p[0] for p in _SWITCHING}:
        return f"None of it is regimes: {view.main} has none (in {model} they add {numbers})."
    bare = model == "markov-t"  # without features, which its memory stands in for
    rest = "tails and mixing" if bare else "features, tails and mixing"
    if not d.found:
        return f"No regimes found: switching adds {numbers}, to {control}. The rest is {rest}."
    if d.gain < 0:
        return f"Regimes cost here: switching loses to {control} ({numbers})."
    told = "volatility features tell much of the same" if bare else f"the rest is {rest}"
    return f"Regimes add {numbers}, to {control}; {told}."


def attribution(view: View) -> dict[str, Any] | None:
    """The gain over the reference in steps that add up: features, mixing, regimes, pooling."""
    held = view.study.forecasts
    regime = next((m for m in ("slots-sticky", "slots-markov") if m in held), None)
    if view.reference is None or regime is None or view.main not in ("pool", regime):
        return None
    if "slots-single" not in held or "slots-static" not in held:
        return None
    chain = [
        (view.reference, "slots-single", "One expert: features, Student-t tails, shrinkage", False),
        ("slots-single", "slots-static", "A second expert with constant weights: shape", False),
        ("slots-static", regime, "Switching between them: regimes", True),
    ]
    if view.main != regime:
        chain.append((regime, view.main, "Pooling with the other slot models", False))
    rows: list[list[Cell]] = []
    parts: list[dict[str, Any]] = []
    for against, model, label, is_regime in chain:
        d = difference(view, model, against)
        rows.append(
            [
                cell(label),
                cell(f"{model} over {against}"),
                cell(signed(d.gain)),
                cell(f"{d.t:.1f}"),
                cell(verdict(d.t, "adds", "costs")),
            ]
        )
        parts.append({"label": label, "gain": d.gain, "t": d.t, "regimes": is_regime})
    total = difference(view, view.main, view.reference)
    rows.append(
        [
            cell("All together", strong=True),
            cell(f"{view.main} over {view.reference}"),
            cell(signed(total.gain), strong=True),
            cell(f"{total.t:.1f}"),
            cell(verdict(total.t)),
        ]
    )
    return {
        "title": _attribution_title(parts, view.period.each),
        "table": Table(
            f"Gain of {view.main} over {view.reference}, step by step",
            ("Step", "Comparison", f"Gain, nats a {view.period.each}", "t", "In words"),
            rows,
            text_columns=(0, 1, 4),
        ),
        "parts": parts,
    }


def _attribution_title(parts: list[dict[str, Any]], each: str) -> str:
    regimes = next(p for p in parts if p["regimes"])
    others = sum(p["gain"] for p in parts if not p["regimes"])
    total = others + regimes["gain"]
    words = (
        f"{signed(regimes['gain'])} of {signed(total)} nats a {each} come from switching regimes"
    )
    return words + ("" if abs(regimes["t"]) >= SIGNIFICANT else ", which may be chance")


def regime_value(view: View) -> dict[str, Any]:
    """Table that separates regimes from what merely comes with them."""
    value = evaluation_of_regimes(view.study)
    if not value.rows:
        return {
            "missing": "No pair of models was run that differs in its selector alone. Add "
            f"--models {','.join((*REGIME_MODELS, *FEATURE_FREE))}."
        }
    rows: list[list[Cell]] = []
    for row in value.rows:
        d = row.difference
        rows.append(
            [
                cell(row.question),
                cell(f"{d.model} over {d.against}"),
                cell(signed(d.gain)),
                cell(f"{signed(d.low)} to {signed(d.high)}"),
                cell(f"{d.t:.1f}"),
                cell(row.words),
            ]
        )
    notes = [
        "The two models of a comparison share features and experts and differ in the selector "
        "alone, but for those over one expert, which holds the gate's own features.",
        f"{len(value.rows)} comparisons side by side: a single t of 2 among them is weak evidence.",
    ]
    if any(not row.features for row in value.rows):
        notes.append(
            "Regimes without features tell by their memory what own-volatility features tell too: "
            "such memory is worth something only where it pays over, or beside, one expert that "
            "holds them."
        )
    if value.absent:
        notes.append(f"Not run, so not answered: {'; '.join(value.absent)}.")
    table = Table(
        "Regime value",
        (
            "Question",
            "Comparison",
            f"Gain, nats a {view.period.each}",
            "95 % interval",
            "t",
            "In words",
        ),
        rows,
        text_columns=(0, 1, 5),
    )
    return {"title": value.verdict, "table": table, "notes": notes}


def scores_table(view: View) -> dict[str, Any]:
    """Scores of every model, best in bold, and those that could not be run."""
    scores = view.scores
    several = len(scores) > 1
    # Of one model nothing is the best.
    better_is = {"log_score": 1, "crps": -1, "r2_oos": 1, "qlike": -1} if several else {}
    best = {
        c: (scores[c] * sign).idxmax()
        for c, sign in better_is.items()
        if c in scores and scores[c].notna().any()
    }
    unit, each = view.unit, view.period.each
    columns = ["Model", f"Log score, nats a {each}"]
    if view.reference is not None:
        columns += [f"Gain over {view.reference}", "t", "In words"]
    columns += [f"CRPS, {unit.name}", "R2 of the mean, %", "QLIKE", *tail_columns(view), "CPU, s"]
    rows: list[list[Cell]] = []
    for name, row in scores.sort_values("log_score", ascending=False).iterrows():
        model = str(name)
        cells = [
            cell(model, strong=several and model == view.main),
            cell(fixed(row["log_score"], 4), strong=best.get("log_score") == name),
        ]
        if view.reference is not None:
            cells += _against(view, model)
        cells += [
            cell(unit.number(row["crps"], extra=2), strong=best.get("crps") == name),
            cell(signed(100.0 * row["r2_oos"], 2), strong=best.get("r2_oos") == name),
            cell(fixed(row["qlike"], 3), strong=best.get("qlike") == name),
            cell(f"{100.0 * row['var_1_hit']:.2f}"),
            cell(f"{100.0 * row['var_5_hit']:.2f}"),
            cell(f"{row.get('seconds', math.nan):.1f}"),
        ]
        rows.append(cells)
    leader = str(best.get("log_score", view.main))
    title = f"{leader} has the best log score of {count(len(scores))} models"
    if not several:
        title = f"Scores of {leader}"
    return {
        "title": title,
        "table": Table("Scores of all models", tuple(columns), rows, text_columns=(0, 4)),
        "notes": _score_notes(view),
        "failures": [f"{n} could not be run: {why}" for n, why in view.study.failures.items()],
    }


def tail_columns(view: View) -> tuple[str, str]:
    """Headers of the tail rates: a value at risk of returns, a quantile of values and changes."""
    if view.losses:
        return "Beyond 1 % VaR, %", "Beyond 5 % VaR, %"
    return "Below 1 % quantile, %", "Below 5 % quantile, %"


def _against(view: View, model: str) -> list[Cell]:
    if model == view.reference:
        return [cell("-"), cell("-"), cell("the reference")]
    assert view.reference is not None
    d = difference(view, model, view.reference)
    return [cell(signed(d.gain)), cell(f"{d.t:.1f}"), cell(verdict(d.t))]


def _score_notes(view: View) -> list[str]:
    best = "Best of each column in bold. " if len(view.scores) > 1 else ""
    naive, worse = "the mean known at the time", "that mean"
    if view.noun == "value":
        naive, worse = "the last value known at the time (a random walk)", "that value"
    notes = [
        f"{best}Log score: larger is better. CRPS and QLIKE: smaller is better. R2 is against "
        f"{naive}: below zero, the forecast of the mean is worse than {worse}. t is Newey-West; "
        "p-values are of single comparisons.",
    ]
    if view.study.rounded_to is not None:
        notes.append(
            "The log score is that of the probability of everything that rounds to the published "
            f"value, in steps of {view.study.rounded_to:g}."
        )
    r2 = 100.0 * float(view.scores["r2_oos"].max())
    if r2 < 0.5 and view.noun == "value":
        notes.append(f"No model's mean beats the last value: the best R2 is {r2:+.2f} %.")
    elif r2 < 0.5:
        notes.append(
            f"Hardly any of the mean is forecast: the best R2 is {r2:+.2f} %. What is forecast is "
            "the size of moves."
        )
    return notes
