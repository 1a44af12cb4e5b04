"""Small still pictures as SVG geometry: the density, the outlook of regimes, the PIT histogram.

They are drawn once on the Python side, so that the first screen shows before any script runs, and
prints as it shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["bars_shape", "density_shape", "histogram_shape", "nice_ticks", "stack_shape"]

Array = NDArray[np.float64]

WIDTH = 360.0


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers from low to high, near ``about`` of them.

    Examples
    --------
    >>> nice_ticks(-2.3, 2.1)
    [-2.0, -1.0, 0.0, 1.0, 2.0]
    """
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return []
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= 0.999 * raw) * power
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(k * step, 10) + 0.0 for k in range(first, last + 1)]


def path(x: Sequence[float] | Array, y: Sequence[float] | Array, *, close: bool = False) -> str:
    """SVG path through points."""
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return f"M{points}{'Z' if close else ''}"


def density_shape(
    x: Array, pdf: Array, quantiles: dict[str, float], *, height: float = 110.0
) -> dict[str, Any]:
    """Curve, 5-95 % band, median and axis of a density.

    Parameters
    ----------
    x, pdf : (m,)
        In the shown unit.
    quantiles : dict
        "0.05", "0.5" and "0.95" in the same unit.
    """
    left, right, top, bottom = 6.0, WIDTH - 6.0, 18.0, height - 20.0
    low, high, peak = float(x[0]), float(x[-1]), float(pdf.max())

    def at(value: float | Array) -> Any:
        return left + (right - left) * (value - low) / (high - low)

    def up(value: float | Array) -> Any:
        return bottom - (bottom - top) * value / peak

    a, m, b = (quantiles[key] for key in ("0.05", "0.5", "0.95"))
    inside = np.concatenate([[a], x[(x > a) & (x < b)], [b]])
    under = np.interp(inside, x, pdf)
    band_x = np.concatenate([[at(a)], at(inside), [at(b)]])
    band_y = np.concatenate([[bottom], up(under), [bottom]])
    ticks = nice_ticks(low, high, 6)
    digits = max((_decimals(t) for t in ticks), default=0)
    return {
        "width": WIDTH,
        "height": height,
        "base": bottom,
        "top": top,
        "curve": path(at(x), up(pdf)),
        "band": path(band_x, band_y, close=True),
        "median": f"{at(m):.1f}",
        "median_top": f"{up(float(np.interp(m, x, pdf))):.1f}",
        "zero": f"{at(0.0):.1f}" if low < 0.0 < high else None,
        "ticks": [{"x": f"{at(t):.1f}", "label": f"{t:.{digits}f}"} for t in ticks],
    }


def stack_shape(
    probabilities: Array, labels: Sequence[tuple[int, str]], *, height: float = 92.0
) -> dict[str, Any]:
    """Stacked areas of probabilities (steps, K), the calmest at the bottom.

    Parameters
    ----------
    probabilities : (steps, K)
    labels : sequence of (step, text)
        Ticks of the time axis; step 0 is the first row.
    """
    left, right, top, bottom = 40.0, WIDTH - 6.0, 6.0, height - 20.0
    steps, k = probabilities.shape
    x = left + (right - left) * np.arange(steps) / max(steps - 1, 1)
    edges = np.column_stack([np.zeros(steps), np.cumsum(probabilities, axis=1)]).clip(0.0, 1.0)
    y = bottom - (bottom - top) * edges
    if steps == 1:
        x, y = np.array([left, right]), np.vstack([y, y])
    areas = []
    for j in range(k):
        around_x = np.concatenate([x, x[::-1]])
        around_y = np.concatenate([y[:, j], y[::-1, j + 1]])
        areas.append(path(around_x, around_y, close=True))
    return {
        "width": WIDTH,
        "height": height,
        "base": bottom,
        "left": left,
        "right": right,
        "areas": areas,
        "ticks": [
            {
                "x": f"{x[i]:.1f}",
                "label": text,
                "anchor": "start" if i == 0 else "end" if i == steps - 1 else "middle",
            }
            for i, text in labels
        ],
        "levels": [
            {"y": f"{bottom - (bottom - top) * v:.1f}", "label": f"{100 * v:.0f} %"}
            for v in (0.0, 0.5, 1.0)
        ],
    }


