"""One layer of the slot-memory LSTM over a whole sequence, with its backward pass written out.

Everything here is batch-last: an input is (T, D, B), gates are (rows, B), slots are (S, H, B), so
that every operation of a step runs over contiguous memory. The rows of the packed weights are

    forget (H), input (H), candidate (H), output (H), read (S), write (S).

:func:`slot_layer` is the fast path and :func:`slot_layer_by_autograd` the same equations as a plain
loop: the oracle of the tests, and what a second derivative is taken of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "LayerInput",
    "LayerOutput",
    "slot_layer",
    "slot_layer_by_autograd",
    "sparsemax",
    "sparsemax_gradient",
]


@dataclass(frozen=True)
class LayerInput:
    """What one layer computes from.

    Attributes
    ----------
    x : (T, D, B)
    weight_ih : (4 H + 2 S, D) packed rows
    weight_hh : (4 H + 2 S, H)
    bias : (4 H + 2 S,)
    offset : (S, H) added to the forget gate's logit of each slot
    h : (H, B), C : (S, H, B), w : (S, B)
        state before the first step; w is the write attention that a sticky write carries on
        (handed through as it is where nothing is sticky)
    mask : (T, 1, B) bool or None
        False where a sequence has no step: its state is held
    sparse : bool
        sparsemax in place of softmax
    stay : float
        share of the write attention that is carried over from the step before
    """

    x: Tensor
    weight_ih: Tensor
    weight_hh: Tensor
    bias: Tensor
    offset: Tensor
    h: Tensor
    C: Tensor
    w: Tensor
    mask: Tensor | None = None
    sparse: bool = False
    stay: float = 0.0

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """The differentiable members, in order."""
        return (
            *(self.x, self.weight_ih, self.weight_hh, self.bias),
            *(self.offset, self.h, self.C, self.w),
        )


@dataclass(frozen=True)
class LayerOutput:
    """What one layer gives: h (T, H, B), last C (S, H, B) and w (S, B), attention (T, 2, S, B).

    The attention (read, write) carries no gradient: it is there to be looked at.
    """

    h: Tensor
    C: Tensor
    w: Tensor
    attention: Tensor


def slot_layer(layer: LayerInput) -> LayerOutput:
    """Run a layer; gradients come from the written-out backward pass."""
    keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in layer.tensors)
    flags = (layer.mask, layer.sparse, layer.stay, keep)
    return LayerOutput(*_SlotLayer.apply(*layer.tensors, *flags))


def slot_layer_by_autograd(layer: LayerInput) -> LayerOutput:
    """The same as a plain loop that autograd differentiates."""
    S, H = layer.offset.shape
    attend = sparsemax if layer.sparse else torch.softmax
    h, C, w = layer.h, layer.C, layer.w
    outputs, attentions = [], []
    for t, x in enumerate(layer.x.unbind(0)):
        z = torch.addmm(layer.bias.unsqueeze(1), layer.weight_ih, x) + layer.weight_hh @ h
        forget, enter, candidate, output, read, write = z.split([H, H, H, H, S, S])
        r, a = attend(read, 0), attend(write, 0)
        fresh = layer.stay * w + (1 - layer.stay) * a if layer.stay else a
        keep = torch.sigmoid(forget + layer.offset.unsqueeze(2))
        content = torch.sigmoid(enter) * torch.tanh(candidate)
        used = fresh.unsqueeze(1)
        new_C = C + used * (content - (1 - keep) * C)
        new_h = torch.sigmoid(output) * torch.tanh((r.unsqueeze(1) * new_C).sum(0))
        if layer.mask is not None:
            now = layer.mask[t]
            new_h, new_C = torch.where(now, new_h, h), torch.where(now, new_C, C)
            fresh, used = torch.where(now, fresh, w), used * now
        h, C, w = new_h, new_C, fresh if layer.stay else w
        outputs.append(h)
        attentions.append(torch.stack([r, used.squeeze(1)]).detach())
    return LayerOutput(torch.stack(outputs), C, w, torch.stack(attentions))


def sparsemax(logits: Tensor, dim: int) -> Tensor:
    """Nearest point of the simplex, with exact zeros (Martins and Astudillo 2016).

    Examples
    --------
    >>> sparsemax(torch.tensor([1.0, 0.5, -1.0]), 0)
    tensor([0.7500, 0.2500, 0.0000])
    """
    ordered = logits.sort(dim, descending=True).values
    shape = [1] * logits.dim()
    shape[dim] = -1
    rank = torch.arange(1, logits.shape[dim] + 1, dtype=logits.dtype, device=logits.device)
    rank = rank.view(shape)
    total = ordered.cumsum(dim) - 1
    count = (rank * ordered > total).sum(dim, keepdim=True)
    threshold = total.gather(dim, count - 1) / count
    return torch.clamp(logits - threshold, min=0)


def sparsemax_gradient(p: Tensor, by_p: Tensor, dim: int) -> Tensor:
    """Derivative by the logits given that by p; exactly zero where p is zero."""
    support = (p > 0).to(p.dtype)
    mean = (support * by_p).sum(dim, keepdim=True) / support.sum(dim, keepdim=True)
    return support * (by_p - mean)


class _SlotLayer(torch.autograd.Function):
    """Forward and backward over preallocated buffers; a second derivative re-runs the plain loop.

    Each sequence is unbound into steps once: indexing inside the loop costs more than a step.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        offset: Tensor,
        h0: Tensor,
        C0: Tensor,
        w0: Tensor,
        mask: Tensor | None,
        sparse: bool,
        stay: float,
        keep: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (S, H), T, B = offset.shape, x.shape[0], x.shape[2]
        # tanh(v) = 2 sigmoid(2 v) - 1: one vectorised sigmoid serves three gates.
        scale = x.new_ones(len(bias), 1)
        scale[2 * H : 3 * H] = 2
        weight = (weight_ih * scale).expand(T, -1, -1)
        Z = torch.baddbmm((bias.unsqueeze(1) * scale).unsqueeze(0), weight, x)
        U = weight_hh * scale
        growth = offset.exp().unsqueeze(2)

        history = T if keep else 1
        hidden = x.new_empty(T + 1, H, B)
        memory = x.new_empty(history + 1, S, H, B)
        decay = x.new_empty(history, S, H, B)
        seen = x.new_empty(T, H, B)
        writes = _write_attention(Z, H, S, separate=mask is not None or stay > 0)
        carried = w0
        hidden[0], memory[0] = h0, C0
        content, blend = x.new_empty(H, B), x.new_empty(S, H, B)

        steps = _Steps(Z, H, S)
        h, C, q, m, w = (v.unbind(0) for v in (hidden, memory, decay, seen, writes))
        by_slot = writes.unsqueeze(2).unbind(0)
        for t in range(T):
            z = steps.all[t]
            torch.addmm(z, U, h[t], out=z)
            steps.sigmoids[t].sigmoid_()
            candidate = steps.candidate[t]
            candidate.mul_(2).sub_(1)
            attention = steps.attention[t]
            if sparse:
                attention.copy_(sparsemax(attention, 1))
            else:
                torch.softmax(attention, 1, out=attention)
            if stay:
                fresh = stay * carried + (1 - stay) * attention[1]
                carried = fresh if mask is None else torch.where(mask[t], fresh, carried)
                torch.mul(carried, mask[t], out=w[t]) if mask is not None else w[t].copy_(carried)
            elif mask is not None:
                torch.mul(attention[1], mask[t], out=w[t])

            # decay = 1 - sigmoid(f + offset) = 1 / (1 + e^f e^offset): one exponential, not S
            now, later = C[t % len(C)], C[(t + 1) % len(C)]
            decays = q[t % len(q)]
            forget = steps.forget[t].exp_()
            torch.mul(growth, forget, out=decays)
            decays.add_(1).reciprocal_()
            torch.mul(steps.enter[t], candidate, out=content)
            torch.addcmul(content, decays, now, value=-1, out=blend)
            torch.addcmul(now, by_slot[t], blend, out=later)

            torch.mul(later, steps.read[t], out=blend)
            mixed = m[t]
            torch.sum(blend, 0, out=mixed)
            mixed.mul_(2).sigmoid_().mul_(2).sub_(1)
            torch.mul(steps.output[t], mixed, out=h[t + 1])
            if mask is not None:
                torch.where(mask[t], h[t + 1], h[t], out=h[t + 1])

        # The caller sees neither the buffers that the backward pass reads nor views of them.
        shown = torch.stack([Z[:, 4 * H : 4 * H + S], writes], 1)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(shown)
        if keep:
            inputs = (x, weight_ih, weight_hh, bias, offset, h0, C0, w0)
            ctx.save_for_backward(*inputs, Z, hidden, memory, decay, seen, writes)
            ctx.flags = (mask, sparse, stay)
        return hidden[1:], memory[T % len(memory)].clone(), carried.clone(), shown

    @staticmethod
    def backward(ctx: Any, *by_output: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        mask, sparse, stay = ctx.flags
        if torch.is_grad_enabled():  # create_graph: differentiable, at the plain loop's speed
            x, weight_ih, weight_hh, bias, offset, h, C, w = saved[:8]
            layer = LayerInput(
                x, weight_ih, weight_hh, bias, offset, h, C, w, mask=mask, sparse=sparse, stay=stay
            )
            gradients = _differentiable_gradients(layer, by_output[:3], ctx.needs_input_grad[:8])
        else:
            gradients = _gradients(
                saved, mask, sparse, stay, by_output[:3], ctx.needs_input_grad[0]
            )
        return (*gradients, None, None, None, None)


class _Steps:
    """Step-wise views of the gates (T, 4 H + 2 S, B)."""

    def __init__(self, Z: Tensor, H: int, S: int) -> None:
        self.all = Z.unbind(0)
        self.sigmoids = Z[:, H : 4 * H].unbind(0)
        self.forget = Z[:, :H].unbind(0)
        self.enter = Z[:, H : 2 * H].unbind(0)
        self.candidate = Z[:, 2 * H : 3 * H].unbind(0)
        self.output = Z[:, 3 * H : 4 * H].unbind(0)
        attention = Z[:, 4 * H :].unflatten(1, (2, S))
        self.attention = attention.unbind(0)
        self.read = attention[:, 0].unsqueeze(2).unbind(0)  # (S, 1, B), beside slots (S, H, B)


def _write_attention(Z: Tensor, H: int, S: int, *, separate: bool) -> Tensor:
    """Where the effective write attention (T, S, B) lives: among the gates, if it is theirs."""
    return torch.empty_like(Z[:, :S]) if separate else Z[:, 4 * H + S :]


def _gradients(
    saved: tuple[Tensor, ...],
    mask: Tensor | None,
    sparse: bool,
    stay: float,
    by_output: tuple[Tensor | None, ...],
    by_x: bool,
) -> tuple[Tensor | None, ...]:
    """Derivatives by the eight inputs; every line is one line of the forward pass, transposed."""
    x, weight_ih, weight_hh, _, offset = saved[:5]
    Z, hidden, memory, decay, seen, writes = saved[8:]
    (S, H), T, B = offset.shape, x.shape[0], x.shape[2]
    by_h_out, by_C_out, by_w_out = by_output
    dZ = torch.empty_like(Z)
    # Batch-last like all else: the caller's states and gradients may lie batch-first in memory.
    dC, dh, d_w = x.new_zeros(S, H, B), x.new_zeros(H, B), x.new_zeros(S, B)
    if by_C_out is not None:
        dC.copy_(by_C_out)
    if by_w_out is not None:
        d_w.copy_(by_w_out)
    d_offset = x.new_empty(T, S, H)
    back = weight_hh.T.contiguous()
    d_ih, d_hh = torch.zeros_like(weight_ih), torch.zeros_like(weight_hh)
    inputs, before = x.mT.unbind(0), hidden.mT.unbind(0)

    content, d_read = x.new_empty(H, B), x.new_empty(H, B)
    squares, scratch = x.new_empty(3 * H, B), x.new_empty(S, H, B)  # few buffers: they stay cached
    d_attention, total = x.new_empty(2, S, B), x.new_empty(2, 1, B)
    d_reading, d_write = d_attention.unbind(0)
    slope, by_offset = squares[H : 2 * H], d_offset.unbind(0)
    z, d = _Steps(Z, H, S), _Steps(dZ, H, S)
    C, q, m = (v.unbind(0) for v in (memory, decay, seen))
    w = writes.unsqueeze(2).unbind(0)
    incoming = None if by_h_out is None else by_h_out.contiguous().unbind(0)
    for t in range(T - 1, -1, -1):
        if incoming is not None:
            dh += incoming[t]
        held = None
        if mask is not None:
            held = dh * ~mask[t]
            dh *= mask[t]
        enter, candidate, mixed = z.enter[t], z.candidate[t], m[t]
        attention, decays, now = z.attention[t], q[t], C[t]

        # h = output tanh(read), read = sum_s r_s C_s
        torch.mul(dh, mixed, out=d.output[t])
        dh *= z.output[t]
        torch.mul(mixed, mixed, out=d_read)
        torch.addcmul(dh, dh, d_read, value=-1, out=d_read)
        torch.mul(C[t + 1], d_read, out=scratch)
        torch.sum(scratch, 1, out=d_reading)
        dC.addcmul_(z.read[t], d_read)

        # C' = C + w (content - decay C)
        torch.mul(enter, candidate, out=content)
        torch.addcmul(content, decays, now, value=-1, out=scratch)
        scratch *= dC
        torch.sum(scratch, 1, out=d_write)
        torch.mul(dC, w[t], out=scratch)
        torch.sum(scratch, 0, out=content)  # derivative by the content, from here on
        scratch *= decays
        dC -= scratch
        scratch *= now
        scratch.addcmul_(scratch, decays, value=-1)
        torch.sum(scratch, 2, out=by_offset[t])
        torch.sum(scratch, 0, out=d.forget[t])
        torch.mul(content, candidate, out=d.enter[t])
        torch.mul(content, enter, out=d.candidate[t])

        # sigmoid' = v - v^2 for two gates; tanh' = 1 - v^2 for the one between them
        gates = z.sigmoids[t]
        torch.mul(gates, gates, out=squares)
        torch.sub(gates, squares, out=squares)
        slope.add_(1).sub_(candidate)
        d.sigmoids[t].mul_(squares)

        if mask is not None:
            d_write *= mask[t]
        if stay:
            d_write += d_w
            fresh = d_write if mask is None else d_write * mask[t]
            d_w = d_write - (1 - stay) * fresh
            torch.mul(fresh, 1 - stay, out=d_write)
        logits = d.attention[t]
        if sparse:
            logits.copy_(sparsemax_gradient(attention, d_attention, 1))
        else:
            torch.mul(d_attention, attention, out=logits)
            torch.sum(logits, 1, keepdim=True, out=total)
            torch.addcmul(logits, attention, total, value=-1, out=logits)
        # Weights step by step: the gates are still in the cache.
        d_ih.addmm_(d.all[t], inputs[t])
        d_hh.addmm_(d.all[t], before[t])
        torch.mm(back, d.all[t], out=dh)
        if held is not None:
            dh += held

    return (
        torch.bmm(weight_ih.T.expand(T, -1, -1), dZ) if by_x else None,
        d_ih,
        d_hh,
        dZ.sum((0, 2)),
        d_offset.sum(0),
        dh,
        dC,
        d_w,
    )


def _differentiable_gradients(
    layer: LayerInput, by_output: tuple[Tensor | None, ...], needed: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """The same derivatives as a graph, from the plain loop."""
    result = slot_layer_by_autograd(layer)
    pairs = [
        (value, grad)
        for value, grad in zip((result.h, result.C, result.w), by_output, strict=True)
        if grad is not None and value.requires_grad
    ]
    wanted = [tensor for tensor, need in zip(layer.tensors, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            [value for value, _ in pairs],
            wanted,
            [grad for _, grad in pairs],
            create_graph=True,
            allow_unused=True,
        )
    )
    return tuple(next(found) if need else None for need in needed)
