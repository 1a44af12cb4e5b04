"""Typed exceptions and warnings. Each message says what was expected, what came, and what to do.

``exit_code`` is what the command line exits with: 1 failed, 2 wrong usage, 3 no usable data.
"""

from __future__ import annotations

__all__ = [
    "BadFileError",
    "CausalityError",
    "ConvergenceError",
    "ConvergenceWarning",
    "DataError",
    "DataWarning",
    "InvalidInputError",
    "NetworkError",
    "NotFittedError",
    "PriceError",
    "RegimeWarning",
    "RegimeslotError",
    "TooFewRowsError",
    "UnknownTickerError",
]


class RegimeslotError(Exception):
    """Base of every error that regimeslot raises on purpose."""

    exit_code = 1


class InvalidInputError(RegimeslotError, ValueError):
    """An argument has the wrong shape, type or value."""

    exit_code = 2


class NotFittedError(RegimeslotError, ValueError, AttributeError):
    """A model was asked for results before ``fit``."""


class ConvergenceError(RegimeslotError):
    """No start of an estimation gave a usable result."""


class CausalityError(RegimeslotError, AssertionError):
    """Something at row t moved when data after t changed: a look-ahead leak."""


class DataError(RegimeslotError):
    """No usable data."""

    exit_code = 3


class UnknownTickerError(DataError):
    """The source does not hold this symbol."""


class NetworkError(DataError):
    """The source could not be reached, or refused to answer."""


class BadFileError(DataError):
    """A file is missing, damaged, or not what it should be."""


class PriceError(DataError):
    """Prices that no model should see: gaps in the index, non-positive or non-finite values."""


class TooFewRowsError(DataError):
    """The series is too short for what was asked."""


class RegimeWarning(UserWarning):
    """A result to read with care: a boundary optimum, a spurious spike, an unused regime."""


class ConvergenceWarning(RegimeWarning):
    """An estimation stopped before it converged; its best result is returned."""


class DataWarning(UserWarning):
    """Data were usable but not clean, or did not come from where they should."""
