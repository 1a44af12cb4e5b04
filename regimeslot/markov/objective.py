"""Log-likelihood and exact score of a Markov-switching model, for many starts or series at once.

The score follows from Fisher's identity: the derivative of the log-likelihood is the expected
derivative of the complete-data log-likelihood under the smoothed probabilities, to which the
stationary start adds its own terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regimeslot.markov.batch import BatchScan, Posterior, all_moves
from regimeslot.markov.chain import stationary_distribution, stationary_score
from regimeslot.markov.emission import (
    MeanAdjustedEmission,
    Observations,
    RegressionEmission,
    Scored,
)
from regimeslot.markov.lagged import LaggedScan
from regimeslot.markov.layout import Layout, Parts, transition_from_logits

__all__ = ["Evaluated", "Objective", "Priors"]

Array = NDArray[np.float64]

_WIDE = 600  # chains x states^2 beyond which walking over the rows beats the banded solve


@dataclass(frozen=True)
class Priors:
    """Penalties on the log-likelihood.

    Attributes
    ----------
    stay : float
        Dirichlet pseudo-count of staying in each regime.
    move : float
        Dirichlet pseudo-count of each move to another regime.
    variance : float
        Pseudo-count nu of the inverse-gamma prior whose mode is near the residual variance of one
        regime: adds ``-nu / 2 (log v + 1 / v)``.
    """

    stay: float = 0.0
    move: float = 0.0
    variance: float = 0.0


@dataclass(frozen=True)
class Evaluated:
    """One evaluation: everything at hand after a scan."""

    parts: Parts
    transition: Array  # (S, K, K, 1) or (S, K, K, T + p)
    initial: Array  # (S, K), distribution of the first regime of the (composite) first row
    scored: Scored
    posterior: Posterior
    log_likelihood: Array  # (S,)


class Objective:
    """Penalised log-likelihood of ``(S, n)`` parameter vectors, with its gradient.

    Parameters
    ----------
    layout : Layout
    data : Observations
    n_batch : int
        Largest S of one call.
    priors : Priors
    initial : (K,) array, optional
        Given distribution of the first row; default the stationary one (or the estimated one,
        where the layout says so).
    n_segments : int
        The rows are this many separate stretches of equal length, laid end to end.
    """

    def __init__(
        self,
        layout: Layout,
        data: Observations,
        n_batch: int,
        *,
        priors: Priors | None = None,
        initial: Array | None = None,
        n_segments: int = 1,
    ) -> None:
        self.layout, self.data, self.priors = layout, data, priors or Priors()
        self.n_batch, self.given_initial, self.n_segments = n_batch, initial, n_segments
        self.n_rows = data.y.shape[1] - layout.n_ar
        if self.n_rows % n_segments:
            raise ValueError("segments must divide the rows")
        k, p = layout.n_regimes, layout.n_ar
        self.emission: RegressionEmission | MeanAdjustedEmission
        if p:
            self.emission = MeanAdjustedEmission(layout, data)
            previous = np.repeat(np.arange(k ** (p + 1)), k)
            following = np.tile(np.arange(k), k ** (p + 1)) * k**p + previous // k
            self.moves = np.stack([previous, following], axis=1)
            digits = self.emission.digits
            self._from, self._to = digits[previous, 0], digits[following, 0]
        else:
            self.emission = RegressionEmission(layout, data)
            self.moves = all_moves(k)
            self._from, self._to = self.moves.T

    @cached_property
    def scan(self) -> BatchScan | LaggedScan:
        """Made when first asked for: its buffers are large."""
        n_chains, n_states = self.n_batch * self.n_segments, self.emission.n_states
        if self.layout.n_ar and n_states > 1 and n_chains * n_states**2 > _WIDE:
            return LaggedScan(self.layout.n_regimes, self.layout.n_ar)
        return BatchScan(n_states, n_chains, self.n_rows // self.n_segments, self.moves)

    # -- one evaluation ---------------------------------------------------------------------

    def transition(self, parts: Parts) -> Array:
        """Transition matrices (S, K, K, 1), or (S, K, K, T + p) when they vary."""
        columns = self.data.transition_columns
        logits = parts.logits if columns is None else parts.logits @ columns
        return transition_from_logits(logits)

    def first_regime(self, parts: Parts, transition: Array) -> Array:
        """Distribution (S, K) of the first regime of the sample."""
        if self.given_initial is not None:
            return np.broadcast_to(self.given_initial, transition.shape[:2])
        if self.layout.estimated_initial:
            bounded = np.clip(parts.raw_initial, -40, 40)
            weights = np.exp(bounded - bounded.max(axis=1, keepdims=True))
            return weights / weights.sum(axis=1, keepdims=True)
        return stationary_distribution(transition[..., 0])

    def first_state(self, first: Array, transition: Array) -> Array:
        """Distribution (M, S) of the first state: the regimes of the p + 1 first rows."""
        p = self.layout.n_ar
        if not p:
            return first.T
        digits = self.emission.digits  # type: ignore[union-attr]
        weights = first[:, digits[:, p]]
        for row in range(1, p + 1):
            at = min(row, transition.shape[-1] - 1)
            weights = weights * transition[:, digits[:, p - row + 1], digits[:, p - row], at]
        return weights.T

    def evaluate(self, theta: Array, rows: NDArray[np.intp] | None = None) -> Evaluated:
        """Scan the chains of ``theta`` (S, n); ``rows`` names the series each start sees."""
        index = np.arange(theta.shape[0]) if rows is None else rows
        parts = self.layout.unpack(theta)
        transition = self.transition(parts)
        first = self.first_regime(parts, transition)
        scored = self.emission.score_rows(parts, index)
        n_states, size, _ = scored.log_density.shape
        initial = self.first_state(first, transition)
        moves = transition.transpose(1, 2, 0, 3)[self._from, self._to]
        if moves.shape[-1] == 1:
            moves = moves[..., 0]
        else:
            moves = np.ascontiguousarray(moves[..., self.layout.n_ar :])
        density = scored.log_density
        if self.n_segments > 1:
            density = density.reshape(n_states, size * self.n_segments, -1)
            initial = np.repeat(initial, self.n_segments, axis=1)
            moves = np.repeat(moves, self.n_segments, axis=1)
        posterior = self.scan(density, moves, initial)
        found = posterior.log_likelihood
        if self.n_segments > 1:
            found = found.reshape(size, self.n_segments).sum(axis=1)
        return Evaluated(parts, transition, first, scored, posterior, found)

    def _smoothed(self, at: Evaluated) -> Array:
        smoothed = at.posterior.smoothed
        return smoothed.reshape(smoothed.shape[0], -1, self.n_rows)

    def transition_counts(self, at: Evaluated) -> tuple[Array, Array]:
        """Expected moves (S, K, K, 1 or T + p), and the first regime's probabilities (S, K)."""
        k, p = self.layout.n_regimes, self.layout.n_ar
        posterior, constant = at.posterior, at.transition.shape[-1] == 1
        size = at.transition.shape[0]
        if p == 0:
            first = posterior.smoothed[:, :, 0].reshape(k, size, -1).sum(axis=2).T
            if constant:
                repeated = np.repeat(at.transition[..., 0], self.n_segments, axis=0)
                counts = posterior.move_totals(repeated.transpose(1, 2, 0))
                counts = counts.reshape(k, k, size, -1).sum(axis=3)
                return counts.transpose(2, 0, 1)[..., None], first
            counts = posterior.move_probabilities(at.transition.transpose(1, 2, 0, 3))
            return counts.transpose(2, 0, 1, 3), first
        smoothed = posterior.smoothed
        pairs = smoothed if not constant else smoothed[:, :, 1:].sum(axis=2, keepdims=True)
        pairs = pairs.reshape(k, k, -1, *pairs.shape[1:]).sum(axis=2).transpose(2, 1, 0, 3)
        head = smoothed[:, :, 0].T  # (S, M)
        digits = self.emission.digits  # type: ignore[union-attr]
        counts = np.zeros(at.transition.shape)
        counts[..., p if not constant else 0 :] = pairs
        by_digits = head.reshape(-1, *(k,) * (p + 1))
        for row in range(1, p + 1):
            if not constant and row == p:
                continue  # already among the pairs
            keep = (p - row, p - row + 1)
            others = tuple(axis + 1 for axis in range(p + 1) if axis not in keep)
            joint = by_digits.sum(axis=others)  # (S, to, from)
            counts[..., row if not constant else 0] += joint.transpose(0, 2, 1)
        oldest = np.zeros((head.shape[0], k))
        for regime in range(k):
            oldest[:, regime] = head[:, digits[:, p] == regime].sum(axis=1)
        return counts, oldest

    # -- value and gradient -----------------------------------------------------------------

    def log_prior(self, at: Evaluated) -> Array:
        """Penalty (S,) that is added to the log-likelihood."""
        total = np.zeros(at.parts.coef.shape[0])
        if self.priors.variance:
            variance = at.parts.variance
            if not self.layout.switching_variance:
                variance = variance[:, :1]
            total -= 0.5 * self.priors.variance * (np.log(variance) + 1.0 / variance).sum(axis=1)
        if self.priors.stay or self.priors.move:
            log = np.log(np.maximum(at.transition, 1e-300)).mean(axis=3)
            stays = np.trace(log, axis1=1, axis2=2)
            total += self.priors.stay * stays + self.priors.move * (log.sum(axis=(1, 2)) - stays)
        return total

    def value(self, theta: Array, rows: NDArray[np.intp]) -> Array:
        """Penalised log-likelihood (S,)."""
        at = self.evaluate(theta, rows)
        return at.log_likelihood + self.log_prior(at)

    def value_and_gradient(
        self, theta: Array, rows: NDArray[np.intp] | None = None
    ) -> tuple[Array, Array]:
        """Penalised log-likelihood (S,) and its gradient (S, n)."""
        index = np.arange(theta.shape[0]) if rows is None else rows
        layout, at = self.layout, self.evaluate(theta, index)
        score = self.emission.score(
            at.parts, at.scored, self._smoothed(at), index, self.priors.variance * self._shared
        )
        counts, first = self.transition_counts(at)
        if self.priors.stay or self.priors.move:
            counts = counts + self._pseudo_counts() / counts.shape[3]
        by_logit = counts - at.transition * counts.sum(axis=2, keepdims=True)
        if self.given_initial is None and layout.estimated_initial:
            score["initial"] = (first - at.initial * first.sum(axis=1, keepdims=True))[:, :-1]
        elif self.given_initial is None:
            ratio = first / np.maximum(at.initial, 1e-300)
            by_logit[..., 0] += stationary_score(at.transition[..., 0], at.initial, ratio)
        if self.data.transition_columns is not None:
            by_logit = by_logit @ self.data.transition_columns.T
        gradient = np.zeros(theta.shape)
        gradient[:, layout.blocks["logits"]] = by_logit[:, layout.off_diagonal].reshape(
            theta.shape[0], -1
        )
        for name, block in score.items():
            gradient[:, layout.blocks[name]] = block
        return at.log_likelihood + self.log_prior(at), gradient

    @property
    def _shared(self) -> float:
        """A prior on one shared variance is split over the regimes whose scores are summed."""
        return 1.0 if self.layout.switching_variance else 1.0 / self.layout.n_regimes

    def _pseudo_counts(self) -> Array:
        k = self.layout.n_regimes
        counts = np.full((k, k), self.priors.move)
        np.fill_diagonal(counts, self.priors.stay)
        return counts[..., None]
