"""Density of one slot: log density of a standardised row and its exact derivatives.

Each function works on one slot at a time: ``y``, ``location`` and ``log_scale`` are (T,) arrays or
scalars, and the scale is a standard deviation, so that Gaussian and Student-t slots mean the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gammaln

__all__ = ["LIKELIHOODS", "Gaussian", "SlotDensity", "StudentT"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SlotDensity:
    """Log density of every row and what its derivatives need.

    Attributes
    ----------
    log_density : (T,)
    by_log_scale : (T,) derivative by the log standard deviation
    by_location : (T,) derivative by the location
    shape_terms : what :meth:`by_raw` needs; for a Student-t slot ``log(1 + u^2 / (dof - 2))`` and
        ``u^2 / (dof - 2 + u^2)``, nothing for a Gaussian one
    """

    log_density: Array
    by_log_scale: Array
    by_location: Array
    shape_terms: tuple[Array, ...] = ()


class Gaussian:
    """Normal density, ``-log(2 pi)/2 - log s - u^2/2`` with ``u = (y - m)/s``."""

    n_shape = 0

    @staticmethod
    def dof(raw: float) -> float:
        """Degrees of freedom: infinite."""
        return math.inf

    @staticmethod
    def density(y: Array, location: Array | float, log_scale: Array, raw: float) -> SlotDensity:
        """Log density and derivatives of one slot."""
        precision = np.exp(-log_scale)
        u = y - location
        u *= precision
        square = u * u
        log_density = square * -0.5
        log_density -= log_scale
        log_density -= 0.5 * math.log(2.0 * math.pi)
        square -= 1.0
        u *= precision
        return SlotDensity(log_density, square, u)

    @staticmethod
    def by_raw(weights: Array, density: SlotDensity, raw: float) -> float:
        """Weighted derivative by the raw shape parameter: there is none."""
        return 0.0

    @staticmethod
    def information(raw: float) -> tuple[float, float, float]:
        """Fisher information by (log scale, location * s^2, raw shape)."""
        return 2.0, 1.0, 0.0


class StudentT:
    """Student-t scaled to standard deviation s.

    ``log p = k(nu) - log s - (nu + 1)/2 log(1 + u^2/(nu - 2))`` with ``u = (y - m)/s`` and
    ``k(nu) = lgamma((nu + 1)/2) - lgamma(nu/2) - log(pi (nu - 2))/2``. The degrees of freedom are
    ``nu = 2.1 + 3 softplus(raw)``, so that the variance exists for every raw value.
    """

    n_shape = 1

    @staticmethod
    def dof(raw: float) -> float:
        """Degrees of freedom of a raw shape parameter."""
        return 2.1 + 3.0 * (math.log1p(math.exp(-abs(raw))) + max(raw, 0.0))

    @staticmethod
    def density(y: Array, location: Array | float, log_scale: Array, raw: float) -> SlotDensity:
        """Log density and derivatives of one slot."""
        dof = StudentT.dof(raw)
        precision = np.exp(-log_scale)
        u = y - location
        u *= precision
        tail = u * u
        tail *= 1.0 / (dof - 2.0)
        body = tail + 1.0
        tail /= body
        u *= precision
        u /= body
        u *= (dof + 1.0) / (dof - 2.0)
        log1p = np.log(body, out=body)
        constant = (
            float(gammaln((dof + 1) / 2) - gammaln(dof / 2)) - math.log(math.pi * (dof - 2)) / 2
        )
        log_density = log1p * (-(dof + 1.0) / 2.0)
        log_density -= log_scale
        log_density += constant
        by_log_scale = tail * (dof + 1.0)
        by_log_scale -= 1.0
        return SlotDensity(log_density, by_log_scale, u, (log1p, tail))

    @staticmethod
    def by_raw(weights: Array, density: SlotDensity, raw: float) -> float:
        """Weighted derivative by the raw shape parameter."""
        log1p, tail = density.shape_terms
        dof = StudentT.dof(raw)
        by_dof = (
            weights.sum()
            * (0.5 * float(digamma((dof + 1) / 2) - digamma(dof / 2)) - 0.5 / (dof - 2))
            - 0.5 * float(weights @ log1p)
            + 0.5 * (dof + 1) / (dof - 2) * float(weights @ tail)
        )
        return float(by_dof * 3.0 / (1.0 + math.exp(-raw)))

    @staticmethod
    def information(raw: float) -> tuple[float, float, float]:
        """Fisher information by (log scale, location * s^2, raw shape); the last is rough."""
        dof = StudentT.dof(raw)
        by_scale = 2.0 * dof / (dof + 3.0)
        by_location = dof * (dof + 1.0) / ((dof + 3.0) * (dof - 2.0))
        slope = 3.0 / (1.0 + math.exp(-raw))
        return by_scale, by_location, slope * slope * 1.5 / dof**3.2


LIKELIHOODS: dict[str, type[Gaussian] | type[StudentT]] = {"gaussian": Gaussian, "t": StudentT}
