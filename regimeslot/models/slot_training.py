"""Slots fitted as a network layer is: ``SlotWeight`` trained by RMSprop."""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from regimeslot.models.slot_weight import SlotWeight
from regimeslot.solvers.slot_design import Array, softmax
from regimeslot.solvers.slot_rmsprop import train_rmsprop
from regimeslot.solvers.slot_units import RawSlots

__all__ = ["train_slots"]


def train_slots(
    X: Array,
    Y: Array,
    weights: Array,
    *,
    n_slots: int,
    start: RawSlots | None,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
) -> RawSlots:
    """Train a layer in single precision and return its slots.

    Parameters
    ----------
    X : (n, d)
    Y : (n, p)
    weights : (n,)
        row weights
    n_slots
        number of slots
    start
        slots to start from, or None for the layer's own initialisation
    epochs, batch_size, learning_rate
        of the training
    seed
        of initialisation and batches; torch's global generator is left as it was
    """
    d, p = X.shape[1], Y.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = SlotWeight(n_slots, d, p)
    selector = cast(nn.Linear, layer.selector[0])
    if start is not None:
        flat = start.coef.transpose(0, 2, 1).reshape(n_slots, -1)
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(flat))
            layer.bias.copy_(torch.from_numpy(start.intercept))
            selector.weight.copy_(torch.from_numpy(start.gate_coef))
            selector.bias.copy_(torch.from_numpy(start.gate_intercept))
    equal = bool(np.all(weights == weights[0]))
    train_rmsprop(
        layer,
        torch.as_tensor(X, dtype=torch.float32),
        torch.as_tensor(Y, dtype=torch.float32),
        weights=None if equal else torch.as_tensor(weights / weights.mean()).float(),
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    coef = _array(layer.weight).reshape(n_slots, d, p).transpose(0, 2, 1)
    intercept, gate, offset = map(_array, (layer.bias, selector.weight, selector.bias))
    pi = softmax(X @ gate.T + offset, 1)
    mixed = np.einsum("nk,kpd,nd->np", pi, coef, X) + pi @ intercept
    variance = weights @ (Y - mixed) ** 2 / weights.sum()
    return RawSlots(
        coef,
        intercept,
        gate - gate.mean(0),
        offset - offset.mean(),
        np.tile(variance, (n_slots, 1)),
    )


def _array(tensor: Tensor) -> Array:
    return tensor.detach().numpy().astype(np.float64)
