"""What part of a gain is regimes: the same experts with and without memory, with and without gate.

A two-slot model beats GARCH for many reasons: features, tails, mixing, and perhaps regimes. Only
models that share the experts and differ in the selector alone tell the last from the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regimeslot.evaluation.comparison import Difference, score_difference

if TYPE_CHECKING:
    import pandas as pd

    from regimeslot.evaluation.walk_forward import Study

__all__ = ["REGIME_MODELS", "RegimeQuestion", "RegimeValue", "regime_value"]

REGIME_MODELS = ("slots-single", "slots-static", "slots-softmax", "slots-markov", "slots-sticky")

_NET = "Second expert and switching, over one expert"
# What each comparison isolates: question, model, control. All share the same experts.
_QUESTIONS = (
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
class RegimeQuestion:
    """One row of the table.

    Attributes
    ----------
    question : str
    difference : Difference
        Log-score gain of the model over its control, nats a row.
    words : str
        "pays", "costs", "no regimes found", or that constant weights pay as much.
    """

    question: str
    difference: Difference
    words: str


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
        """One row per question: model, against, gain, low, high, t, p, won and the words."""
        import pandas as pd

        records = [
            {"question": row.question, **vars(row.difference), "words": row.words}
            for row in self.rows
        ]
        columns = ["question", *Difference.__dataclass_fields__, "words"]
        return pd.DataFrame(records, columns=columns).set_index("question")


def regime_value(study: Study) -> RegimeValue:
    """Separate memory, gating and their net value from what merely comes with them.

    Memory is Markov over static and sticky over softmax; gating is softmax over static and sticky
    over Markov; net is sticky over one expert that holds the gate's own features. Only where
    switching itself pays, which is decided over constant weights, is a net gain one of regimes.
    The t-values are of single comparisons: one t of 2 among six is weak evidence.

    Parameters
    ----------
    study : Study
        With some of :data:`REGIME_MODELS` among its models.

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
    held = study.forecasts
    scores = study.log_scores()
    rows: list[RegimeQuestion] = []
    switching: list[Difference] = []
    for question, model, against in _QUESTIONS:
        if model not in held or against not in held:
            continue
        d = score_difference(
            scores[model].to_numpy(),
            scores[against].to_numpy(),
            horizon=study.dataset.horizon,
            names=(model, against),
        )
        words = "pays" if d.found and d.gain > 0 else "costs" if d.found else "no regimes found"
        if question != _NET:
            switching.append(d)
        elif words == "pays" and not any(e.found and e.gain > 0 for e in switching):
            words = "pays, but constant weights pay as much: not regimes"
        rows.append(RegimeQuestion(question, d, words))
    total = len(switching)
    paid = sum(d.found and d.gain > 0 for d in switching)
    if not total:
        verdict = "Whether regimes pay is not known: no pair differs in its selector alone"
    elif not paid:
        verdict = f"No regimes found: switching has t of 2 in none of {total} comparisons"
    else:
        verdict = f"Switching regimes pays in {paid} of {total} comparisons on the same experts"
    absent = tuple(words for name, words in _CONTROLS.items() if name not in held)
    return RegimeValue(tuple(rows), verdict, absent)
