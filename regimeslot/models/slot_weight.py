"""A network layer that mixes several weight matrices by the input itself."""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from regimeslot.errors import InvalidInputError

__all__ = ["SlotWeight"]


class SlotWeight(nn.Module):
    r"""A linear layer with several weight slots and a selector that mixes them per input.

    .. math::
        \pi(x) = \mathrm{softmax}(V x + c), \qquad
        y = \Big(\sum_k \pi_k(x) W_k\Big)^{\!\top} x + \sum_k \pi_k(x) b_k .

    The layer is linear in the mixed weights, so mixing the weights equals mixing the outputs of
    linear experts: this is a dense mixture of experts (Jacobs, Jordan, Nowlan and Hinton 1991).

    Parameters
    ----------
    n_slots
        number of weight slots; one slot is ``torch.nn.Linear``
    input_size
        length of x
    output_size
        length of y

    Attributes
    ----------
    weight : (n_slots, input_size * output_size)
        slot k is ``weight[k].view(input_size, output_size)``
    bias : (n_slots, output_size)
    selector : Linear(input_size, n_slots) followed by Softmax

    Raises
    ------
    InvalidInputError
        if a size is not a positive integer, or the input's last axis is not ``input_size`` long

    Examples
    --------
    >>> import torch
    >>> from regimeslot.models.slot_weight import SlotWeight
    >>> layer = SlotWeight(2, 3, 1)
    >>> x = torch.ones(5, 7, 3)
    >>> layer(x).shape
    torch.Size([5, 7, 1])
    >>> layer.selector_weights(x).shape
    torch.Size([5, 7, 2])
    """

    def __init__(self, n_slots: int, input_size: int, output_size: int) -> None:
        super().__init__()
        sizes = {"n_slots": n_slots, "input_size": input_size, "output_size": output_size}
        for name, size in sizes.items():
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise InvalidInputError(f"expected {name} to be a positive integer, got {size!r}")
        self.n_slots = n_slots
        self.input_size = input_size
        self.output_size = output_size
        self.weight = nn.Parameter(torch.empty(n_slots, input_size * output_size))
        self.bias = nn.Parameter(torch.empty(n_slots, output_size))
        self.selector = nn.Sequential(nn.Linear(input_size, n_slots), nn.Softmax(dim=-1))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every slot as ``torch.nn.Linear`` draws its weight; slots differ by chance alone."""
        bound = 1 / math.sqrt(self.input_size)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (..., input_size) to y (..., output_size)."""
        pi = self.selector_weights(x)
        slots = self.weight.view(self.n_slots, self.input_size, self.output_size)
        # One product for all slots; mixing outputs spares a weight matrix per row.
        outputs = x @ slots.transpose(0, 1).reshape(self.input_size, -1)
        outputs = outputs.view(*x.shape[:-1], self.n_slots, self.output_size)
        return (pi.unsqueeze(-1) * (outputs + self.bias)).sum(-2)

    def selector_weights(self, x: Tensor) -> Tensor:
        """Weights of the slots for x (..., input_size): (..., n_slots), rows sum to one."""
        if x.shape[-1:] != (self.input_size,):
            raise InvalidInputError(
                f"expected an input whose last axis has length {self.input_size}, "
                f"got shape {tuple(x.shape)}"
            )
        return cast(Tensor, self.selector(x))

    def extra_repr(self) -> str:
        """Sizes, for ``print(layer)``."""
        return (
            f"n_slots={self.n_slots}, input_size={self.input_size}, output_size={self.output_size}"
        )
