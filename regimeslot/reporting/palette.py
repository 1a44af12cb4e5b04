"""Regime colours from calm to wild: blue, grey, amber, vermilion, the same in every chart.

The four are told apart by people with any of the usual colour blindnesses (after Okabe and Ito),
and never stand alone: every chart labels or hatches its regimes too.
"""

from __future__ import annotations

__all__ = ["COLOURS", "regime_classes", "regime_colours"]

COLOURS = {"calm": "#0072b2", "mild": "#8c8c8c", "rough": "#e69f00", "wild": "#d55e00"}

_SCALES = {
    1: ("calm",),
    2: ("calm", "wild"),
    3: ("calm", "mild", "wild"),
    4: ("calm", "mild", "rough", "wild"),
}


def regime_classes(n_regimes: int) -> tuple[str, ...]:
    """Places on the scale for ``n_regimes`` regimes; beyond four, neighbours share a colour.

    Examples
    --------
    >>> regime_classes(2)
    ('calm', 'wild')
    """
    if n_regimes in _SCALES:
        return _SCALES[n_regimes]
    names = _SCALES[4]
    return tuple(names[round(3 * k / (n_regimes - 1))] for k in range(n_regimes))


def regime_colours(n_regimes: int) -> list[str]:
    """The same as hex colours."""
    return [COLOURS[name] for name in regime_classes(n_regimes)]
