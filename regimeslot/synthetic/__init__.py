"""Data whose laws are known, with the best forecasts that anyone could make of them."""

from regimeslot.synthetic.chains import (
    make_break,
    make_explicit_durations,
    make_hardy,
    make_markov_regression,
    make_recurring,
    make_sticky,
    make_variance_regimes,
)
from regimeslot.synthetic.gates import (
    make_argmax_regimes,
    make_no_regime,
    make_smooth_transition,
    make_soft_gate,
    make_two_regimes,
)
from regimeslot.synthetic.sample import SyntheticSample

__all__ = [
    "SyntheticSample",
    "make_argmax_regimes",
    "make_break",
    "make_explicit_durations",
    "make_hardy",
    "make_markov_regression",
    "make_no_regime",
    "make_recurring",
    "make_smooth_transition",
    "make_soft_gate",
    "make_sticky",
    "make_two_regimes",
    "make_variance_regimes",
]
