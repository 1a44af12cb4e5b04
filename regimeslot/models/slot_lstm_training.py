"""Training of a recurrent head: stretches of one window's length, early stopping, best state kept.

A window for every row would run the layer W times over every row. Instead the series is cut into
stretches of W rows that overlap by half: the first half of each only fills the memory, the second
is scored. Each row is then run over twice whatever W is, its memory reaches back W/2 to W rows, and
the cuts move from pass to pass. Stretches are taken from a view of all windows, so that neither
time nor memory grows with W.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import recency_weights
from regimeslot.models.slot_lstm_network import Experts, RecurrentHead
from regimeslot.models.slot_lstm_run import experts_of
from regimeslot.windows import rolling_windows

__all__ = ["Schedule", "Training", "TrainingRows", "train"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

_LEAST_GAIN = 1e-5  # nats a row by which a state must beat the best to take its place
_LONGEST_GRADIENT = 1.0


@dataclass(frozen=True)
class TrainingRows:
    """Rows of one fit, oldest first, in the experts' units.

    Attributes
    ----------
    features : (n, D) standardised
    targets : (n,)
    weights : (n,) of each row in the likelihood
    experts : Experts of (n, K)
    window : W
    stop : rows before it are trained on
    check : rows from it on decide when to stop; their targets share nothing with those before
        ``stop``
    """

    features: Array
    targets: Tensor
    weights: Tensor
    experts: Experts
    window: int
    stop: int
    check: int

    @classmethod
    def of(
        cls,
        features: Array,
        targets: Array,
        forecast: MixtureForecast,
        spread: float,
        *,
        half_life: float | None,
        window: int,
        stop: int,
        check: int,
    ) -> TrainingRows:
        """Rows with the experts' forecast, weighted by age; targets in units of ``spread``."""
        weights = recency_weights(len(targets), half_life)
        return cls(
            features,
            torch.from_numpy(targets.astype(np.float32)),
            torch.from_numpy(weights.astype(np.float32)),
            experts_of(forecast, spread, np.float32),
            window,
            stop,
            check,
        )

    @property
    def scored(self) -> int:
        """Rows of a stretch that are scored."""
        return self.window - self.window // 2

    def log_densities(self, head: RecurrentHead, ends: Rows) -> tuple[Tensor, Tensor]:
        """Log densities (M, B) of the scored rows of the stretches before ``ends``; the rows."""
        stretches = rolling_windows(self.features, self.window)[ends - self.window]
        windows = torch.from_numpy(stretches.swapaxes(0, 1).astype(np.float32))
        rows = torch.from_numpy(ends + np.arange(-self.scored, 0)[:, None])
        return head(windows, self.experts[rows]).log_density(self.targets[rows]), rows

    def log_score(self, head: RecurrentHead, ends: Rows) -> Tensor:
        """Weighted mean log density over the scored rows of the stretches before ``ends``."""
        densities, rows = self.log_densities(head, ends)
        weights = self.weights[rows]
        return (densities * weights).sum() / weights.sum()

    def training_ends(self, rng: np.random.Generator) -> Rows:
        """Where the stretches of one pass end, in random order, cut at a random place."""
        shift = rng.integers(min(self.scored, self.stop - self.window + 1))
        return rng.permutation(np.arange(self.stop - shift, self.window - 1, -self.scored))

    @torch.no_grad()
    def check_densities(self, head: RecurrentHead) -> Tensor:
        """Log density of each row from ``check`` on."""
        densities, rows = self.log_densities(
            head, np.arange(len(self.features), self.check, -self.scored)
        )
        found = torch.empty(len(self.features))
        found[rows] = densities
        return found[self.check :]

    def expert_densities(self) -> Tensor:
        """The same by the experts alone."""
        last = slice(self.check, None)
        return self.experts[last].log_density(self.targets[last])


@dataclass(frozen=True)
class Schedule:
    """How long and how strongly to train.

    Attributes
    ----------
    epochs : most passes over the rows
    patience : passes without a better check score after which to stop
    batches : steps a pass
    learning_rate : of Adam
    cell_penalty, output_penalty : on the sum of squared weights, on the summed log-likelihood
    """

    epochs: int
    patience: int
    batches: int
    learning_rate: float
    cell_penalty: float
    output_penalty: float


@dataclass(frozen=True)
class Training:
    """What a training came to.

    Attributes
    ----------
    scores : mean log density of the rows that decide, before the first pass and after each
    best : pass with the best of them; 0 is the state it began with
    in_use : whether that one beats the experts alone by more than a standard error
    interrupted : whether Ctrl-C ended it
    """

    scores: tuple[float, ...]
    best: int
    in_use: bool
    interrupted: bool


def train(
    head: RecurrentHead,
    rows: TrainingRows,
    schedule: Schedule,
    rng: np.random.Generator,
    step: Callable[[int], None] = lambda epoch: None,
) -> Training:
    """Maximise the likelihood with Adam; leave ``head`` in the state of the best check score.

    A state that does not beat the experts alone by one standard error is silenced: of two models
    that are hardly told apart the simpler is kept (Breiman, Friedman, Olshen and Stone 1984). Its
    recurrent layer stays as it is, for a later fit to go on from.

    Ctrl-C ends the training as running out of patience does, and the result says so: whoever calls
    decides what else to stop.

    Parameters
    ----------
    head : RecurrentHead
        Changed in place.
    rows : TrainingRows
    schedule : Schedule
    rng : numpy Generator
        Of the cuts and their order.
    step : callable, optional
        Called with the number of each pass before it begins.
    """
    best, state, number = rows.check_densities(head), copy.deepcopy(head.state_dict()), 0
    scores, interrupted = [float(best.mean())], False
    total = float(rows.weights[: rows.stop].sum())
    optimiser = torch.optim.Adam(head.parameters(), schedule.learning_rate)
    try:
        for epoch in range(1, schedule.epochs + 1):
            step(epoch)
            for ends in np.array_split(rows.training_ends(rng), schedule.batches):
                if not len(ends):
                    continue  # fewer stretches than batches
                penalty = head.penalty(schedule.cell_penalty, schedule.output_penalty) / total
                loss = penalty - rows.log_score(head, ends)
                optimiser.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(head.parameters(), _LONGEST_GRADIENT)
                optimiser.step()
            densities = rows.check_densities(head)
            scores.append(float(densities.mean()))
            if scores[-1] > scores[number] + _LEAST_GAIN:
                best, state, number = densities, copy.deepcopy(head.state_dict()), epoch
            elif epoch - number >= schedule.patience:
                break
    except KeyboardInterrupt:
        interrupted = True
    head.load_state_dict(state)
    gain = best - rows.expert_densities()
    in_use = bool(gain.mean() > gain.std(correction=0) / len(gain) ** 0.5)
    if not in_use:
        head.silence()
    return Training(tuple(scores), number, in_use, interrupted)
