"""One synthetic data set: the rows, the truth behind them, and two oracles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast

__all__ = ["Array", "SyntheticSample", "check_counts", "check_positive", "gaussian_or_t"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SyntheticSample:
    """Rows with known regimes, parameters and attainable forecasts.

    Row t of ``X`` is known before ``y[t]``, as in the rest of the package.

    Attributes
    ----------
    name
        the law
    X : (n, d)
    y : (n,)
        for price laws a log-return, decimal
    regimes : (n,)
        index of the regime in force
    parameters
        everything the law was drawn with
    seed
        the ``random_state`` it was made with
    means, scales : (n, K)
        location and scale of y in each regime, given the row
    predicted_probs : (n, K)
        P(regime | x up to t, y before t) under the true parameters
    dof
        degrees of freedom of the noise; inf is Gaussian

    Examples
    --------
    >>> from regimeslot.synthetic import make_hardy
    >>> sample = make_hardy(500, random_state=0)
    >>> known = sample.label_oracle().logpdf(sample.y).mean()
    >>> attainable = sample.filter_oracle().logpdf(sample.y).mean()
    >>> bool(known > attainable)
    True
    """

    name: str
    X: Array
    y: Array
    regimes: NDArray[np.intp]
    parameters: Mapping[str, object]
    seed: int
    means: Array
    scales: Array
    predicted_probs: Array
    dof: float = np.inf

    @property
    def n_regimes(self) -> int:
        """Number of regimes the law can be in."""
        return int(self.predicted_probs.shape[1])

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: slice) -> SyntheticSample:
        """A run of rows, oracles included: ``sample[:1000]`` to train, the rest to test."""
        if not isinstance(rows, slice):
            raise InvalidInputError(f"expected a slice of rows, got {rows!r}; write sample[:n]")
        return replace(
            self,
            X=self.X[rows],
            y=self.y[rows],
            regimes=self.regimes[rows],
            means=self.means[rows],
            scales=self.scales[rows],
            predicted_probs=self.predicted_probs[rows],
        )

    def label_oracle(self) -> MixtureForecast:
        """Forecast of someone who is told the regime of every row: an upper bound."""
        row = np.arange(len(self.y))
        return MixtureForecast(
            np.ones((len(self.y), 1)),
            self.means[row, self.regimes][:, None],
            self.scales[row, self.regimes][:, None],
            np.full((len(self.y), 1), self.dof),
        )

    def filter_oracle(self) -> MixtureForecast:
        """Forecast of someone who knows the parameters and the past: the best attainable."""
        dof = np.full(self.means.shape, self.dof)
        return MixtureForecast(self.predicted_probs, self.means, self.scales, dof)

    def to_frame(self, start: str = "1990-01-01") -> tuple[pd.DataFrame, pd.Series]:
        """X and y on business days, as the forecasters take them."""
        index = pd.bdate_range(start, periods=len(self.y), name="Date")
        columns = [f"x{j}" for j in range(self.X.shape[1])]
        return pd.DataFrame(self.X, index, columns), pd.Series(self.y, index, name="y")

    def to_prices(self, *, start: str = "1990-01-01", first_price: float = 100.0) -> pd.DataFrame:
        """Closing prices whose log-returns are y: n + 1 rows, column ``Close``.

        Raises
        ------
        InvalidInputError
            if the path leaves the range of positive floating-point numbers
        """
        path = np.concatenate([[0.0], np.cumsum(self.y)])
        if np.abs(path).max() > 600:
            raise InvalidInputError(
                "expected y to be log-returns whose sum stays within +-600, got "
                f"{np.abs(path).max():.0f}; use a price law such as make_hardy"
            )
        index = pd.bdate_range(start, periods=len(path), name="Date")
        return pd.DataFrame({"Close": first_price * np.exp(path)}, index)


def gaussian_or_t(rng: np.random.Generator, n: int, dof: float) -> Array:
    """Standard draws of the location-scale noise: Gaussian, or Student-t with unit scale."""
    if np.isinf(dof):
        return rng.standard_normal(n)
    return rng.standard_t(dof, n)


def check_counts(**counts: int) -> None:
    """Every value a positive integer."""
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InvalidInputError(f"expected {name} to be a positive integer, got {value!r}")


def check_positive(**values: float) -> None:
    """Every value positive; infinity is allowed."""
    for name, value in values.items():
        if not value > 0:
            raise InvalidInputError(f"expected {name} to be positive, got {value!r}")
