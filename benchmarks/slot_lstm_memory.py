"""What slot memory remembers, against torch.nn.LSTM with as many parameters.

    python benchmarks/slot_lstm_memory.py [--copy-seeds 3] [--forget-seeds 10]

* copy: three signs shown at the start are asked for after 200 steps (Hochreiter and Schmidhuber
  1997); test error after a fixed number of training steps. Guessing gives 1.
* forgetting: trained on sequences of regime A, then on sequences of B alone, how much worse is A?
  A cue at every step says which regime it is; A asks for the input four steps ago, B for its
  negative. Slots hold what was seen, not what was learned: the weights are shared by the regimes,
  and nothing in the layer protects them. The figure is printed as it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from regimeslot.models.slot_lstm import SlotLSTM

STEPS, DIGITS = 200, 3
Batch = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


class Reader(nn.Module):
    """A recurrent layer and a linear head on its last ``asked`` steps."""

    def __init__(self, layer: nn.Module, hidden_size: int, asked: int) -> None:
        super().__init__()
        self.layer, self.head, self.asked = layer, nn.Linear(hidden_size, 1), asked

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][-self.asked :]).squeeze(-1)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def pair(input_size: int, hidden_size: int, asked: int, **slots: object) -> dict[str, Reader]:
    """An nn.LSTM, and the largest SlotLSTM with no more parameters."""
    ordinary = Reader(nn.LSTM(input_size, hidden_size), hidden_size, asked)
    for smaller in range(hidden_size, 0, -1):
        slotted = Reader(SlotLSTM(input_size, smaller, **slots), smaller, asked)
        if size(slotted) <= size(ordinary):
            return {"nn.LSTM": ordinary, "SlotLSTM": slotted}
    raise SystemExit(f"no slot LSTM has as few parameters as nn.LSTM with {hidden_size} units")


def copy(batch: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    signs = 2.0 * torch.randint(0, 2, (DIGITS, batch), generator=source) - 1
    x = torch.zeros(STEPS, batch, 3)
    x[:DIGITS, :, 0] = signs
    x[-DIGITS:, :, 1] = 1
    x[-DIGITS:, :, 2] = torch.arange(DIGITS).unsqueeze(1)
    return x, signs


def regime(sign: float) -> Batch:
    def sample(batch: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        value = torch.randn(24, batch, generator=source)
        cue = torch.full_like(value, float(sign > 0))
        target = torch.cat([torch.zeros(4, batch), sign * value[:-4]])
        return torch.stack([value, cue, 1 - cue], 2), target

    return sample


def train(model: Reader, sample: Batch, steps: int, rate: float, seed: int) -> None:
    source = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        x, y = sample(64, source)
        loss = nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


@torch.no_grad()
def error(model: Reader, sample: Batch) -> float:
    x, y = sample(1000, torch.Generator().manual_seed(12345))
    return float(nn.functional.mse_loss(model(x), y))


def long_memory(seeds: int, steps: int) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        for name, model in pair(3, 32, DIGITS, n_slots=4, memory_span=float(STEPS)).items():
            train(model, copy, steps, 1e-2, seed)
            found.setdefault(name, []).append(error(model, copy))
            print(
                f"copy, seed {seed}: {name:8s} {size(model):5d} parameters, "
                f"error {found[name][-1]:.4f}",
                flush=True,
            )
    for name, errors in found.items():
        print(f"copy, T = {STEPS}, {steps} steps: {name:8s} median error {np.median(errors):.4f}")


def forgetting(seeds: int, steps: int) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {}
    A, B = regime(1.0), regime(-1.0)
    for seed in range(seeds):
        torch.manual_seed(seed)
        slots = {"n_slots": 4, "attention": "sparsemax", "memory_span": 16.0}
        for name, model in pair(3, 24, 24, **slots).items():
            train(model, A, steps, 1e-2, seed)
            before = error(model, A)
            train(model, B, steps, 1e-2, seed)
            found.setdefault(name, []).append((before, error(model, A), error(model, B)))
    for name, rows in found.items():
        before, after, learned = np.mean(rows, axis=0)
        print(
            f"forgetting, {seeds} seeds: {name:8s} A {before:.3f}, after B {after:.3f} "
            f"(forgets {after - before:.3f}), B {learned:.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copy-seeds", type=int, default=3)
    parser.add_argument("--copy-steps", type=int, default=200)
    parser.add_argument("--forget-seeds", type=int, default=10)
    parser.add_argument("--forget-steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.forget_seeds:
        forgetting(options.forget_seeds, options.forget_steps)
    if options.copy_seeds:
        long_memory(options.copy_seeds, options.copy_steps)


if __name__ == "__main__":
    main()
