"""Parameters of the slot-memory layers, and the checks of what is given to them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from regimeslot.errors import InvalidInputError
from regimeslot.models.slot_lstm_function import LayerInput, LayerOutput, slot_layer

__all__ = ["SlotLayers", "check_finite", "check_size", "check_state", "sequence_mask"]


class SlotLayers(nn.Module):
    """Parameters of one or more slot-memory layers and how one layer runs.

    Not a model by itself: :class:`~regimeslot.models.slot_lstm.SlotLSTM` and its kin are.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        suffixes: Sequence[str],
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        n_slots: int,
        attention: str,
        write_stay: float,
        memory_span: float,
    ) -> None:
        super().__init__()
        check_size("input_size", input_size)
        check_size("hidden_size", hidden_size)
        check_size("n_slots", n_slots)
        if attention not in ("softmax", "sparsemax"):
            raise InvalidInputError(
                f"expected attention to be 'softmax' or 'sparsemax', got {attention!r}"
            )
        if not 0 <= write_stay < 1:
            raise InvalidInputError(f"expected write_stay in [0, 1), got {write_stay!r}")
        if not memory_span >= 2:
            raise InvalidInputError(f"expected memory_span of at least 2, got {memory_span!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        self.n_slots = n_slots
        self.attention = attention
        self.write_stay = write_stay
        self.memory_span = memory_span
        self._suffixes = tuple(suffixes)
        for number, suffix in enumerate(self._suffixes):
            for name, shape in self.parameter_shapes(hidden_size if number else input_size).items():
                value = torch.empty(shape, device=device, dtype=dtype)
                self.register_parameter(name + suffix, nn.Parameter(value))
        self.reset_parameters()

    def parameter_shapes(self, input_size: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of one layer's parameters, ``torch.nn.LSTM``'s own first."""
        H, S = self.hidden_size, self.n_slots
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (4 * H, input_size),
            "weight_hh": (4 * H, H),
            "bias_ih": (4 * H,),
            "bias_hh": (4 * H,),
        }
        if S > 1:  # one slot is always chosen, and its offset would repeat the bias
            shapes |= {
                "weight_read": (S, input_size + H),
                "bias_read": (S,),
                "weight_write": (S, input_size + H),
                "bias_write": (S,),
                "forget_offset": (S, H),
            }
        if not self.bias:
            shapes = {name: shape for name, shape in shapes.items() if "bias" not in name}
        return shapes

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw as ``torch.nn.LSTM`` does; offsets start the slots at different time scales."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if name.startswith("forget_offset"):
                span = torch.linspace(math.log(2), math.log(self.memory_span), self.n_slots)
                parameter.copy_(torch.log(span.exp() - 1).unsqueeze(1))
            else:
                parameter.uniform_(-bound, bound)

    def packed(self, number: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """One layer's weights by x and by h, bias and offset, rows as the function wants them."""
        H, S = self.hidden_size, self.n_slots
        suffix = self._suffixes[number]
        ih, hh = self.get_parameter("weight_ih" + suffix), self.get_parameter("weight_hh" + suffix)
        D = ih.shape[1]
        read: Tensor = ih.new_zeros(1, D + H)
        write: Tensor = read
        offset: Tensor = ih.new_zeros(1, H)
        if S > 1:
            read = self.get_parameter("weight_read" + suffix)
            write = self.get_parameter("weight_write" + suffix)
            offset = self.get_parameter("forget_offset" + suffix)
        weight_ih = _forget_first(ih, H, read[:, :D], write[:, :D])
        weight_hh = _forget_first(hh, H, read[:, D:], write[:, D:])
        if not self.bias:
            return weight_ih, weight_hh, ih.new_zeros(4 * H + 2 * S), offset
        gates = self.get_parameter("bias_ih" + suffix) + self.get_parameter("bias_hh" + suffix)
        read = write = ih.new_zeros(1)
        if S > 1:
            read = self.get_parameter("bias_read" + suffix)
            write = self.get_parameter("bias_write" + suffix)
        return weight_ih, weight_hh, _forget_first(gates, H, read, write), offset

    def state_shapes(self, *leading: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the state's parts, given the axes before their own."""
        shapes: dict[str, tuple[int, ...]] = {
            "h": (*leading, self.hidden_size),
            "C": (*leading, self.n_slots, self.hidden_size),
        }
        if self.write_stay:
            shapes["w"] = (*leading, self.n_slots)
        return shapes

    def run_layer(
        self, number: int, x: Tensor, state: Sequence[Tensor], mask: Tensor | None
    ) -> LayerOutput:
        """Run one layer on x (T, D, B) from the state (B, H), (B, S, H) and, if sticky, (B, S)."""
        h, C = state[0].T, state[1].permute(1, 2, 0)
        w = state[2].T if self.write_stay else C.new_zeros(self.n_slots, x.shape[2])
        weight_ih, weight_hh, bias, offset = self.packed(number)
        return slot_layer(
            LayerInput(
                *(x, weight_ih, weight_hh, bias, offset, h, C, w),
                mask,
                sparse=self.attention == "sparsemax",
                stay=self.write_stay,
            )
        )

    def extra_repr(self) -> str:
        """Sizes, for ``print(model)``."""
        shown = f"{self.input_size}, {self.hidden_size}, n_slots={self.n_slots}"
        if self.attention != "softmax":
            shown += f", attention={self.attention!r}"
        return shown + (f", write_stay={self.write_stay}" if self.write_stay else "")


def _forget_first(gates: Tensor, H: int, read: Tensor, write: Tensor) -> Tensor:
    """Rows input, forget, candidate, output, as forget, input, candidate, output, read, write."""
    return torch.cat((gates[H : 2 * H], gates[:H], gates[2 * H :], read, write))


def check_size(name: str, size: int) -> None:
    """Refuse anything but a positive integer."""
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InvalidInputError(f"expected {name} to be a positive integer, got {size!r}")


def check_finite(x: Tensor, weight: Tensor) -> None:
    """Refuse input of another dtype or device than the weights', and NaN or infinite values."""
    if x.dtype != weight.dtype or x.device != weight.device:
        raise InvalidInputError(
            f"expected an input of {weight.dtype} on {weight.device}, got {x.dtype} on "
            f"{x.device}; convert the input or the model with .to()"
        )
    if not torch.isfinite(x.detach().sum()):  # one cheap sum; the count only if it looks bad
        count = int((~torch.isfinite(x)).sum())
        if count:
            raise InvalidInputError(
                f"expected finite input, got {count} NaN or infinite values among {x.numel()}; "
                f"fill them, or leave their steps out with a mask"
            )


def check_state(
    hx: Sequence[Tensor] | None, shapes: dict[str, tuple[int, ...]], like: Tensor
) -> tuple[Tensor, ...]:
    """State to start from: zeros for None, else ``hx`` with its shapes checked."""
    if hx is None:
        return tuple(like.new_zeros(shape) for shape in shapes.values())
    expected = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if len(hx) != len(shapes):
        raise InvalidInputError(f"expected a state of {expected}, got {len(hx)} tensors")
    for part, (name, shape) in zip(hx, shapes.items(), strict=True):
        if tuple(part.shape) != shape:
            raise InvalidInputError(
                f"expected a state of {expected}, got {name} of shape {tuple(part.shape)}"
            )
        if part.dtype != like.dtype or part.device != like.device:
            raise InvalidInputError(
                f"expected a state of {like.dtype} on {like.device}, "
                f"got {name} of {part.dtype} on {part.device}"
            )
    return tuple(hx)


def sequence_mask(
    T: int, B: int, lengths: Tensor | None, mask: Tensor | None, device: torch.device
) -> Tensor | None:
    """Which steps there are, (T, B) bool, from lengths (B,) or a mask (T, B); None for all."""
    if lengths is not None and mask is not None:
        raise InvalidInputError("expected lengths or a mask, got both: leave one out")
    if lengths is not None:
        count = torch.as_tensor(lengths, device=device)
        if tuple(count.shape) != (B,) or count.is_floating_point():
            raise InvalidInputError(
                f"expected {B} integer lengths, one a sequence, got {count.dtype} of shape "
                f"{tuple(count.shape)}"
            )
        if not ((count >= 1) & (count <= T)).all():
            raise InvalidInputError(
                f"expected lengths from 1 to the {T} steps of the input, "
                f"got {int(count.min())} to {int(count.max())}"
            )
        return torch.arange(T, device=device).unsqueeze(1) < count
    if mask is not None and (tuple(mask.shape) != (T, B) or mask.dtype != torch.bool):
        raise InvalidInputError(
            f"expected a bool mask over {T} steps of {B} sequences, got {mask.dtype} "
            f"over {tuple(mask.shape)} (steps, sequences)"
        )
    return None if mask is None else mask.to(device)
