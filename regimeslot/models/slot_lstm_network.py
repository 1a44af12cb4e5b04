"""A recurrent layer and a head that together correct a mixture of Student-t experts."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from regimeslot.models.slot_lstm import SlotLSTM

__all__ = ["Experts", "RecurrentHead", "count_parameters", "matched_hidden_size"]

State = tuple[Tensor, ...]

_MOST_CORRECTION = 4.0  # of a log scale: one wild row of features must not make a scale vanish
_PIECE = 16  # steps of a window that are in memory at once when nothing is learned


@dataclass(frozen=True)
class Experts:
    """Mixture of K Student-t experts at some rows; every array ends in the axis K.

    Attributes
    ----------
    log_weights : logarithms of the weights
    locations : modes
    log_scales : logarithms of the Student-t scales (not standard deviations)
    dof : degrees of freedom, above 2
    """

    log_weights: Tensor
    locations: Tensor
    log_scales: Tensor
    dof: Tensor

    def __getitem__(self, rows: Tensor | slice | None) -> Experts:
        """The same at chosen rows."""
        parts = (self.log_weights, self.locations, self.log_scales, self.dof)
        return Experts(*(part[rows] for part in parts))

    def log_density(self, y: Tensor) -> Tensor:
        """Log density of the mixture at targets of the leading axes.

        Examples
        --------
        >>> one, zero = torch.ones(1), torch.zeros(1)
        >>> density = Experts(zero, zero, zero, 5 * one).log_density(torch.tensor(0.0))
        >>> round(float(density), 4)
        -0.9686
        """
        u, nu = (y.unsqueeze(-1) - self.locations) * torch.exp(-self.log_scales), self.dof
        density = (
            torch.lgamma((nu + 1) / 2)
            - torch.lgamma(nu / 2)
            - 0.5 * torch.log(math.pi * nu)
            - (nu + 1) / 2 * torch.log1p(u * u / nu)
            - self.log_scales
        )
        return torch.logsumexp(self.log_weights + density, -1)


class RecurrentHead(nn.Module):
    r"""Reads windows of features and says by how much to move each expert.

    With h_t the output of the recurrent layer and (a, b, c)_t = V h_t + d, expert k goes from
    (w, m, s, nu) to

    .. math::
        w_k e^{a_k} / \textstyle\sum_j w_j e^{a_j}, \quad m_k + s_k c_k, \quad s_k e^{b_k}, \quad
        2 + (\nu_k - 2) e^{q_k}.

    V, d and q start at zero: an untrained head leaves the experts as they are.

    Parameters
    ----------
    input_size, hidden_size : int
    n_slots : int
        Experts K.
    memory_slots : int or None
        Slots of a :class:`~regimeslot.models.slot_lstm.SlotLSTM`; None takes ``torch.nn.LSTM``.
    memory_span : float
        Longest memory, in rows, that the slots start with.

    Examples
    --------
    >>> head = RecurrentHead(3, 8, n_slots=2, memory_slots=4)
    >>> same = torch.zeros(1, 5, 2)
    >>> experts = Experts(same - 0.6931, same, same, same + 5.0)
    >>> moved = head(torch.ones(10, 5, 3), experts)
    >>> bool(torch.allclose(moved.log_scales, same)), moved.dof.shape
    (True, torch.Size([1, 5, 2]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        n_slots: int,
        memory_slots: int | None,
        memory_span: float = 64,
    ) -> None:
        super().__init__()
        self.n_slots = n_slots
        self.cell: nn.Module
        if memory_slots is None:
            self.cell = nn.LSTM(input_size, hidden_size)
        else:
            self.cell = SlotLSTM(
                input_size, hidden_size, n_slots=memory_slots, memory_span=max(memory_span, 2.0)
            )
        self.output = nn.Linear(hidden_size, 3 * n_slots)
        self.raw_tail = nn.Parameter(torch.empty(n_slots))
        self.silence()

    @torch.no_grad()
    def silence(self) -> None:
        """Leave the experts as they are, whatever the recurrent layer says."""
        for parameter in (self.output.weight, self.output.bias, self.raw_tail):
            parameter.zero_()

    def forward(self, windows: Tensor, experts: Experts) -> Experts:
        """Experts moved by what the windows hold.

        Parameters
        ----------
        windows : (W, B, D)
            Steps first, zero state before the first.
        experts : Experts of (M, B, K)
            At the last M steps.
        """
        return self.move(experts, self.cell(windows)[0][-len(experts.log_weights) :])

    def move(self, experts: Experts, h: Tensor) -> Experts:
        """Experts moved by outputs (..., H) of the recurrent layer at the same rows."""
        weight, scale, location = self.output(h).split(self.n_slots, -1)
        return Experts(
            torch.log_softmax(experts.log_weights + weight, -1),
            experts.locations + torch.exp(experts.log_scales) * location,
            experts.log_scales + scale.clamp(-_MOST_CORRECTION, _MOST_CORRECTION),
            2 + (experts.dof - 2) * torch.exp(self.raw_tail),
        )

    @torch.no_grad()
    def look_back(self, windows: NDArray[np.float64]) -> tuple[Tensor, State | None]:
        """Last row (1, B, D) of each window, and the state that the rows before it lead to.

        Parameters
        ----------
        windows : (B, W, D)
            May be a view: it is read a few steps at a time, so that memory does not grow with W.
        """
        state, dtype = None, self.output.weight.dtype
        steps = windows.swapaxes(0, 1)
        last = len(steps) - 1
        for start in range(0, last, _PIECE):
            piece = torch.tensor(steps[start : min(start + _PIECE, last)], dtype=dtype)
            state = self.cell(piece, state)[1]
        return torch.tensor(steps[last:], dtype=dtype), state

    def penalty(self, cell: float, output: float) -> Tensor:
        """Sums of squared weights (no biases, no offsets), times ``cell`` and ``output``."""
        weights = [p for name, p in self.cell.named_parameters() if name.startswith("weight")]
        squares = torch.stack([weight.square().sum() for weight in weights]).sum()
        return cell * squares + output * self.output.weight.square().sum()


def count_parameters(model: nn.Module) -> int:
    """Numbers that training may change."""
    return sum(parameter.numel() for parameter in model.parameters())


def matched_hidden_size(
    input_size: int, hidden_size: int, *, n_slots: int, memory_slots: int
) -> int:
    """Units of the plain LSTM whose parameters are nearest in number to a slot LSTM's.

    Examples
    --------
    >>> matched_hidden_size(16, 8, n_slots=2, memory_slots=4)
    10
    """

    def size(units: int, memory: int | None) -> int:
        with torch.device("meta"):  # counted, not made
            return count_parameters(
                RecurrentHead(input_size, units, n_slots=n_slots, memory_slots=memory)
            )

    wanted = size(hidden_size, memory_slots)
    units = hidden_size
    while size(units, None) < wanted:
        units += 1
    return min((units - 1, units), key=lambda n: abs(size(n, None) - wanted)) if units > 1 else 1
