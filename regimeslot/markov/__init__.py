"""Markov-switching models: exact filter and smoother, fast fits, and forecasts."""

from regimeslot.markov.batch import BatchScan, all_moves
from regimeslot.markov.chain import (
    elapsed_durations,
    expected_durations,
    simulate_states,
    state_forecast,
    stationary_distribution,
    viterbi,
)
from regimeslot.markov.result import MarkovSwitchingResult
from regimeslot.markov.scan import Filtered, Smoothed, forward_filter, weighted_smoother
from regimeslot.markov.selection import select_regimes
from regimeslot.markov.switching import MarkovSwitching

__all__ = [
    "BatchScan",
    "Filtered",
    "MarkovSwitching",
    "MarkovSwitchingResult",
    "Smoothed",
    "all_moves",
    "elapsed_durations",
    "expected_durations",
    "forward_filter",
    "select_regimes",
    "simulate_states",
    "state_forecast",
    "stationary_distribution",
    "viterbi",
    "weighted_smoother",
]
