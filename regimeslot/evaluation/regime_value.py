"""What part of a gain is regimes: the same experts with and without memory, with and without gate.

A two-slot model beats GARCH for many reasons: features, tails, mixing, and perhaps regimes. Only
models that share the experts and differ in the selector alone tell the last from the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from regimeslot.evaluation.comparison import Difference, score_difference
from regimeslot.forecast import MixtureForecast

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.walk_forward import Study

__all__ = ["FEATURE_FREE", "REGIME_MODELS", "RegimeQuestion", "RegimeValue", "regime_value"]

REGIME_MODELS = ("slots-single", "slots-static", "slots-softmax", "slots-markov", "slots-sticky")
FEATURE_FREE = ("markov-t", "mixture-t")

_SINGLE = "slots-single"
_NET = "Second expert and switching, over one expert"
# What each comparison isolates: question, model, control. All share the same experts.
_QUESTIONS = (
    ("Memory, without a gate", "slots-markov", "slots-static"),
    ("Memory, beside a gate", "slots-sticky", "slots-softmax"),
    ("Gate, without memory", "slots-softmax", "slots-static"),
    ("Gate, beside memory", "slots-sticky", "slots-markov"),
    ("Memory and gate together", "slots-sticky", "slots-static"),
    (_NET, "slots-sticky", _SINGLE),
)
_CONTROLS = {
    "slots-static": "slots-static (two experts with constant weights)",
    "slots-softmax": "slots-softmax (a gate without memory)",
    _SINGLE: "slots-single (one expert with the same features)",
    "mixture-t": "mixture-t (markov-t without its memory)",
}
_PAYS, _NONE = "pays", "no regimes found"
_NOT_REGIMES = "pays, but constant weights pay as much: not regimes"


@dataclass(frozen=True)
class RegimeQuestion:
    """One row of the table.

    Attributes
    ----------
    question : str
    difference : Difference
        Log-score gain of the model over its control, nats a row.
    words : str
        "pays", "costs", "no regimes found", or that constant weights pay as much.
    features : bool
        Whether the switching experts hold own-volatility features.
    """

    question: str
    difference: Difference
    words: str
    features: bool = True


@dataclass(frozen=True)
class RegimeValue:
    """Result of :func:`regime_value`.

    Attributes
    ----------
    rows : tuple of RegimeQuestion
        Those whose two models were run.
    verdict : str
        The table in one sentence, which can also say: no regimes found.
    absent : tuple of str
        Controls that were not run, so that a question stays open.
    """

    rows: tuple[RegimeQuestion, ...]
    verdict: str
    absent: tuple[str, ...]

    def to_frame(self) -> pd.DataFrame:
        """One row per question: model, against, gain, low, high, t, p, won, features, words."""
        import pandas as pd

        records = [
            {"question": r.question, **vars(r.difference), "features": r.features, "words": r.words}
            for r in self.rows
        ]
        columns = ["question", *Difference.__dataclass_fields__, "features", "words"]
        return pd.DataFrame(records, columns=columns).set_index("question")

    def to_json(self) -> dict[str, Any]:
        """The same as plain data."""
        rows = self.to_frame().reset_index().to_dict("records")
        return {"verdict": self.verdict, "comparisons": rows, "not_run": list(self.absent)}


def regime_value(study: Study) -> RegimeValue:
    """Separate memory, gating and their net value from what merely comes with them.

    With own-volatility features, memory is Markov over static and sticky over softmax; gating is
    softmax over static and sticky over Markov; net is sticky over one expert that holds the gate's
    own features. Only where switching itself pays, which is decided over constant weights, is a
    net gain one of regimes. Without any features, memory alone is ``markov-t`` over ``mixture-t``,
    whose experts are the same; it usually pays, because a regime that lasts says what features say
    too, so its net value is that over one expert with features, and what it adds to that expert in
    an equal pool, over a pool with its twin and over the expert alone. The t-values are of single
    comparisons: one t of 2 among many is weak evidence.

    Parameters
    ----------
    study : Study
        With some of :data:`REGIME_MODELS` and :data:`FEATURE_FREE` among its models.

    Returns
    -------
    RegimeValue

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.features import make_dataset
    >>> from regimeslot.evaluation.walk_forward import walk_forward
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(700)
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates))
    >>> study = walk_forward(["slots-static", "slots-markov"], data, train_size=600)
    >>> regime_value(study).verdict
    'No regimes found: switching has t of 2 in none of 1 comparisons'
    """
    scores = study.log_scores()
    with_features = [
        RegimeQuestion(question, d, _words(d))
        for question, model, against in _QUESTIONS
        if (d := _difference(study, scores, model, against)) is not None
    ]
    switching = [row for row in with_features if row.question != _NET]
    with_features = [_net(row, switching) if row.question == _NET else row for row in with_features]
    without = _without_features(study, scores)
    held = study.forecasts
    wanted = _CONTROLS if "markov-t" in held else {n: _CONTROLS[n] for n in REGIME_MODELS[:3]}
    absent = tuple(words for name, words in wanted.items() if name not in held)
    return RegimeValue((*with_features, *without), _verdict(switching, without), absent)


def _difference(study: Study, scores: pd.DataFrame, model: str, against: str) -> Difference | None:
    if model not in scores or against not in scores:
        return None
    return score_difference(
        scores[model].to_numpy(),
        scores[against].to_numpy(),
        horizon=study.dataset.horizon,
        names=(model, against),
    )


def _words(d: Difference) -> str:
    return _NONE if not d.found else _PAYS if d.gain > 0 else "costs"


def _net(row: RegimeQuestion, switching: Sequence[RegimeQuestion]) -> RegimeQuestion:
    """A net gain is one of regimes only where switching pays over constant weights."""
    paid = any(r.words == _PAYS for r in switching)
    return row if paid or row.words != _PAYS else replace(row, words=_NOT_REGIMES)


def _without_features(study: Study, scores: pd.DataFrame) -> list[RegimeQuestion]:
    """Memory alone, over an expert with features, and beside one in a pool."""
    rows: list[RegimeQuestion] = []
    memory = _difference(study, scores, *FEATURE_FREE)
    if memory is not None:
        rows.append(RegimeQuestion("Memory, without any features", memory, _words(memory), False))
    over = _difference(study, scores, "markov-t", _SINGLE)
    if over is not None:
        question = "Regimes without features, over one expert with them"
        rows.append(_net(RegimeQuestion(question, over, _words(over), False), rows))
    if memory is not None and over is not None:
        pooled = {}
        for name in FEATURE_FREE:
            pair = [study.forecasts[_SINGLE], study.forecasts[name]]
            pooled[f"{_SINGLE} + {name}"] = study.log_score_of(MixtureForecast.pool(pair))
        beside = _difference(study, scores.assign(**pooled), *pooled)
        assert beside is not None  # both are there
        question = "Memory without features, pooled with that expert"
        rows.append(RegimeQuestion(question, beside, _words(beside), False))
        pool = next(iter(pooled))
        gain = _difference(study, scores.assign(**pooled), pool, _SINGLE)
        assert gain is not None
        question = "That pool, over the expert alone"
        rows.append(_net(RegimeQuestion(question, gain, _words(gain), False), rows))
    return rows


def _verdict(switching: Sequence[RegimeQuestion], without: Sequence[RegimeQuestion]) -> str:
    total, paid = len(switching), sum(row.words == _PAYS for row in switching)
    alone = (
        without[0].difference
        if without and without[0].difference.against == FEATURE_FREE[1]
        else None
    )
    told = "" if alone is None else f"memory {_alone(alone)} (t {alone.t:.1f})"
    net = [row.words for row in without if row.difference.against == _SINGLE]
    if alone is not None and alone.found and alone.gain > 0 and net and _PAYS not in net:
        told += ", but not over, nor beside, an expert with features"
    if not total:
        if alone is None:
            return "Whether regimes pay is not known: no pair differs in its selector alone"
        found = alone.found and alone.gain > 0
        return f"Without features {told}" if found else f"No regimes found: without features {told}"
    if paid:
        said = f"Switching regimes pays in {paid} of {total} comparisons on the same experts"
    else:
        said = f"No regimes found: switching has t of 2 in none of {total} comparisons"
    return said if alone is None else f"{said}; without features {told}"


def _alone(d: Difference) -> str:
    return "adds nothing" if not d.found else _PAYS if d.gain > 0 else "costs"
