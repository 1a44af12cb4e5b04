"""Slot memory whose gates see x_t only, so that the whole sequence is one linear scan.

Without h in the gates the memory is a diagonal linear recurrence, c_t = a_t c_{t-1} + b_t, and two
steps compose into one: (a2, b2) o (a1, b1) = (a2 a1, a2 b1 + b2). A scan takes log T rounds
instead of T steps, which is what a GPU wants (Martin and Cundy 2018; minLSTM, Feng et al. 2024;
gated slot attention, Zhang et al. 2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_lstm_function import LayerOutput, sparsemax

__all__ = ["SlotScan", "linear_scan"]


class SlotScan(SlotLSTM):
    r"""The slot-memory LSTM with gates and attention from x_t only; its interface is SlotLSTM's.

    .. math::
        C_{t,s} = \big(1 - w_s (1 - \sigma(f + \varphi_s))\big) C_{t-1,s}
                  + w_s \sigma(i) \tanh(g), \qquad
        h_t = \sigma(o) \tanh\Big(\sum_s r_s C_{t,s}\Big)

    It is :class:`~regimeslot.models.slot_lstm.SlotLSTM` with every weight on h at zero: parameters
    are the same without ``weight_hh``, ``bias_hh``, and ``weight_read``, ``weight_write`` are
    (S, D). The h of a given state is not read.

    Examples
    --------
    >>> import torch
    >>> from regimeslot.models.slot_scan import SlotScan
    >>> output, (h, C) = SlotScan(3, 8, n_slots=4)(torch.ones(10, 2, 3))
    >>> output.shape, C.shape
    (torch.Size([10, 2, 8]), torch.Size([1, 2, 4, 8]))
    """

    def __init__(self, *sizes: Any, **options: Any) -> None:
        if options.get("slot_weights"):
            raise InvalidInputError(
                "a SlotScan has no weights of each slot's own: leave slot_weights out, or use "
                "SlotLSTM"
            )
        super().__init__(*sizes, **options)

    def parameter_shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of one layer's parameters."""
        shapes = super().parameter_shapes(input_size)
        for name in ("weight_hh", "bias_hh"):
            shapes.pop(name, None)
        for name in ("weight_read", "weight_write"):
            if name in shapes:
                shapes[name] = (self.n_slots, input_size)
        return shapes

    def run_layer(
        self, number: int, x: Tensor, state: Sequence[Tensor], mask: Tensor | None
    ) -> LayerOutput:
        """Run one layer on x (T, D, B) from the state (B, H), (B, S, H) and, if sticky, (B, S)."""
        enter, forget, candidate, output = self._project("ih", number, x).chunk(4, 1)
        read, write = self._attend("read", number, x), self._attend("write", number, x)
        C0 = state[1].permute(1, 2, 0)
        last_w = write.new_zeros(write.shape[1:])
        if self.write_stay:
            carry = torch.full_like(write, self.write_stay)
            fresh = (1 - self.write_stay) * write
            if mask is not None:
                carry, fresh = carry.masked_fill(~mask, 1), fresh.masked_fill(~mask, 0)
            write = linear_scan(carry, fresh, state[2].T)
            last_w = write[-1]
        if mask is not None:
            write = write.masked_fill(~mask, 0)

        logits = forget.unsqueeze(1)
        if self.n_slots > 1:
            logits = logits + self.get_parameter(f"forget_offset_l{number}").unsqueeze(2)
        used = write.unsqueeze(2)
        content = (torch.sigmoid(enter) * torch.tanh(candidate)).unsqueeze(1)
        C = linear_scan(1 - used * torch.sigmoid(-logits), used * content, C0)
        h = torch.sigmoid(output) * torch.tanh((read.unsqueeze(2) * C).sum(1))
        if mask is not None:
            h = _held(h, state[0].T, mask)
        seen = torch.stack([read, write], 1).detach()
        return LayerOutput(h, C[-1], last_w, seen)

    def _project(self, name: str, number: int, x: Tensor) -> Tensor:
        weight = self.get_parameter(f"weight_{name}_l{number}").expand(len(x), -1, -1)
        if not self.bias:
            return torch.bmm(weight, x)
        bias = self.get_parameter(f"bias_{name}_l{number}")
        return torch.baddbmm(bias.view(1, -1, 1), weight, x)

    def _attend(self, name: str, number: int, x: Tensor) -> Tensor:
        if self.n_slots == 1:
            return x.new_ones(len(x), 1, x.shape[2])
        logits = self._project(name, number, x)
        return sparsemax(logits, 1) if self.attention == "sparsemax" else torch.softmax(logits, 1)


def linear_scan(a: Tensor, b: Tensor, start: Tensor, *, parallel: bool | None = None) -> Tensor:
    """c_t = a_t c_{t-1} + b_t along the first axis, differentiable any number of times.

    Parameters
    ----------
    a, b : (T, ...)
    start : (...)
        c before the first step.
    parallel
        log T rounds over the whole sequence instead of T steps; by default on a GPU, since on one
        core the rounds only add work.

    Examples
    --------
    >>> half = torch.tensor([0.5, 0.5, 0.5])
    >>> linear_scan(half, torch.ones(3), torch.tensor(4.0))
    tensor([3.0000, 2.5000, 2.2500])
    """
    rounds = a.is_cuda if parallel is None else parallel
    return cast(Tensor, _LinearScan.apply(a, b, start, rounds))


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor, parallel: bool) -> Tensor:
        c = _by_rounds(a, b, start) if parallel else _by_steps(a, b, start)
        ctx.save_for_backward(a, c, start)
        ctx.parallel = parallel
        return c

    @staticmethod
    def backward(ctx: Any, by_c: Tensor) -> tuple[Tensor | None, ...]:
        # The adjoint is the same scan, backwards in time: d_t = by_c_t + a_{t+1} d_{t+1}.
        a, c, start = ctx.saved_tensors
        later = torch.cat([torch.zeros_like(a[:1]), a[1:].flip(0)])
        d = linear_scan(later, by_c.flip(0), torch.zeros_like(start), parallel=ctx.parallel)
        d = d.flip(0)
        before = torch.cat([start.unsqueeze(0), c[:-1]])
        return d * before, d, a[0] * d[0], None


def _by_steps(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    c = b.new_empty(b.shape)
    before = start
    for a_t, b_t, c_t in zip(a.unbind(0), b.unbind(0), c.unbind(0), strict=True):
        torch.addcmul(b_t, a_t, before, out=c_t)
        before = c_t
    return c


def _by_rounds(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Hillis and Steele (1986): after each round every element covers twice as many steps."""
    c = torch.cat([torch.addcmul(b[0], a[0], start).unsqueeze(0), b[1:]])
    reach = 1
    while reach < len(c):
        c = torch.cat([c[:reach], torch.addcmul(c[reach:], a[reach:], c[:-reach])])
        a = torch.cat([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return c


def _held(h: Tensor, start: Tensor, mask: Tensor) -> Tensor:
    """H of the last step that there was, at every step: (T, H, B)."""
    steps = torch.arange(1, len(h) + 1, device=h.device).view(-1, 1, 1)
    latest = (steps * mask).cummax(0).values
    return torch.cat([start.unsqueeze(0), h]).gather(0, latest.expand(h.shape))
