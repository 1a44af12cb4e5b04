"""Figures of a run or a study for notebooks: each takes ``ax=None`` and gives the Axes back.

They show the numbers of the report, one finding each, and leave matplotlib's settings alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.calibration import BINS, pit_histogram
from regimeslot.evaluation.comparison_time import cumulative_band
from regimeslot.evaluation.risk import LEVELS, coverage
from regimeslot.reporting.calibration import pit_section
from regimeslot.reporting.palette import regime_colours
from regimeslot.reporting.slot_memory import memory_of, memory_title
from regimeslot.reporting.timelines import (
    exceedance_chart,
    gain_chart,
    price_chart,
    volatility_chart,
)
from regimeslot.reporting.tomorrow import density_grid, tomorrow
from regimeslot.reporting.view import view_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = [
    "plot_exceedances",
    "plot_forecast",
    "plot_gain",
    "plot_memory",
    "plot_pit",
    "plot_regimes",
    "plot_volatility",
]

_ACCENT, _GREY, _INK = "#0b5cad", "#8b939d", "#16191d"
_HATCHES = ("", "--", "..", "////")
_DASHES = ("-", "--", ":", "-.")


def plot_forecast(run: Any, ax: Axes | None = None) -> Axes:
    """Density of the next session with its 5-95 % band and median.

    Parameters
    ----------
    run : Run
    ax : Axes, optional
        Default: a new figure.

    Raises
    ------
    InvalidInputError
        For a bare study, which has no next session.
    """
    view = view_of(run)
    if view.run is None:
        raise InvalidInputError("a study has no next session: pass a run of fit_run")
    axes = _axes(ax)
    x, pdf, q = density_grid(view)
    inside = (x >= q["0.05"]) & (x <= q["0.95"])
    axes.fill_between(x, pdf, where=inside, color=_ACCENT, alpha=0.18, label="5 to 95 %")
    axes.plot(x, pdf, color=_ACCENT)
    axes.axvline(q["0.5"], color=_ACCENT, linewidth=1, linestyle="--", label="median")
    part = tomorrow(view)
    axes.set(xlabel=part["axis"], ylabel=f"density, 1/{view.unit.name}", ylim=(0, None))
    axes.set_title(f"{view.name}. {part['label']}: {part['headline']}", loc="left")
    axes.legend(frameon=False)
    return axes


def plot_regimes(run: Any, ax: Axes | None = None) -> Axes:
    """Price (log scale) shaded by the likeliest regime; without prices, the probabilities.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional

    Raises
    ------
    InvalidInputError
        If no regime model was run.
    """
    from matplotlib.patches import Patch

    view = view_of(run)
    table = view.regimes
    if table is None:
        raise InvalidInputError("no regime model was run: add slots-sticky to the models")
    axes = _axes(ax, wide=True)
    chart = price_chart(view)
    names, colours = list(table.columns), regime_colours(table.shape[1])
    hatches = [_HATCHES[round(3 * k / max(len(names) - 1, 1))] for k in range(len(names))]
    if view.prices is None:
        axes.stackplot(
            view.index, 100 * table.to_numpy().T, labels=names, colors=colours, alpha=0.7
        )
        axes.set(ylabel="predicted probability, %", ylim=(0, 100))
    else:
        for start, stop, k in _stretches(table.to_numpy().argmax(axis=1)):
            axes.axvspan(
                view.index[start],
                view.index[min(stop, len(view.index) - 1)],
                facecolor=colours[k],
                hatch=hatches[k],
                edgecolor=(1, 1, 1, 0.5),
                alpha=0.25,
                linewidth=0,
            )
        axes.plot(view.index, view.prices, color=_INK, linewidth=1)
        axes.set(ylabel=chart["y_label"])
        if chart["log"]:
            axes.set_yscale("log")
    keys = [
        Patch(facecolor=c, alpha=0.4, hatch=h, edgecolor="white", label=n)
        for n, c, h in zip(names, colours, hatches, strict=True)
    ]
    axes.legend(handles=keys, frameon=False, loc="upper left")
    axes.set_title(chart["title"], loc="left")
    axes.margins(x=0)
    return axes


def plot_volatility(run: Any, ax: Axes | None = None) -> Axes:
    """Predicted standard deviation against the size of what happened.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional
    """
    view = view_of(run)
    axes = _axes(ax, wide=True)
    chart = volatility_chart(view)
    factor = view.unit.factor
    axes.plot(view.index, np.abs(view.y) * factor, color=_GREY, linewidth=0.5, label="realised")
    axes.plot(
        view.index,
        view.forecast.std() * factor,
        color=_ACCENT,
        linewidth=1.2,
        label=f"predicted standard deviation, {view.main}",
    )
    axes.set(ylabel=chart["y_label"], ylim=(0, None))
    axes.set_title(chart["title"], loc="left", wrap=True)
    axes.legend(frameon=False)
    axes.margins(x=0)
    return axes


def plot_gain(run: Any, ax: Axes | None = None) -> Axes:
    """Cumulative log-score gain over each baseline, with block-bootstrap bands.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional

    Raises
    ------
    InvalidInputError
        If no baseline was run.
    """
    view = view_of(run)
    if not view.baselines:
        raise InvalidInputError("no baseline was run: add gjr-garch to the models")
    axes = _axes(ax, wide=True)
    for number, name in enumerate(view.baselines):
        gain = view.gain(view.main, name)
        rows, low, high = cumulative_band(gain, horizon=view.horizon)
        colour = _GREY if number else _ACCENT
        style = _DASHES[number % len(_DASHES)]
        axes.plot(view.index, np.cumsum(gain), color=colour, linestyle=style, label=f"over {name}")
        axes.fill_between(view.index[rows], low, high, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(0.0, color=_INK, linewidth=0.6)
    axes.set(ylabel="cumulative gain, nats")
    axes.set_title(gain_chart(view)["title"], loc="left")
    axes.legend(frameon=False, title="95 % bands: block bootstrap")
    axes.margins(x=0)
    return axes


def plot_memory(run: Any, ax: Axes | None = None, *, what: str = "read") -> Axes:
    """Shares of the slots that the slot-memory model reads or writes, stacked.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional
    what : {"read", "write"}

    Raises
    ------
    InvalidInputError
        If no slot-memory model was run, or ``what`` is neither.
    """
    if what not in ("read", "write"):
        raise InvalidInputError(f"what must be 'read' or 'write', got {what!r}")
    view = view_of(run)
    found = memory_of(view)
    if found is None:
        raise InvalidInputError("no slot-memory model was run: add slot-lstm to the models")
    memory = found[1]
    shares = memory.read if what == "read" else memory.write
    axes = _axes(ax, wide=True)
    tints = 1 - 0.8 * np.arange(shares.shape[1]) / max(shares.shape[1] - 1, 1)
    layers = axes.stackplot(
        view.index,
        100 * shares.to_numpy().T,
        labels=list(map(str, shares.columns)),
        edgecolor="white",
        linewidth=0.5,
    )
    for layer, tint in zip(layers, tints, strict=True):
        layer.set_facecolor((_ACCENT, tint))
    verb = "read" if what == "read" else "written"
    axes.set(ylabel=f"share {verb}, %", ylim=(0, 100))
    axes.set_title(memory_title(view, memory), loc="left", wrap=True)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], labels[::-1], loc="upper left", ncols=4, fontsize="small")
    axes.margins(x=0)
    return axes


def plot_pit(run: Any, ax: Axes | None = None) -> Axes:
    """Histogram of the probability integral transform with its 95 % band.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional
    """
    view = view_of(run)
    axes = _axes(ax)
    pit = pit_histogram(view.uniforms)
    left = np.arange(BINS) / BINS
    bars = axes.bar(left, pit.heights, width=0.9 / BINS, align="edge", color=_ACCENT, alpha=0.5)
    for bar, h in zip(bars, pit.heights, strict=True):
        if not pit.low <= h <= pit.high:
            bar.set(alpha=1.0, edgecolor=_INK)
    axes.axhspan(pit.low, pit.high, color=_GREY, alpha=0.25, label="95 % band", zorder=0)
    axes.axhline(1.0, color=_INK, linewidth=0.6)
    axes.set(xlabel="probability integral transform", ylabel="rows, multiple of expected")
    axes.set_title(pit_section(view)["title"], loc="left", wrap=True)
    axes.legend(frameon=False, loc="lower center")
    return axes


def plot_exceedances(run: Any, ax: Axes | None = None) -> Axes:
    """Outcomes with the predicted 1 % and 5 % quantiles, losses beyond them marked.

    Parameters
    ----------
    run : Run or Study
    ax : Axes, optional
    """
    view = view_of(run)
    axes = _axes(ax, wide=True)
    y, factor = view.y, view.unit.factor
    limits = -view.forecast.value_at_risk(list(LEVELS)) * factor
    axes.plot(view.index, y * factor, color=_GREY, linewidth=0.5)
    one, five = coverage(view.uniforms, horizon=view.horizon)
    for found, limit, marker, style in ((five, 1, "o", "-"), (one, 0, "v", "--")):
        label = f"{100 * found.level:.0f} % quantile"
        axes.plot(view.index, limits[:, limit], color=_ACCENT, linewidth=0.9, ls=style, label=label)
        axes.plot(
            view.index[np.flatnonzero(found.hits)],
            y[found.hits] * factor,
            linestyle="none",
            marker=marker,
            markersize=5 if marker == "v" else 3,
            color="#d55e00" if marker == "v" else _INK,
            fillstyle="full" if marker == "v" else "none",
            label=f"beyond it: {100 * found.raw:.2f} % of rows",
        )
    axes.set(ylabel=view.unit.name)
    axes.set_title(exceedance_chart(view)["title"], loc="left", wrap=True)
    axes.legend(frameon=False, ncols=2, fontsize="small")
    axes.margins(x=0)
    return axes


def _axes(ax: Axes | None, *, wide: bool = False) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(9.0, 4.0) if wide else (6.4, 4.0), layout="constrained")[1]


def _stretches(likeliest: np.ndarray) -> list[tuple[int, int, int]]:
    """(first row, row after the last, regime) of each stretch of one regime."""
    starts = np.flatnonzero(np.diff(likeliest, prepend=-1))
    ends = np.append(starts[1:], len(likeliest))
    return [(int(a), int(b), int(likeliest[a])) for a, b in zip(starts, ends, strict=True)]
