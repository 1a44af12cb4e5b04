"""Reports of a run or a study: one HTML file, figures for notebooks, words for the terminal.

The names resolve on first use, so that importing this package loads neither Jinja nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regimeslot.reporting.figures import (
        plot_exceedances,
        plot_forecast,
        plot_gain,
        plot_memory,
        plot_pit,
        plot_regimes,
        plot_volatility,
    )
    from regimeslot.reporting.page import report
    from regimeslot.reporting.study_page import study_report
    from regimeslot.reporting.summary import Summary, summarize
    from regimeslot.reporting.terminal import terminal_scores, terminal_summary

_HOMES = {
    "Summary": "summary",
    "plot_exceedances": "figures",
    "plot_forecast": "figures",
    "plot_gain": "figures",
    "plot_memory": "figures",
    "plot_pit": "figures",
    "plot_regimes": "figures",
    "plot_volatility": "figures",
    "report": "page",
    "study_report": "study_page",
    "summarize": "summary",
    "terminal_scores": "terminal",
    "terminal_summary": "terminal",
}

__all__ = [
    "Summary",
    "plot_exceedances",
    "plot_forecast",
    "plot_gain",
    "plot_memory",
    "plot_pit",
    "plot_regimes",
    "plot_volatility",
    "report",
    "study_report",
    "summarize",
    "terminal_scores",
    "terminal_summary",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
