"""Regime-switching forecasting: slots, Markov switching, and honest evidence on real series.

Public names are resolved on first use, so that ``import regimeslot`` stays light.
"""

from __future__ import annotations

__version__ = "0.1.0"
