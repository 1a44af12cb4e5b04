"""Statistics of all slots in preallocated arrays: predict for all at once, update one alone.

Each slot keeps its law once for every forgetting factor, and weights them by how well each has
predicted. Whatever a slot forgets it forgets by its own rows: time alone changes nothing.
"""

from __future__ import annotations

from math import log, log1p, pi
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from regimeslot.models.online_evidence import Law, joined, log_evidence

__all__ = ["Prediction", "SlotBank"]

Array = NDArray[np.float64]

_RETURN = 1e-4  # share of the factors' weights that returns to the start with each row
_STEADY = 0.8  # prior weight of the longest memory; the others share the rest
_FIELDS = (
    "precision",
    "covariance",
    "coef",
    "shape",
    "rate",
    "constant",
    "kept",
    "mix",
    "age",
    "seen",
    "outliers",
    "prior_precision",
    "prior_coef",
    "prior_rate",
    "log_det",
)


class Prediction(NamedTuple):
    """What every slot says about one row, under each of its J forgetting factors."""

    mean: Array  # (S, J, p)
    gain: Array  # (S, J, d), covariance times the row
    leverage: Array  # (S, J), row' covariance row


class SlotBank:
    """Normal-inverse-gamma statistics of up to ``capacity`` slots.

    Parameters
    ----------
    capacity, n_features, n_outputs
        sizes; features include the constant
    forgetting : (J,)
        factors; the first is the steadiest
    shape
        prior a_0: half the degrees of freedom of a slot that has seen nothing
    gate
        whether :meth:`log_density` will be asked for; the first column is then the constant
    """

    def __init__(
        self,
        capacity: int,
        n_features: int,
        n_outputs: int,
        forgetting: Array,
        *,
        shape: float,
        gate: bool,
    ) -> None:
        C, J, d, p = capacity, len(forgetting), n_features, n_outputs
        self.forgetting = forgetting
        self.forgets = 1.0 - forgetting
        self.prior_shape = shape
        self.gate = gate
        self.refresh_every = max(64, d)
        self.start_mix = np.full(J, (1.0 - _STEADY) / max(J - 1, 1))
        self.start_mix[0] = 1.0 if J == 1 else _STEADY
        self.precision = np.zeros((C, J, d, d))
        self.covariance = np.zeros((C, J, d, d))
        self.coef = np.zeros((C, J, p, d))
        self.shape = np.zeros((C, J))
        self.rate = np.zeros((C, J, p))
        self.constant = np.zeros((C, J))
        self.kept = np.zeros((C, J))
        self.mix = np.zeros((C, J))
        self.age = np.zeros(C, dtype=np.int64)
        self.seen = np.zeros(C)
        self.outliers = np.zeros(C)
        self.prior_precision = np.zeros((C, d))
        self.prior_coef = np.zeros((C, p, d))
        self.prior_rate = np.zeros((C, p))
        self.log_det = np.zeros(C)  # of the steadiest precision; followed only for the gate

    def start(self, slot: int, precision: Array, coef: Array, rate: Array) -> None:
        """An empty slot with this prior: diagonal of Lambda_0 (d,), w_0 (p, d), b_0 (p,)."""
        diagonal = np.arange(len(precision))
        self.precision[slot] = 0.0
        self.precision[slot][:, diagonal, diagonal] = precision
        self.covariance[slot] = 0.0
        self.covariance[slot][:, diagonal, diagonal] = 1.0 / precision
        self.coef[slot] = coef
        self.shape[slot] = self.prior_shape
        self.rate[slot] = rate
        self.constant[slot] = gammaln(self.prior_shape + 0.5) - gammaln(self.prior_shape)
        self.kept[slot] = 1.0
        self.mix[slot] = self.start_mix
        self.age[slot] = 0
        self.seen[slot] = 0.0
        self.outliers[slot] = 0.0
        self.prior_precision[slot] = precision
        self.prior_coef[slot] = coef
        self.prior_rate[slot] = rate
        self.log_det[slot] = np.log(precision).sum()

    def copy(self, source: int, target: int) -> None:
        """Overwrite slot ``target`` with slot ``source``."""
        for name in _FIELDS:
            array = getattr(self, name)
            array[target] = array[source]

    def predict(self, row: Array, slots: int) -> Prediction:
        """Predictions of the first ``slots`` slots for one row (d,)."""
        gain = self.covariance[:slots] @ row
        return Prediction(self.coef[:slots] @ row, gain, gain @ row)

    def update(
        self, slot: int, weight: float, row: Array, outer: Array, error: Array, said: Prediction
    ) -> None:
        """Count one row with ``weight`` in one slot; ``error`` (J, p) is y minus its prediction."""
        keep = 1.0 - weight * self.forgets
        gain = said.gain[slot]
        scale = weight / (keep + weight * said.leverage[slot])
        self.coef[slot] += error[:, :, None] * (gain * scale[:, None])[:, None, :]
        # A product of one vector with itself is symmetric to the last bit.
        root = gain * np.sqrt(scale)[:, None]
        tall_keep = keep[:, None, None]
        covariance = self.covariance[slot]
        covariance -= root[:, :, None] * root[:, None, :]
        covariance /= tall_keep
        precision = self.precision[slot]
        precision *= tall_keep
        precision += weight * outer
        shape = self.shape[slot]
        shape *= keep
        shape += (1.0 - keep) * self.prior_shape + 0.5 * weight
        rate = self.rate[slot]
        rate *= keep[:, None]
        rate += (1.0 - keep)[:, None] * self.prior_rate[slot]
        rate += error * error * (0.5 * scale * keep)[:, None]
        self.constant[slot] = gammaln(shape + 0.5) - gammaln(shape)
        self.kept[slot] *= keep
        self.seen[slot] += weight
        if self.gate:
            kept, leverage = float(keep[0]), float(said.leverage[slot, 0])
            self.log_det[slot] += len(row) * log(kept) + log1p(weight * leverage / kept)
        self.age[slot] += 1
        if self.age[slot] >= self.refresh_every:
            self._refresh(slot)

    def weigh_factors(self, slot: int, weight: float, likelihood: Array) -> None:
        """Shift the slot's weights to the factors that predicted best; ``likelihood`` (J,)."""
        mix = self.mix[slot]
        mean = float(mix @ likelihood)
        mix *= (1.0 - weight) + (weight / mean) * likelihood
        mix *= (1.0 - _RETURN) / mix.sum()
        mix += _RETURN * self.start_mix

    def _refresh(self, slot: int) -> None:
        """Invert the precision anew, and put back the part of the prior that was forgotten.

        The recursion of the covariance gathers rounding errors, and without its prior a slot that
        forgets would lose every direction in which its rows no longer vary.
        """
        lost = 1.0 - self.kept[slot]
        prior = self.prior_precision[slot]
        back = lost[:, None] * prior
        target = self.coef[slot] @ self.precision[slot]
        target += back[:, None, :] * self.prior_coef[slot]
        diagonal = np.arange(len(prior))
        self.precision[slot][:, diagonal, diagonal] += back
        root = np.linalg.inv(np.linalg.cholesky(self.precision[slot]))
        covariance = root.transpose(0, 2, 1) @ root
        # Symmetric to the last bit, as the updates keep it.
        self.covariance[slot] = 0.5 * (covariance + covariance.transpose(0, 2, 1))
        self.coef[slot] = target @ self.covariance[slot]
        self.log_det[slot] = -2.0 * np.log(np.einsum("dd->d", root[0])).sum()
        self.kept[slot] = 1.0
        self.age[slot] = 0

    def log_density(self, row: Array, leverage: Array) -> list[float]:
        r"""Log density of the row's own columns in each slot, a multivariate Student-t.

        The first column is the constant, so a slot's precision holds count, mean and scatter of
        its rows: with :math:`\kappa = \Lambda_{00}`, q columns and :math:`\nu = \kappa + q`,

        .. math:: \frac{\Gamma((\nu + 1) / 2)}{\Gamma((\nu + 1 - q) / 2) \pi^{q/2}}
                  \frac{\kappa}{|\Lambda|^{1/2} (\kappa + 1)^{1/2}}
                  \Big(1 + \frac{\kappa}{\kappa + 1} (h - 1/\kappa)\Big)^{-(\nu + 1) / 2}
        """
        S, q = len(leverage), len(row) - 1
        count = self.precision[:S, 0, 0, 0]
        half = 0.5 * (count + q + 1.0)
        distance = np.maximum(leverage[:, 0] - 1.0 / count, 0.0)
        constant = gammaln(half) - gammaln(half - 0.5 * q) - 0.5 * q * log(pi) + np.log(count)
        constant -= 0.5 * (np.log1p(count) + self.log_det[:S])
        out: list[float] = (constant - half * np.log1p(distance * count / (count + 1.0))).tolist()
        return out

    def noise_variance(self, slot: int) -> list[float]:
        """Noise variance b / a of each output under the steadiest factor."""
        return (self.rate[slot, 0] / self.shape[slot, 0]).tolist()

    def typical_precision(self, slots: int) -> Array:
        """Mean square of each column over all rows seen, 1 where it has not varied."""
        moment = np.einsum("kdd->d", self.precision[:slots, 0])
        moment = moment - self.prior_precision[:slots].sum(0)
        seen = max(float(self.seen[:slots].sum()), 1.0)
        return np.where(moment > 1e-9 * seen, moment / seen, 1.0)

    def best_factor(self, slot: int) -> int:
        """Index of the forgetting factor that has predicted best."""
        return int(self.mix[slot].argmax())

    def posterior(self, slot: int, factor: int) -> Law:
        """Law of a slot under one forgetting factor."""
        return Law(
            self.precision[slot, factor],
            self.coef[slot, factor],
            float(self.shape[slot, factor]),
            self.rate[slot, factor],
        )

    def prior(self, slot: int, kept: float = 1.0) -> Law:
        """The law a slot began with, or what is left of its precision."""
        precision = np.diag(kept * self.prior_precision[slot])
        return Law(precision, self.prior_coef[slot], self.prior_shape, self.prior_rate[slot])

    def gain_of_merging(self, first: int, second: int) -> float:
        """Log evidence for one common law against two, each under its best forgetting factor."""
        i, j = self.best_factor(first), self.best_factor(second)
        own, other = self.posterior(first, i), self.posterior(second, j)
        start = self.prior(second, float(self.kept[second, j]))
        both = joined(own, other, start)
        prior = self.prior(first)
        apart = log_evidence(prior, own) + log_evidence(self.prior(second), other)
        return log_evidence(prior, both) - apart

    def merge(self, first: int, second: int) -> None:
        """Give the rows of ``second`` to ``first``, factor by factor; ``second`` stays as it is."""
        for j in range(len(self.forgetting)):
            start = self.prior(second, float(self.kept[second, j]))
            both = joined(self.posterior(first, j), self.posterior(second, j), start)
            self.precision[first, j] = both.precision
            self.coef[first, j] = both.coef
            self.shape[first, j] = both.shape
            self.rate[first, j] = both.rate
        shape = self.shape[first]
        self.constant[first] = gammaln(shape + 0.5) - gammaln(shape)
        share = self.seen[first] / (self.seen[first] + self.seen[second])
        self.mix[first] = share * self.mix[first] + (1.0 - share) * self.mix[second]
        self.seen[first] += self.seen[second]
        self.outliers[first] += self.outliers[second]
        self._refresh(first)

    def get_state(self, slots: int | None = None) -> dict[str, Array]:
        """Copies of every array by name, of the first ``slots`` slots or of all."""
        return {name: getattr(self, name)[:slots].copy() for name in _FIELDS}

    def set_state(self, state: dict[str, Array]) -> None:
        """Put back what :meth:`get_state` gave, and leave further slots alone."""
        for name in _FIELDS:
            getattr(self, name)[: len(state[name])] = state[name]

    def get_slot(self, slot: int) -> dict[str, Array]:
        """Copies of one slot's statistics."""
        return {name: getattr(self, name)[slot : slot + 1].copy() for name in _FIELDS}

    def set_slot(self, slot: int, state: dict[str, Array]) -> None:
        """Put back what :meth:`get_slot` gave."""
        for name in _FIELDS:
            getattr(self, name)[slot : slot + 1] = state[name]