def histogram_shape(heights: Array, low: float, high: float) -> dict[str, Any]:
    """Bars of a PIT histogram (1 is uniform), the band in which they belong, and axes."""
    width, height = 640.0, 220.0
    left, right, top, bottom = 50.0, width - 18.0, 8.0, height - 26.0
    most = 1.08 * max(float(heights.max()), high)
    bins = len(heights)

    def up(value: float) -> float:
        return bottom - (bottom - top) * value / most

    slot = (right - left) / bins
    bars = [
        {
            "x": f"{left + j * slot + 1:.1f}",
            "y": f"{up(float(h)):.1f}",
            "width": f"{slot - 2:.1f}",
            "height": f"{bottom - up(float(h)):.1f}",
            "outside": bool(h < low or h > high),
            "title": f"PIT {j / bins:.2f} to {(j + 1) / bins:.2f}: {h:.2f} times the expected rows",
        }
        for j, h in enumerate(heights)
    ]
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": right,
        "base": bottom,
        "bars": bars,
        "band_top": f"{up(high):.1f}",
        "band_height": f"{up(low) - up(high):.1f}",
        "one": f"{up(1.0):.1f}",
        "ticks": [
            {"x": f"{left + (right - left) * v:.1f}", "label": f"{v:.1f}"}
            for v in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
        ],
        "levels": [{"y": f"{up(v):.1f}", "label": f"{v:g}"} for v in nice_ticks(0.0, most, 3)],
    }


def _decimals(value: float) -> int:
    text = f"{value:.10f}".rstrip("0")
    return len(text.split(".")[1])


def bars_shape(
    values: Array, labels: Sequence[str], text: Callable[[float], str]
) -> dict[str, Any]:
    """Bars up and down from zero, one a label, with a value axis.

    Parameters
    ----------
    values : (n,)
        In the shown unit; bars of values that are not finite are left out.
    labels : n str
    text : callable
        Writes a value for the reader.
    """
    width, height = 640.0, 220.0
    left, right, top, bottom = 58.0, width - 6.0, 8.0, height - 26.0
    finite = values[np.isfinite(values)]
    low = min(float(finite.min()) if finite.size else 0.0, 0.0)
    high = max(float(finite.max()) if finite.size else 1.0, 0.0)
    if high <= low:
        high = low + 1.0
    room = 0.06 * (high - low)
    low, high = low - (room if low < 0 else 0.0), high + room

    def up(value: float) -> float:
        return bottom - (bottom - top) * (value - low) / (high - low)

    slot = (right - left) / max(len(labels), 1)
    every = max(1, math.ceil(len(labels) / 16))
    bars = [
        {
            "x": f"{left + j * slot + 0.15 * slot:.1f}",
            "y": f"{up(max(float(v), 0.0)):.1f}",
            "width": f"{0.7 * slot:.1f}",
            "height": f"{abs(up(float(v)) - up(0.0)):.1f}",
            "down": bool(v < 0),
            "title": f"{label}: {text(float(v))}",
        }
        for j, (v, label) in enumerate(zip(values, labels, strict=True))
        if math.isfinite(v)
    ]
    levels = nice_ticks(low, high, 5)
    digits = max((_decimals(v) for v in levels), default=0)
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": right,
        "base": bottom,
        "zero": f"{up(0.0):.1f}",
        "bars": bars,
        "ticks": [
            {"x": f"{left + (j + 0.5) * slot:.1f}", "label": label}
            for j, label in enumerate(labels)
            if j % every == 0
        ],
        "levels": [{"y": f"{up(v):.1f}", "label": f"{v:+.{digits}f}"} for v in levels],
    }
