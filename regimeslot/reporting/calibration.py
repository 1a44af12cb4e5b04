"""Are the probabilities right? PIT histogram and losses beyond the value at risk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrik, chdtrc, xlogy

from regimeslot.reporting.shapes import histogram_shape
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count

__all__ = ["Coverage", "adapted_hits", "coverage", "kupiec", "pit", "pit_section", "var_section"]

Array = NDArray[np.float64]

BINS = 20
LEVELS = (0.01, 0.05)
_GAINS = {0.01: 0.002, 0.05: 0.01}  # step of the adaptive threshold, per level


_ORDINALS = {0: "lowest", BINS - 1: "highest"}


def pit(uniforms: Array, bins: int = BINS) -> tuple[Array, float, float]:
    """Histogram of the probability integral transform, 1 where uniform, and its 95 % band.

    The band is for one bar at a time, by the binomial distribution of independent rows.

    Examples
    --------
    >>> heights, low, high = pit((np.arange(1000) + 0.5) / 1000)
    >>> heights.round(3).tolist() == [1.0] * 20, round(low, 2), round(high, 2)
    (True, 0.74, 1.28)
    """
    n = len(uniforms)
    heights = np.histogram(uniforms, bins=bins, range=(0.0, 1.0))[0] * bins / n
    low, high = (np.ceil(bdtrik(p, n, 1.0 / bins)) * bins / n for p in (0.025, 0.975))
    return heights, float(low), float(high)


def kupiec(hits: int, n: int, level: float) -> float:
    """p-value of Kupiec's (1995) test that losses exceed the VaR with probability ``level``.

    Examples
    --------
    >>> round(kupiec(15, 1000, 0.01), 4)
    0.139
    """
    rate = hits / n
    at_level = xlogy(hits, level) + xlogy(n - hits, 1.0 - level)
    at_rate = xlogy(hits, rate) + xlogy(n - hits, 1.0 - rate)
    return float(chdtrc(1, max(2.0 * (at_rate - at_level), 0.0)))


def adapted_hits(uniforms: Array, level: float) -> NDArray[np.bool_]:
    """Exceedances of a threshold that learns from its own record.

    ``a_{t+1} = a_t + g (level - 1{u_t <= a_t})`` from ``a_1 = level``: after a loss beyond the
    VaR the next one is set lower. Only the rows before t are used.

    References
    ----------
    Gibbs, I. and Candes, E. (2021). Adaptive conformal inference under distribution shift.
    Advances in Neural Information Processing Systems 34.

    Examples
    --------
    >>> int(adapted_hits(np.full(100, 0.5), 0.05).sum())
    0
    """
    step = _GAINS.get(level, 0.2 * level)
    threshold = level
    hits = np.zeros(len(uniforms), dtype=bool)
    for t, u in enumerate(uniforms.tolist()):
        hit = u <= threshold
        hits[t] = hit
        threshold = min(max(threshold + step * (level - hit), 1e-4), 0.5)
    return hits


@dataclass(frozen=True)
class Coverage:
    """Losses beyond one VaR level, as forecast and with the adaptive threshold."""

    level: float
    hits: NDArray[np.bool_]
    raw: float
    p: float
    adapted: float
    adapted_p: float

    @property
    def words(self) -> str:
        """Verdict on the raw coverage."""
        if self.p >= 0.05:
            return "right"
        return "too many" if self.raw > self.level else "too few"


def coverage(uniforms: Array) -> list[Coverage]:
    """Raw and adapted coverage at 1 % and 5 %."""
    n = len(uniforms)
    result = []
    for level in LEVELS:
        raw = uniforms < level
        adapted = adapted_hits(uniforms, level)
        result.append(
            Coverage(
                level,
                raw,
                float(raw.mean()),
                kupiec(int(raw.sum()), n, level),
                float(adapted.mean()),
                kupiec(int(adapted.sum()), n, level),
            )
        )
    return result


def pit_section(view: View) -> dict[str, Any]:
    """PIT histogram with its band, title and numbers."""
    heights, low, high = pit(view.uniforms)
    outside = int(((heights < low) | (heights > high)).sum())
    p = float(chdtrc(BINS - 1, len(view.uniforms) / BINS * np.sum((heights - 1.0) ** 2)))
    if p >= 0.05:
        title = f"Calibrated as far as {BINS} bars can tell (p {p:.2f})"
    else:
        worst = int(np.argmax(np.abs(heights - 1.0)))
        title = (
            f"Not fully calibrated (p {_small(p)}): the {_ORDINALS.get(worst, 'marked')} twentieth "
            f"came {heights[worst]:.2f} times as often as forecast"
        )
    rows = [
        [
            cell(f"{j / BINS:.2f} to {(j + 1) / BINS:.2f}"),
            cell(f"{h:.2f}"),
            cell("outside the band" if h < low or h > high else "inside"),
        ]
        for j, h in enumerate(heights)
    ]
    return {
        "title": title,
        "alt": f"Histogram of the probability integral transform of {view.main} in {BINS} bars. "
        f"{title}. {outside} bars lie outside the 95 % band. "
        f"Bars run from {heights.min():.2f} to {heights.max():.2f} times the expected "
        f"count; the band from {low:.2f} to {high:.2f}.",
        "shape": histogram_shape(heights, low, high),
        "table": Table(
            "PIT histogram",
            ("PIT", "Rows, as a multiple of those expected", "95 % band"),
            rows,
            text_columns=(0, 2),
        ),
        "note": "How often the outcome fell into each twentieth of its forecast distribution. "
        "Level bars mean that the probabilities are right; a hump in the middle means "
        "forecasts too wide, a U too narrow, a slope a wrong mean. p is that of a chi-square test; "
        f"{outside} of {BINS} bars lie outside the band."
        + (" Targets overlap, so the band is too narrow." if view.horizon > 1 else ""),
    }


def _small(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def var_section(view: View) -> dict[str, Any]:
    """Table of raw and adapted coverage, and the finding in words."""
    found = coverage(view.uniforms)
    rows = [
        [
            cell(f"{100 * c.level:.0f} %"),
            cell(count(c.hits.sum())),
            cell(f"{100 * c.raw:.2f}"),
            cell(_small(c.p)),
            cell(c.words),
            cell(f"{100 * c.adapted:.2f}"),
            cell(_small(c.adapted_p)),
        ]
        for c in found
    ]
    first, *others = (
        f"beyond the {100 * c.level:.0f} % VaR on {100 * c.raw:.2f} % of {view.period.plural} "
        f"({c.words})"
        for c in found
    )
    said = ", ".join([f"Losses went {first}", *others])
    return {
        "title": said,
        "table": Table(
            "Coverage of the value at risk, as forecast and with an adaptive threshold",
            (
                "VaR",
                "Losses beyond it",
                "Raw rate, %",
                "p (Kupiec)",
                "In words",
                "Adapted rate, %",
                "p (Kupiec)",
            ),
            rows,
            text_columns=(0, 4),
        ),
        "note": "Raw is the forecast as it was made. Adapted moves the threshold after each hit "
        "and miss, using past rows alone; it repairs the rate, not the forecast.",
    }
