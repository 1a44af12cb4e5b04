"""The picture of the synthetic proof: slots, gate, and the gap closed per law."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

import numpy as np

from regimeslot.evaluation.validation import Validation

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw"]

_COLOURS = ("#1f6f8b", "#d1495b")  # told apart in grey and by colour-blind readers


def draw(validation: Validation, path: str | PathLike[str]) -> None:
    """Write the picture of a study to a file whose ending names the format (png, svg, pdf).

    Left: rows of the original experiment, coloured by the slot that speaks, and the learned gate.
    Right: share of the gap between a linear model and the attainable oracle that every law's runs
    closed.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.35))
    _draw_slots(left, validation)
    _draw_gaps(right, validation)
    figure.savefig(path, dpi=130)


def _draw_slots(axes: Axes, validation: Validation) -> None:
    X, slot = validation.picture["X"], validation.picture["slot"]
    a, b, c = validation.picture["gate"]
    for k, colour in enumerate(_COLOURS):
        own = slot == k
        axes.scatter(X[own, 0], X[own, 1], s=9, color=colour, label=f"slot {k}", linewidths=0)
    edge = np.array([-3.0, 3.0])
    if abs(b) >= abs(a):
        axes.plot(edge, -(a * edge + c) / b, color="black", lw=1.2, label="learned gate")
    else:
        axes.plot(-(b * edge + c) / a, edge, color="black", lw=1.2, label="learned gate")
    axes.set(xlim=(-3, 3), ylim=(-3, 3), xlabel="x0", ylabel="x1", aspect="equal")
    axes.set_title("Original experiment: which slot speaks")
    axes.legend(loc="upper left", fontsize=8)


def _draw_gaps(axes: Axes, validation: Validation) -> None:
    density, small = validation.tables["density laws"], validation.tables["small samples"]
    groups = [
        (f"{law}, {'' if slots == 2 else 'up to '}{slots} slots", runs["gap_closed"])
        for (law, slots), runs in density.groupby(["law", "slots"], sort=False)
    ]
    groups += [
        (f"200 rows, {features}: {model}", runs["gap_closed"])
        for (features, model), runs in small.groupby(["features", "model"], sort=False)
    ]
    for place, (_, values) in enumerate(groups):
        share = 100 * values.to_numpy(dtype=float)
        axes.scatter(share, np.full(len(share), place), s=14, color=_COLOURS[0], alpha=0.6)
        axes.plot([np.median(share)], [place], marker="|", ms=14, color=_COLOURS[1])
    axes.axvline(100, color="black", lw=0.8, ls=":")
    axes.set_yticks(range(len(groups)), [name for name, _ in groups], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("gap between linear model and oracle closed, % (bar: median)")
    axes.set_title("Gap closed per law")
