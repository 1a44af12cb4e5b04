"""What slot memory remembers, against torch.nn.LSTM with as many parameters.

    python benchmarks/slot_lstm_memory.py [--copy-seeds 3] [--forget-seeds 10]

* copy: three signs shown at the start are asked for after 200 steps (Hochreiter and Schmidhuber
  1997); test error after a fixed number of training steps. Guessing gives 1.
* forgetting: trained on sequences of regime A, then on sequences of B alone with the same
  optimiser, how much worse is A, and is B learned? Nothing but the inputs says which regime it is.
  In *cue* an input is 1 in A and 0 in B; A asks for the input four steps ago, B for its negative.
  In *lagged* the target before is among the inputs and the laws are opposite. In *waves* the next
  value of a sine is asked for, slow in A and fast in B. Slots that share weights hold what was
  seen, not what was learned; with ``slot_weights`` they keep that too (three slots: one is spare).
  The figures are printed as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regimeslot.models.slot_lstm import SlotLSTM

STEPS, DIGITS = 200, 3
Batch = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
Task = Callable[[float, int, torch.Generator], tuple[Tensor, Tensor]]


class Reader(nn.Module):
    """A recurrent layer and a linear head on its last ``asked`` steps."""

    def __init__(self, layer: nn.Module, hidden_size: int, asked: int) -> None:
        super().__init__()
        self.layer, self.head, self.asked = layer, nn.Linear(hidden_size, 1), asked

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0][-self.asked :]).squeeze(-1)


def size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def pair(input_size: int, hidden_size: int, asked: int, **slots: Any) -> dict[str, Reader]:
    """An nn.LSTM, and the largest SlotLSTM with no more parameters."""
    ordinary = Reader(nn.LSTM(input_size, hidden_size), hidden_size, asked)
    for units in range(2 * hidden_size, slots["n_slots"] - 1, -1):
        slotted = Reader(SlotLSTM(input_size, units, **slots), units, asked)
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


def cue(sign: float, batch: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    value = torch.randn(24, batch, generator=source)
    told = torch.full_like(value, float(sign > 0))
    target = torch.cat([torch.zeros(4, batch), sign * value[:-4]])
    return torch.stack([value, told, 1 - told], 2), target


def lagged(sign: float, batch: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    u = torch.randn(24, batch, 2, generator=source)
    y = sign * torch.tanh(u[..., 0] + 0.5 * u[..., 1])
    y = y + 0.1 * torch.randn(24, batch, generator=source)
    before = torch.cat([torch.zeros(1, batch), y[:-1]])
    return torch.cat([u, before.unsqueeze(2)], 2), y


def waves(sign: float, batch: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
    speed = 0.7 - 0.3 * sign + 0.4 * (torch.rand(batch, generator=source) - 0.5)
    start = 2 * torch.pi * torch.rand(batch, generator=source)
    value = torch.sin(speed * torch.arange(25).unsqueeze(1) + start)
    return value[:-1].unsqueeze(2), value[1:]


def train(
    model: Reader, optimiser: torch.optim.Optimizer, sample: Batch, steps: int, seed: int
) -> None:
    source = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(steps):
        x, y = sample(64, source)
        loss = nn.functional.mse_loss(model(x), y)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


@torch.no_grad()
def error(model: Reader, sample: Batch) -> float:
    model.eval()
    x, y = sample(1000, torch.Generator().manual_seed(12345))
    return float(nn.functional.mse_loss(model(x), y))


def long_memory(seeds: int, steps: int) -> None:
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        torch.manual_seed(seed)
        for name, model in pair(3, 32, DIGITS, n_slots=4, memory_span=float(STEPS)).items():
            train(model, torch.optim.Adam(model.parameters(), 1e-2), copy, steps, seed)
            found.setdefault(name, []).append(error(model, copy))
            print(
                f"copy, seed {seed}: {name:8s} {size(model):5d} parameters, "
                f"error {found[name][-1]:.4f}",
                flush=True,
            )
    for name, errors in found.items():
        print(f"copy, T = {STEPS}, {steps} steps: {name:8s} median error {np.median(errors):.4f}")


def forgetting(task: Task, seeds: int, steps: int) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {}
    sizes: dict[str, int] = {}
    A, B = partial(task, 1.0), partial(task, -1.0)
    D = A(1, torch.Generator())[0].shape[2]
    kinds = {
        "shared": {"n_slots": 4, "attention": "sparsemax", "memory_span": 16.0},
        "own": {"n_slots": 3, "attention": "sparsemax", "slot_weights": True},
    }
    if task is not cue:
        del kinds["shared"]
    for seed in range(seeds):
        for kind, slots in kinds.items():
            if kind == "shared" and seed >= 3:  # slow, and known to forget
                continue
            torch.manual_seed(seed)
            for name, model in pair(D, 24, 24, **slots).items():
                key = name if name == "nn.LSTM" else f"SlotLSTM, {kind} weights"
                if len(found.get(key, ())) > seed:
                    continue
                optimiser = torch.optim.Adam(model.parameters(), 1e-2)
                train(model, optimiser, A, steps, seed)
                before = error(model, A)
                train(model, optimiser, B, steps, 1000 + seed)
                found.setdefault(key, []).append((before, error(model, A), error(model, B)))
                sizes[key] = size(model)
    ordinary = np.diff(np.mean(found["nn.LSTM"], axis=0))[0]
    for key, rows in found.items():
        before, after, learned = np.mean(rows, axis=0)
        print(
            f"{task.__name__:6s} {len(rows):2d} seeds: {key:23s} {sizes[key]:4d} parameters, "
            f"A {before:.3f}, after B {after:.3f}, B {learned:.3f}, "
            f"forgets {after - before:.3f}, {(after - before) / ordinary:.3f} times nn.LSTM",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--copy-seeds", type=int, default=3)
    parser.add_argument("--copy-steps", type=int, default=200)
    parser.add_argument("--forget-seeds", type=int, default=10)
    parser.add_argument("--forget-steps", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task in (cue, lagged, waves) if options.forget_seeds else ():
        forgetting(task, options.forget_seeds, options.forget_steps)
    if options.copy_seeds:
        long_memory(options.copy_seeds, options.copy_steps)


if __name__ == "__main__":
    main()
