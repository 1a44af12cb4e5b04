"""Whether to believe the model: its gain over baselines, and what part of the gain is regimes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from regimeslot.reporting.tables import Cell, Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import SIGNIFICANT, count, share, signed, verdict

__all__ = [
    "Difference",
    "attribution",
    "cumulative_band",
    "difference",
    "regime_sentence",
    "regime_value",
    "scores_table",
    "trust",
]

Array = NDArray[np.float64]

_PATHS = 400
_BAND_POINTS = 300

_NET = "Second expert and switching, over one expert"
# What each comparison isolates: question, model, control. All share the same experts.
_REGIME_QUESTIONS = (
    ("Memory, without a gate", "slots-markov", "slots-static"),
    ("Memory, beside a gate", "slots-sticky", "slots-softmax"),
    ("Gate, without memory", "slots-softmax", "slots-static"),
    ("Gate, beside memory", "slots-sticky", "slots-markov"),
    ("Memory and gate together", "slots-sticky", "slots-static"),
    (_NET, "slots-sticky", "slots-single"),
)
_CONTROLS = {
    "slots-static": "slots-static (two experts with constant weights)",
    "slots-softmax": "slots-softmax (a gate without memory)",
    "slots-single": "slots-single (one expert with the same features)",
}


@dataclass(frozen=True)
class Difference:
    """Mean log-score gain of one model over another, in nats a row.

    Attributes
    ----------
    model, against : str
    gain, low, high : float
        Mean and its 95 % interval (Newey-West).
    t, p : float
    won : float
        Share of rows in which the model was better.
    """

    model: str
    against: str
    gain: float
    low: float
    high: float
    t: float
    p: float
    won: float

    @property
    def found(self) -> bool:
        """Whether the difference can be told from chance, either way."""
        return abs(self.t) >= SIGNIFICANT


def difference(view: View, model: str, against: str) -> Difference:
    """Compare two models of the study."""
    test = view.test(model, against)
    gain = test.mean_difference
    error = abs(gain / test.t) if math.isfinite(test.t) and test.t != 0.0 else 0.0
    half = float(stdtrit(max(test.n - 1, 1), 0.975)) * error
    won = float(np.mean(view.gain(model, against) > 0.0))
    return Difference(model, against, gain, gain - half, gain + half, test.t, test.p, won)


def cumulative_band(
    gain: Array, *, horizon: int = 1, seed: int = 0
) -> tuple[NDArray[np.intp], Array, Array]:
    """Rows, lower and upper 95 % band of a cumulative gain, by a circular block bootstrap.

    Blocks of the centred gains are drawn with replacement and summed; the band is the cumulative
    gain plus and minus what such sums reach by chance. Where it leaves out zero at the end, the
    whole gain is more than chance.

    Parameters
    ----------
    gain : (n,)
        Log-score differences, row by row.
    horizon : int
        Rows that a target covers; blocks are longer than that.
    seed : int

    Returns
    -------
    rows, low, high : (m,)
        At no more than a few hundred rows, the last included.

    References
    ----------
    Politis, D. N. and Romano, J. P. (1992). A circular block-resampling procedure for stationary
    data. In Exploring the Limits of Bootstrap, 263-270.

    Examples
    --------
    >>> rows, low, high = cumulative_band(np.random.default_rng(0).standard_normal(50) + 1.0)
    >>> int(rows[-1]), bool(low[-1] < 50.0 < high[-1])
    (49, True)
    """
    n = len(gain)
    block = min(block_length(n, horizon), n)
    rng = np.random.default_rng(seed)
    blocks = -(-n // block)
    starts = rng.integers(0, n, size=(_PATHS, blocks))
    centred = gain - gain.mean()
    wrapped = np.concatenate([centred, centred[: block - 1]])
    pieces = np.lib.stride_tricks.sliding_window_view(wrapped, block)
    paths = np.cumsum(pieces[starts].reshape(_PATHS, -1)[:, :n], axis=1)
    rows = np.unique(np.linspace(0, n - 1, min(n, _BAND_POINTS)).round().astype(int))
    low, high = np.quantile(paths[:, rows], [0.025, 0.975], axis=0)
    total = np.cumsum(gain)[rows]
    # A high chance sum means that the truth may lie that much lower, and the other way round.
    return rows, total - high, total - low


def block_length(n: int, horizon: int = 1) -> int:
    """Rows of a bootstrap block: the cube root of n, at least 5 and twice the horizon."""
    return max(5, round(n ** (1.0 / 3.0)), 2 * horizon)


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
        meaning = f"On average it gave {_times(d.gain)} more probability density to what happened."
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
    return f"{100.0 * math.expm1(gain):.1f} %"


def regime_sentence(view: View) -> str:
    """How much of the gain is regimes, in one sentence that can also say: nothing."""
    held = view.study.forecasts
    model = next((m for m in ("slots-sticky", "slots-markov") if m in held), None)
    if model is None:
        return "No regime model was run, so no part of this is regimes."
    if "slots-static" not in held:
        return "How much of it is regimes is not known: the control was not run (add slots-static)."
    d = difference(view, model, "slots-static")
    numbers = f"{signed(d.gain)} nats a {view.period.each}, t {d.t:.1f}"
    control = "the same experts with constant weights"
    if not d.found:
        return (
            f"No regimes found: switching adds {numbers}, to {control}. "
            "The rest is features, tails and mixing."
        )
    if d.gain < 0:
        return f"Regimes cost here: switching loses to {control} ({numbers})."
    return f"Regimes add {numbers}, to {control}; the rest is features, tails and mixing."


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
    held = view.study.forecasts
    asked = [(q, m, a) for q, m, a in _REGIME_QUESTIONS if m in held and a in held]
    if not asked:
        return {
            "missing": "No pair of slot models was run that differs in its selector alone. Add "
            "--models slots-single,slots-static,slots-softmax,slots-markov,slots-sticky."
        }
    rows: list[list[Cell]] = []
    switching: list[Difference] = []
    for question, model, against in asked:
        d = difference(view, model, against)
        words = "pays" if d.found and d.gain > 0 else "costs" if d.found else "no regimes found"
        if question != _NET:
            switching.append(d)
        elif words == "pays" and not any(e.found and e.gain > 0 for e in switching):
            words = "pays, but constant weights pay as much: not regimes"
        rows.append(
            [
                cell(question),
                cell(f"{model} over {against}"),
                cell(signed(d.gain)),
                cell(f"{signed(d.low)} to {signed(d.high)}"),
                cell(f"{d.t:.1f}"),
                cell(words),
            ]
        )
    total = len(switching)
    paid = sum(d.found and d.gain > 0 for d in switching)
    if not total:
        title = "Whether regimes pay is not known: no pair differs in its selector alone"
    elif not paid:
        title = f"No regimes found: switching has t of 2 in none of {total} comparisons"
    else:
        title = f"Switching regimes pays in {paid} of {total} comparisons on the same experts"
    absent = [c for n, c in _CONTROLS.items() if n not in held]
    notes = [
        "All models of this table share features and experts and differ in the selector alone, so "
        "that a gain here is memory or gating and nothing else.",
        f"{len(asked)} comparisons side by side: a single t of 2 among them is weak evidence.",
    ]
    if absent:
        notes.append(f"Not run, so not answered: {'; '.join(absent)}.")
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
    return {"title": title, "table": table, "notes": notes}


def scores_table(view: View) -> dict[str, Any]:
    """Scores of every model, best in bold, and those that could not be run."""
    scores = view.scores
    better_is = {"log_score": 1, "crps": -1, "r2_oos": 1, "qlike": -1}
    best = {
        c: (scores[c] * sign).idxmax()
        for c, sign in better_is.items()
        if c in scores and scores[c].notna().any()
    }
    unit, each = view.unit, view.period.each
    columns = ["Model", f"Log score, nats a {each}"]
    if view.reference is not None:
        columns += [f"Gain over {view.reference}", "t", "In words"]
    columns += [f"CRPS, {unit.name}", "R2 of the mean, %", "QLIKE", "Beyond 1 % VaR, %"]
    columns += ["Beyond 5 % VaR, %", "CPU, s"]
    rows: list[list[Cell]] = []
    for name, row in scores.sort_values("log_score", ascending=False).iterrows():
        model = str(name)
        cells = [
            cell(model, strong=model == view.main),
            cell(f"{row['log_score']:.4f}", strong=best.get("log_score") == name),
        ]
        if view.reference is not None:
            cells += _against(view, model)
        cells += [
            cell(unit.number(row["crps"], extra=2), strong=best.get("crps") == name),
            cell(signed(100.0 * row["r2_oos"], 2), strong=best.get("r2_oos") == name),
            cell(f"{row['qlike']:.3f}", strong=best.get("qlike") == name),
            cell(f"{100.0 * row['var_1_hit']:.2f}"),
            cell(f"{100.0 * row['var_5_hit']:.2f}"),
            cell(f"{row.get('seconds', math.nan):.1f}"),
        ]
        rows.append(cells)
    leader = str(best.get("log_score", view.main))
    title = f"{leader} has the best log score of {count(len(scores))} models"
    return {
        "title": title,
        "table": Table("Scores of all models", tuple(columns), rows, text_columns=(0, 4)),
        "notes": _score_notes(view),
        "failures": [f"{n} could not be run: {why}" for n, why in view.study.failures.items()],
    }


def _against(view: View, model: str) -> list[Cell]:
    if model == view.reference:
        return [cell("-"), cell("-"), cell("the reference")]
    assert view.reference is not None
    d = difference(view, model, view.reference)
    return [cell(signed(d.gain)), cell(f"{d.t:.1f}"), cell(verdict(d.t))]


def _score_notes(view: View) -> list[str]:
    notes = [
        "Best of each column in bold. Log score: larger is better. CRPS and QLIKE: smaller is "
        "better. R2 is against the mean known at the time: below zero, the forecast of the mean is "
        "worse than that mean. t is Newey-West; p-values are of single comparisons.",
    ]
    r2 = 100.0 * float(view.scores["r2_oos"].max())
    if r2 < 0.5:
        notes.append(
            f"Hardly any of the mean is forecast: the best R2 is {r2:+.2f} %. What is forecast is "
            "the size of moves."
        )
    return notes
