"""Trained heads over many windows, a block at a time: forecasts, and what the memory does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_lstm_network import Experts, RecurrentHead

__all__ = ["experts_of", "make_head", "moved_forecast", "one_torch_thread", "slot_attention"]

Array = NDArray[np.float64]

_BLOCK = 2048  # windows that are run at once


def make_head(
    sizes: Mapping[str, Any],
    *,
    seed: int | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> RecurrentHead:
    """Head in float32 with these weights, else with those that the seed draws.

    Parameters
    ----------
    sizes : mapping
        Arguments of :class:`RecurrentHead`.
    seed : int, optional
        The state of torch's own generator is left as it was.
    weights : mapping of str to array, optional
    """
    with torch.random.fork_rng(devices=[]):
        if seed is not None:
            torch.manual_seed(seed)
        head = RecurrentHead(**sizes).float()
    if weights is not None:
        head.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    return head


def experts_of(forecast: MixtureForecast, spread: float, dtype: DTypeLike) -> Experts:
    """Components of a forecast in units of ``spread``."""
    parts = (
        np.log(forecast.weights),
        forecast.locations / spread,
        np.log(forecast.scales / spread),
        forecast.dof,
    )
    return Experts(*(torch.from_numpy(np.array(part, dtype)) for part in parts))


def moved_forecast(
    head: RecurrentHead, windows: Array, forecast: MixtureForecast, spread: float
) -> MixtureForecast:
    """The experts' forecast (n rows), moved by what windows (n, W, D) hold; in float64."""
    head, experts = head.double(), experts_of(forecast, spread, np.float64)
    moved = []
    with one_torch_thread(), torch.inference_mode():
        for block in _blocks(len(windows)):
            last, state = head.look_back(windows[block])
            moved.append(head.move(experts[block], head.cell(last, state)[0][0]))

    def join(name: str) -> Array:
        return np.concatenate([getattr(part, name).numpy() for part in moved])

    weights = np.exp(join("log_weights"))
    return MixtureForecast(
        weights / weights.sum(axis=1, keepdims=True),
        spread * join("locations"),
        spread * np.exp(join("log_scales")),
        join("dof"),
        index=forecast.index,
        labels=forecast.labels,
    )


def slot_attention(head: RecurrentHead, windows: Array) -> tuple[Array, Array]:
    """Read and write attention (n, S) at the last row of windows (n, W, D).

    Raises
    ------
    InvalidInputError
        For an ordinary LSTM, whose one memory leaves nothing to choose.
    """
    if not isinstance(head.cell, SlotLSTM):
        raise InvalidInputError('expected cell="slots": an ordinary LSTM has one memory only')
    parts = []
    with one_torch_thread(), torch.inference_mode():
        for block in _blocks(len(windows)):
            attention = head.cell.attention_weights(*head.look_back(windows[block]))
            parts.append(np.stack([part[0, 0].numpy() for part in attention]))
    read, write = np.concatenate(parts, axis=1).astype(float)
    return read, write


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Keep torch to one thread: on steps of this size more of them only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _blocks(n_rows: int) -> list[slice]:
    return [slice(start, start + _BLOCK) for start in range(0, n_rows, _BLOCK)]
