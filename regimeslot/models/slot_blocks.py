"""Slots with weights of their own: what one slot learns, no other can overwrite.

Slot s is a ``torch.nn.LSTM`` on its share of the hidden units, and the output is all of them side
by side, each multiplied by its slot's responsibility. A layer on top therefore has columns of its
own for each slot. A slot without responsibility for any step of a batch is not run in training:
its parameters get no gradient at all (``grad`` is None), which optimisers pass over, so that they
and their optimiser state stay bit-exact whatever the momentum.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_gate import InputGate

__all__ = ["SlotBlocks"]


class SlotBlocks(nn.Module):
    """LSTMs side by side, one a slot, and the gate that says which one a sequence belongs to.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, dropout, device, dtype
        as in ``torch.nn.LSTM``; ``hidden_size`` units are shared out as evenly as they go
    n_slots
        number of LSTMs

    Attributes
    ----------
    slots : list of LSTM
    gate : InputGate
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        dropout: float,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        n_slots: int,
    ) -> None:
        super().__init__()
        if hidden_size < n_slots:
            raise InvalidInputError(
                f"expected at least one hidden unit for each of {n_slots} slots, "
                f"got hidden_size {hidden_size}"
            )
        small, larger = divmod(hidden_size, n_slots)
        self.sizes = [small + (slot < larger) for slot in range(n_slots)]
        self.gate = InputGate(n_slots, input_size, device=device)
        self.slots = nn.ModuleList(
            nn.LSTM(
                *(input_size, size, num_layers, bias),
                dropout=dropout,
                device=device,
                dtype=dtype,
            )
            for size in self.sizes
        )

    def reset_parameters(self) -> None:
        """Draw all weights as ``torch.nn.LSTM`` does, and forget whose sequences are whose."""
        self.gate.reset()
        for slot in self.slots:
            slot.reset_parameters()  # type: ignore[operator]

    def state_shapes(self, num_layers: int, batch: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the state's parts."""
        return {
            "h": (num_layers, batch, sum(self.sizes)),
            "C": (num_layers, batch, sum(self.sizes)),
            "p": (1, batch, len(self.sizes)),
            "past": (1, *self.gate.past_shape(batch)),
        }

    def forward(
        self, x: Tensor, state: tuple[Tensor, ...], steps: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...], Tensor]:
        """Output (T, B, H), state after it and responsibilities (T, B, S).

        Parameters
        ----------
        x : (T, B, D)
        state
            h, C, p and past, as :meth:`state_shapes` says
        steps : (T, B) bool or None
            where there are steps
        """
        lengths, order = None, None
        if steps is not None:  # steps there are first, so that each sequence has a length
            order = steps.int().argsort(dim=0, descending=True, stable=True)
            x = x.gather(0, order.unsqueeze(2).expand_as(x))
            lengths = steps.sum(0)
        h, C, p, past = state
        learning = self.training and torch.is_grad_enabled()
        attend = self.gate.learn if learning else self.gate.infer
        r, p, past = attend(x, prior=p[0], past=past[0], lengths=lengths)
        r = r.to(x.dtype)
        if lengths is not None:
            exists = torch.arange(len(x), device=x.device).unsqueeze(1) < lengths
            r = r * exists.unsqueeze(2)
        # In training the others are left alone; else all follow, for their turn may come.
        used = (
            r.flatten(0, 1).any(0)
            if learning
            else torch.arange(len(self.sizes)) < max(self.gate.n_used, 1)
        )
        parts = []
        for number, (slot, now, memory) in enumerate(
            zip(self.slots, h.split(self.sizes, 2), C.split(self.sizes, 2), strict=True)
        ):
            output = x.new_zeros(*x.shape[:2], self.sizes[number])
            if used[number]:
                output, now, memory = _run(slot, x, now, memory, lengths)
                output = output * r[:, :, number, None]
            parts.append((output, now, memory))
        output, h, C = (torch.cat(part, 2) for part in zip(*parts, strict=True))
        if order is not None:
            output = torch.zeros_like(output).scatter(
                0, order.unsqueeze(2).expand_as(output), output
            )
            r = torch.zeros_like(r).scatter(0, order.unsqueeze(2).expand_as(r), r)
        return output, (h, C, p.to(x.dtype).unsqueeze(0), past.unsqueeze(0)), r


def _run(
    slot: nn.Module, x: Tensor, h: Tensor, C: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """One slot over sequences of these lengths; one of length zero keeps its state."""
    state = h.contiguous(), C.contiguous()
    if lengths is None:
        output, (h_n, C_n) = slot(x, state)
        return output, h_n, C_n
    packed = pack_padded_sequence(x, lengths.clamp(min=1).cpu(), enforce_sorted=False)
    output, (h_n, C_n) = slot(packed, state)
    some = (lengths > 0).view(1, -1, 1)
    output = pad_packed_sequence(output, total_length=len(x))[0]
    return output, torch.where(some, h_n, h), torch.where(some, C_n, C)
