"""What SequentialSlots keeps of each slot and of the target, and the checks of what it is given."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from regimeslot.errors import InvalidInputError

__all__ = ["Slot", "Target", "check_sequences", "check_targets"]


@dataclass
class Slot:
    """A network, its optimiser, and what errors it is used to.

    ``variance`` (p,) is that of its errors; ``usual`` and ``spread`` are mean and variance of the
    log error of a stretch, relative to the target's variance.
    """

    network: nn.Module
    optimiser: torch.optim.Optimizer
    variance: Tensor
    usual: float = 0.0
    spread: float = 1.0
    updates: int = 0


@dataclass
class Target:
    """Running mean and variance of the target: what a slot that knows nothing would forecast."""

    n: float = 0.0
    mean: Tensor = field(default_factory=lambda: torch.zeros(()))
    square: Tensor = field(default_factory=lambda: torch.zeros(()))

    def add(self, y: Tensor) -> None:
        """Take in targets (B, T, p); the last 100,000 or so count."""
        n = min(self.n, 1e5)
        total = n + y.shape[0] * y.shape[1]
        self.mean = (n * self.mean + y.sum((0, 1))) / total
        self.square = (n * self.square + y.square().sum((0, 1))) / total
        self.n = total

    @property
    def variance(self) -> Tensor:
        """Variance of each output, (p,)."""
        return (self.square - self.mean**2).clamp(min=1e-12)


def check_sequences(x: Tensor, input_size: int | None) -> Tensor:
    """Sequences (B, T, D) from (B, T, D) or rows (n, D), with D as it was before."""
    if x.dim() not in (2, 3) or not x.numel():
        raise InvalidInputError(
            f"expected x of shape (rows, D) or (sequences, steps, D), none of them zero, got "
            f"{tuple(x.shape)}"
        )
    if input_size is not None and x.shape[-1] != input_size:
        raise InvalidInputError(
            f"expected {input_size} inputs, as before, got x of shape {tuple(x.shape)}"
        )
    _check_finite("x", x)
    return x if x.dim() == 3 else x.unsqueeze(0)


def check_targets(y: Tensor, x: Tensor, rows: bool, wide: bool | None) -> tuple[Tensor, bool]:
    """Targets (B, T, p) for x (B, T, D), and whether they came with the last axis."""
    B, T = x.shape[:2]
    whole = y.unsqueeze(0) if rows else y
    if tuple(whole.shape[:2]) != (B, T) or whole.dim() not in (2, 3):
        raise InvalidInputError(
            f"expected a target for each of {B} sequences of {T} steps, got y of shape "
            f"{tuple(y.shape)}"
        )
    _check_finite("y", y)
    if wide is not None and wide != (whole.dim() == 3):
        raise InvalidInputError(
            f"expected y {'with' if wide else 'without'} a last axis, as before, got shape "
            f"{tuple(y.shape)}"
        )
    return (whole, True) if whole.dim() == 3 else (whole.unsqueeze(2), False)


def _check_finite(name: str, value: Tensor) -> None:
    bad = ~torch.isfinite(value)
    if bad.any():
        raise InvalidInputError(
            f"expected finite {name}, got {int(bad.sum())} NaN or infinite values among "
            f"{value.numel()}; leave their rows out or fill them"
        )
