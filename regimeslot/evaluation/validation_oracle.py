"""What the synthetic proof measures the slots against: told labels, and a first-order solver."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["AdamSlots", "LabelOracle"]

Array = NDArray[np.float64]


class LabelOracle:
    """Slots of someone who is told the regime of every training row, though of no test row.

    Each law is fitted on its own rows by least squares and the gate by logistic regression on the
    labels, sharpened as far as the training error falls.

    Parameters
    ----------
    regimes : (n,)
        true labels of the training rows
    n_regimes
        number of laws
    """

    def __init__(self, regimes: NDArray[np.intp], n_regimes: int) -> None:
        self.regimes = regimes
        self.n_regimes = n_regimes

    def fit(self, X: Array, y: Array) -> Self:
        """Fit laws and gate on rows whose regimes were given."""
        from regimeslot.solvers.slot_em import SlotState
        from regimeslot.solvers.slot_gate import gate_newton
        from regimeslot.solvers.slot_polish import scale_gate
        from regimeslot.solvers.slot_units import Units

        weights = np.ones(len(X))
        Y = y[:, None]
        self.units_ = Units.of(X, Y, weights)
        design = self.units_.design(X, Y, weights)
        K, D = self.n_regimes, design.Z.shape[1]
        W = np.zeros((K, 1, D))
        for k in range(K):
            own = np.flatnonzero(self.regimes == k)
            if len(own):
                W[k, 0] = np.linalg.lstsq(design.Z[own], design.Y[own, 0], rcond=None)[0]
        owned = np.equal.outer(np.arange(K), self.regimes).astype(float)
        V = np.zeros((K, D))
        for ridge in (1.0, 0.1, 0.01, 0.001):
            V = gate_newton(design, owned, V, iterations=6, ridge=ridge)
        self.state_ = scale_gate(design, SlotState(W, V, np.ones((K, 1))))
        return self

    def predict(self, X: Array) -> Array:
        """Mixed prediction (n,)."""
        from regimeslot.solvers.slot_gate import mixture

        design = self.units_.design(X, np.zeros((len(X), 1)), np.ones(len(X)))
        mixed = mixture(design, self.state_.W, self.state_.V)[2][0]
        return np.asarray(mixed * self.units_.y_scale[0] + self.units_.y_mean[0])


class AdamSlots:
    """``SlotWeight`` trained on all rows at once by Adam on the cooperative squared error.

    Parameters
    ----------
    n_slots
        number of slots
    steps, learning_rate
        of Adam; both are generous for a few hundred rows
    seed
        of the initial weights
    """

    def __init__(
        self, n_slots: int, *, steps: int = 2000, learning_rate: float = 0.02, seed: int = 0
    ) -> None:
        self.n_slots = n_slots
        self.steps = steps
        self.learning_rate = learning_rate
        self.seed = seed

    def fit(self, X: Array, y: Array) -> Self:
        """Train from the layer's own initialisation."""
        import torch

        from regimeslot.models.slot_weight import SlotWeight

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.layer_ = SlotWeight(self.n_slots, X.shape[1], 1).double()
        rows, target = torch.from_numpy(X), torch.from_numpy(y)[:, None]
        optimiser = torch.optim.Adam(self.layer_.parameters(), lr=self.learning_rate)
        for _ in range(self.steps):
            optimiser.zero_grad()
            loss = ((self.layer_(rows) - target) ** 2).mean()
            loss.backward()
            optimiser.step()
        return self

    def predict(self, X: Array) -> Array:
        """Mixed prediction (n,)."""
        import torch

        with torch.no_grad():
            return np.asarray(self.layer_(torch.from_numpy(X))[:, 0])
