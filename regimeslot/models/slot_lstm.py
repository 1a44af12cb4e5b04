r"""An LSTM that chooses among several memory slots what to read and what to write.

.. math::
    r_t &= \mathrm{softmax}(W_r [x_t; h_{t-1}] + b_r), \qquad
    w_t  = \mathrm{softmax}(W_w [x_t; h_{t-1}] + b_w) \\
    i, f, g, o &= W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh} \\
    C_s &\leftarrow \big(1 - w_s (1 - \sigma(f + \varphi_s))\big) C_s
          + w_s\, \sigma(i) \tanh(g) \\
    h_t &= \sigma(o) \tanh\Big(\sum_s r_s C_s\Big)

What is not written is not forgotten: a slot with ``w_s = 0`` keeps its content bit by bit. One slot
with offset zero is ``torch.nn.LSTM`` (Hochreiter and Schmidhuber 1997).

That is memory of what was seen; the weights are shared. With ``slot_weights`` each slot has weights
of its own and learning is not forgotten either: :mod:`regimeslot.models.slot_blocks`.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from regimeslot.errors import InvalidInputError, RegimeWarning
from regimeslot.models.slot_blocks import SlotBlocks
from regimeslot.models.slot_lstm_function import LayerOutput
from regimeslot.models.slot_lstm_parts import (
    SlotLayers,
    check_finite,
    check_size,
    check_state,
    sequence_mask,
)

__all__ = ["SlotAttention", "SlotLSTM", "SlotLSTMCell"]

State = tuple[Tensor, ...]


class SlotAttention(NamedTuple):
    """Which slot is read and written at each step.

    Attributes
    ----------
    read, write : (num_layers, B, T, S), or (num_layers, T, B, S) unless ``batch_first``
        Rows sum to one; zero at steps that a mask leaves out.
    """

    read: Tensor
    write: Tensor


class SlotLSTM(SlotLayers):
    r"""The slot-memory LSTM over whole sequences, with ``torch.nn.LSTM``'s conventions.

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, device, dtype
        as in ``torch.nn.LSTM``
    n_slots
        number of memory slots S; with one the ``state_dict`` is that of ``torch.nn.LSTM``
    attention
        ``"softmax"``, or ``"sparsemax"``: exact zeros, so that an unused slot gets no gradient
    write_stay
        share in [0, 1) of the write attention carried over from the step before (a sticky write):
        w_t = stay w_{t-1} + (1 - stay) attention_t, from w_0 = 0
    memory_span
        longest memory, in steps, that the slots' offsets start with: slot s starts with a decay of
        about 1 / tau_s a step where tau runs geometrically from 2 to ``memory_span``
    slot_weights
        give each slot its own weights on its share of the ``hidden_size`` units, so that training
        on one regime's sequences leaves alone what was learned on another's. Nothing says which
        regime a sequence is from: slots recognise theirs by how the inputs move
        (:class:`~regimeslot.models.slot_gate.InputGate`), and inputs unlike any before take a free
        slot. So two regimes must differ in their inputs, if only in a lagged target among them.
        The gate learns by counting, in training mode and with gradients on; there it sees whole
        sequences, in evaluation mode each step and those before. ``attention``, ``write_stay`` and
        ``memory_span`` have no part in it.

    Attributes
    ----------
    weight_ih_l0 : (4 H, D), weight_hh_l0 : (4 H, H), bias_ih_l0, bias_hh_l0 : (4 H,)
        rows in the order input, forget, candidate, output; deeper layers end in ``_l1`` ...
    weight_read_l0, weight_write_l0 : (S, D + H), bias_read_l0, bias_write_l0 : (S,)
        only with more than one slot
    forget_offset_l0 : (S, H)
        likewise
    blocks : SlotBlocks
        with ``slot_weights``, in place of all of these: an LSTM a slot, and the gate

    Raises
    ------
    InvalidInputError
        for sizes, shapes, dtypes or values that do not fit

    Examples
    --------
    >>> import torch
    >>> from regimeslot.models.slot_lstm import SlotLSTM
    >>> model = SlotLSTM(3, 8, n_slots=4, batch_first=True)
    >>> output, (h, C) = model(torch.ones(2, 10, 3))
    >>> output.shape, h.shape, C.shape
    (torch.Size([2, 10, 8]), torch.Size([1, 2, 8]), torch.Size([1, 2, 4, 8]))
    >>> model.attention_weights(torch.ones(2, 10, 3)).write.shape
    torch.Size([1, 2, 10, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        n_slots: int = 4,
        attention: str = "softmax",
        write_stay: float = 0.0,
        memory_span: float = 64.0,
        slot_weights: bool = False,
    ) -> None:
        check_size("num_layers", num_layers)
        if not 0 <= dropout < 1:
            raise InvalidInputError(f"expected dropout in [0, 1), got {dropout!r}")
        if dropout and num_layers == 1:
            warnings.warn(
                "dropout acts between layers: with one layer it does nothing; add layers or "
                "leave it out",
                RegimeWarning,
                stacklevel=2,
            )
        own = slot_weights and n_slots != 1  # one slot's weights are its own either way
        super().__init__(
            input_size,
            hidden_size,
            [] if own else [f"_l{number}" for number in range(num_layers)],
            bias,
            device,
            dtype,
            n_slots,
            attention,
            write_stay,
            memory_span,
        )
        self.num_layers = num_layers
        self.batch_first = batch_first
        self.dropout = dropout
        self.slot_weights = slot_weights
        if own:
            if write_stay:
                raise InvalidInputError(
                    f"expected write_stay 0 with slot_weights, whose slots are not written to by "
                    f"attention, got {write_stay!r}"
                )
            sizes = (input_size, hidden_size, num_layers, bias, dropout, device, dtype, n_slots)
            self.blocks = SlotBlocks(*sizes)

    def reset_parameters(self) -> None:
        """Draw as ``torch.nn.LSTM`` does; offsets start the slots at different time scales."""
        if "blocks" in self._modules:
            self.blocks.reset_parameters()
        else:
            super().reset_parameters()

    def forward(
        self,
        input: Tensor | PackedSequence,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> tuple[Tensor | PackedSequence, State]:
        """Outputs and last state.

        Parameters
        ----------
        input
            (T, B, D), (B, T, D) with ``batch_first``, (T, D), or a packed sequence
        hx
            state (h, C), with a sticky write (h, C, w): (num_layers, B, H), (num_layers, B, S, H)
            and (num_layers, B, S); zeros if left out. Without the B axis for an input (T, D).
            With ``slot_weights`` (h, C, p, past): (num_layers, B, H) twice, the slots'
            probabilities (1, B, S) and the last inputs (1, B, 4, D + 1).
        lengths
            (B,) number of steps of each sequence, at least 1
        mask
            bool, the input's shape without D: False where there is no step. The state is held
            there, bit by bit, and the output is zero.
        """
        if isinstance(input, PackedSequence):
            return self._forward_packed(input, hx, lengths, mask)
        result, state, _ = self._run(input, hx, lengths, mask)
        return result, state

    @torch.no_grad()
    def attention_weights(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> SlotAttention:
        """Read and write attention of every layer and step; arguments as in ``forward``.

        With ``slot_weights`` both are the slots' probabilities given the inputs up to the step.
        """
        _, _, attention = self._run(input, hx, lengths, mask)
        return attention

    def _run(
        self, input: Tensor, hx: State | None, lengths: Tensor | None, mask: Tensor | None
    ) -> tuple[Tensor, State, SlotAttention]:
        if input.dim() not in (2, 3):
            raise InvalidInputError(
                f"expected an input of shape {self._expected()}, got {tuple(input.shape)}"
            )
        single = input.dim() == 2
        batch_dim = 0 if self.batch_first else 1
        x = input.unsqueeze(batch_dim) if single else input
        if single and hx is not None:
            hx = tuple(part.unsqueeze(1) for part in hx)
        if mask is not None and single:
            mask = mask.unsqueeze(batch_dim)
        if self.batch_first:
            x = x.transpose(0, 1)
            mask = None if mask is None else mask.transpose(0, 1)
        T, B, D = x.shape
        if T == 0 or B == 0 or self.input_size != D:
            raise InvalidInputError(
                f"expected an input of shape {self._expected()} with at least one step and one "
                f"sequence, got {tuple(input.shape)}"
            )
        steps = sequence_mask(T, B, lengths, mask, x.device)
        if steps is not None:
            x = x.masked_fill(~steps.unsqueeze(2), 0)
        check_finite(x, next(self.parameters()))
        output, state, attention = self._layers(x.permute(0, 2, 1), hx, steps)

        output = output.transpose(0, 1) if self.batch_first else output
        read, write = (a.transpose(1, 2) if self.batch_first else a for a in attention)
        if single:
            output = output.squeeze(batch_dim)
            state = tuple(part.squeeze(1) for part in state)
            read, write = read.squeeze(batch_dim + 1), write.squeeze(batch_dim + 1)
        return output, state, SlotAttention(read, write)

    def _layers(
        self, x: Tensor, hx: State | None, steps: Tensor | None
    ) -> tuple[Tensor, State, SlotAttention]:
        """All layers on x (T, D, B): output (T, B, H), state, attention (num_layers, T, B, S)."""
        B = x.shape[2]
        state = check_state(hx, self._shapes(B), x)
        if "blocks" in self._modules:
            output, state, r = self.blocks(x.permute(0, 2, 1), state, steps)
            each = r.unsqueeze(0).expand(self.num_layers, -1, -1, -1)
            return output, state, SlotAttention(each, each)
        mask = None if steps is None else steps.unsqueeze(1)
        results: list[LayerOutput] = []
        for number in range(self.num_layers):
            if number and self.dropout and self.training:
                x = nn.functional.dropout(x, self.dropout)
            results.append(self.run_layer(number, x, [part[number] for part in state], mask))
            x = results[-1].h
        if mask is not None:
            x = x.masked_fill(~mask, 0)
        last = [
            torch.stack([result.h[-1].T for result in results]),
            torch.stack([result.C.permute(2, 0, 1) for result in results]),
            torch.stack([result.w.T for result in results]),
        ]
        seen = torch.stack([result.attention for result in results]).permute(2, 0, 1, 4, 3)
        if steps is not None:
            seen = seen * steps.unsqueeze(2)
        return x.permute(0, 2, 1), tuple(last[: len(state)]), SlotAttention(*seen)

    def _forward_packed(
        self,
        packed: PackedSequence,
        hx: State | None,
        lengths: Tensor | None,
        mask: Tensor | None,
    ) -> tuple[PackedSequence, State]:
        if lengths is not None or mask is not None:
            raise InvalidInputError(
                "a packed sequence carries its own lengths: leave lengths and mask out"
            )
        if packed.data.dim() != 2 or packed.data.shape[1] != self.input_size:
            raise InvalidInputError(
                f"expected packed data of shape (steps, {self.input_size}), "
                f"got {tuple(packed.data.shape)}"
            )
        check_finite(packed.data, next(self.parameters()))
        # In sorted order throughout, as nn.LSTM: only states are brought into the caller's order.
        x, sizes = pad_packed_sequence(PackedSequence(packed.data, packed.batch_sizes))
        if hx is not None and packed.sorted_indices is not None:
            check_state(hx, self._shapes(x.shape[1]), packed.data)
            hx = tuple(part.index_select(1, packed.sorted_indices) for part in hx)
        steps = sequence_mask(x.shape[0], x.shape[1], sizes.to(x.device), None, x.device)
        output, state, _ = self._layers(x.permute(0, 2, 1), hx, steps)
        if packed.unsorted_indices is not None:
            state = tuple(part.index_select(1, packed.unsorted_indices) for part in state)
        data = pack_padded_sequence(output, sizes).data
        return packed._replace(data=data), state

    def _shapes(self, batch: int) -> dict[str, tuple[int, ...]]:
        if "blocks" in self._modules:
            return self.blocks.state_shapes(self.num_layers, batch)
        return self.state_shapes(self.num_layers, batch)

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        return super().extra_repr() + (", slot_weights=True" if self.slot_weights else "")

    def _expected(self) -> str:
        batch = "B, T" if self.batch_first else "T, B"
        return f"({batch}, {self.input_size}) or (T, {self.input_size})"


class SlotLSTMCell(SlotLayers):
    """One step of the slot-memory LSTM, with ``torch.nn.LSTMCell``'s conventions.

    Parameters
    ----------
    input_size, hidden_size, bias, device, dtype
        as in ``torch.nn.LSTMCell``
    n_slots, attention, write_stay, memory_span
        as in :class:`SlotLSTM`, whose parameters these are, without the suffix ``_l0``

    Examples
    --------
    >>> import torch
    >>> from regimeslot.models.slot_lstm import SlotLSTMCell
    >>> cell = SlotLSTMCell(3, 8, n_slots=4)
    >>> h, C = cell(torch.ones(2, 3))
    >>> h.shape, C.shape
    (torch.Size([2, 8]), torch.Size([2, 4, 8]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        n_slots: int = 4,
        attention: str = "softmax",
        write_stay: float = 0.0,
        memory_span: float = 64.0,
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            [""],
            bias,
            device,
            dtype,
            n_slots,
            attention,
            write_stay,
            memory_span,
        )

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        """State (h, C) after the step, with a sticky write (h, C, w).

        ``input`` is (B, D) or (D,); the state (B, H), (B, S, H), (B, S), or without the B axis.
        """
        if input.dim() not in (1, 2) or input.shape[-1] != self.input_size or not input.numel():
            raise InvalidInputError(
                f"expected an input of shape (B, {self.input_size}) or ({self.input_size},), "
                f"got {tuple(input.shape)}"
            )
        check_finite(input, self.get_parameter("weight_ih"))
        single = input.dim() == 1
        x = input.unsqueeze(0) if single else input
        if single and hx is not None:
            hx = tuple(part.unsqueeze(0) for part in hx)
        state = check_state(hx, self.state_shapes(len(x)), x)
        result = self.run_layer(0, x.T.unsqueeze(0), state, None)
        after = (result.h[0].T, result.C.permute(2, 0, 1), result.w.T)[: len(state)]
        return tuple(part.squeeze(0) for part in after) if single else after
