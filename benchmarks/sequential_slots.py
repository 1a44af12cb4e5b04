"""Networks trained on regimes in sequence: one network, one with replay, and gated slots.

    python benchmarks/sequential_slots.py [--seeds 2] [--only rows]

No model is told which regime a row is from, neither in training nor in the test. After each
stretch every regime is tested on fresh data, one step ahead: a forecast may use the targets before
its own. R[i, j] is the error on regime j after stretch i, over the target's variance;

* average error: mean of the last row,
* forgetting: mean over the regimes, but for the last trained, of the last error less the lowest
  one that there was (Chaudhry et al. 2018),
* backward transfer: the same with the error right after the regime was first trained, with the
  sign that makes forgetting negative (Lopez-Paz and Ranzato 2017).

Tasks: *rows* for a SlotWeight, *told* and *untold* sequences for a SlotLSTM. In *told* the inputs
differ by regime; in *rows* and *untold* they are the same and the laws conflict, so that only the
targets seen so far tell the regimes apart: without them nobody could (printed as "blind").
All networks have as many parameters in total.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from regimeslot.models.sequential_slots import SequentialSlots
from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_weight import SlotWeight

SLOTS = 4
Sample = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


class Reader(nn.Module):
    """A SlotLSTM and a linear head."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.layer = SlotLSTM(input_size, hidden_size, n_slots=2, batch_first=True)
        self.head = nn.Linear(hidden_size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x)[0])


def size(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def rows(regime: int) -> Sample:
    """Each regime mixes two linear laws by the sign of x0 - x1, its own two."""
    laws = torch.randn(2, 5, generator=torch.Generator().manual_seed(100 + regime))

    def sample(n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        x = torch.randn(20 * n, 5, generator=source)
        law = laws[(x[:, 0] > x[:, 1]).long()]
        noise = 0.3 * torch.randn(len(x), generator=source)
        return x, ((law * x).sum(1) + noise).unsqueeze(1)

    return sample


def sequences(regime: int, told: bool) -> Sample:
    """A sum of two earlier inputs whose signs and delay are the regime's, in some noise."""
    delay, sign = [(2, 1.0), (2, -1.0), (4, 1.0)][regime]

    def sample(n: int, source: torch.Generator) -> tuple[Tensor, Tensor]:
        value = torch.randn(n, 24, generator=source)
        later = torch.cat([torch.zeros(n, delay), value[:, :-delay]], 1)
        y = sign * (later + 0.5 * value) + 0.2 * torch.randn(n, 24, generator=source)
        x = value + 3 * (regime - 1) if told else value
        return x.unsqueeze(2), y.unsqueeze(2)

    return sample


class Alone:
    """One network and one Adam, with or without a memory of earlier rows to replay."""

    def __init__(self, network: nn.Module, rate: float, replay: int = 0) -> None:
        self.network, self.replay = network, replay
        self.optimiser = torch.optim.Adam(network.parameters(), rate)
        self.memory: list[tuple[Tensor, Tensor]] = []
        self.seen, self.random = 0, np.random.default_rng(0)

    def partial_fit(self, x: Tensor, y: Tensor) -> None:
        if self.replay:
            self.remember(x, y)
            picked = self.random.integers(len(self.memory), size=len(x))
            x = torch.cat([x, torch.stack([self.memory[row][0] for row in picked])])
            y = torch.cat([y, torch.stack([self.memory[row][1] for row in picked])])
        self.optimiser.zero_grad()
        nn.functional.mse_loss(self.network(x), y).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()

    def remember(self, x: Tensor, y: Tensor) -> None:
        """A reservoir: every row or sequence so far is in it with the same probability."""
        for one in zip(x, y, strict=True):
            self.seen += 1
            if len(self.memory) < self.replay:
                self.memory.append(one)
            elif (place := int(self.random.integers(self.seen))) < self.replay:
                self.memory[place] = one

    @torch.no_grad()
    def predict(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        return self.network(x)


def models(task: str, seed: int) -> dict[str, Alone | SequentialSlots]:
    """Models with as many parameters: as many slots as there can be count, used or not."""

    def build(slots: int = 1) -> nn.Module:
        torch.manual_seed(seed)
        if task == "rows":
            return SlotWeight(4 * slots, 5, 1)
        return Reader(1, 15 if slots == 1 else 34)

    rate = 0.02 if task == "rows" else 0.01
    assert SLOTS * size(build()) <= 1.05 * size(build(SLOTS))
    return {
        "one network": Alone(build(SLOTS), rate),
        "replay": Alone(build(SLOTS), rate, replay=200),
        "slots": SequentialSlots(build, max_slots=SLOTS, learning_rate=rate, random_state=seed),
    }


@torch.no_grad()
def test(model: Alone | SequentialSlots, sample: Sample, blind: bool) -> float:
    x, y = sample(100, torch.Generator().manual_seed(999))
    forecast = model.predict(x, None if blind else y)
    return float((forecast - y).square().mean() / y.var())


def follow(
    model: Alone | SequentialSlots, regimes: list[Sample], order: str, steps: int, seed: int
) -> tuple[np.ndarray, float]:
    """R[i, j], and the last average error without the targets before."""
    source = torch.Generator().manual_seed(seed)
    errors = []
    for letter in order:
        for _ in range(steps):
            model.partial_fit(*regimes["ABC".index(letter)](32, source))
        errors.append([test(model, regime, False) for regime in regimes])
    blind = float(np.mean([test(model, regime, True) for regime in regimes]))
    return np.array(errors), blind


def measures(errors: np.ndarray, order: str) -> tuple[float, float, float, float]:
    """Average error, forgetting, backward transfer, error right after a regime's training."""
    first = {letter: order.index(letter) for letter in order}
    earlier = [letter for letter in first if letter != order[-1]]
    columns = ["ABC".index(letter) for letter in earlier]
    after = np.array([errors[first[letter], "ABC".index(letter)] for letter in earlier])
    forgetting = errors[-1, columns] - errors[:-1, columns].min(0)
    learned = [errors[row, "ABC".index(letter)] for row, letter in enumerate(order)]
    return (
        float(errors[-1].mean()),
        float(forgetting.mean()),
        float((after - errors[-1, columns]).mean()),
        float(np.mean(learned)),
    )


def compare(task: str, order: str, seeds: int, steps: int) -> None:
    found: dict[str, list[tuple[float, ...]]] = {}
    counts = []
    start = time.perf_counter()
    for seed in range(seeds):
        regimes: list[Sample] = [
            rows(regime) if task == "rows" else sequences(regime, task == "told")
            for regime in range(len(set(order)))
        ]
        for name, model in models(task, seed).items():
            errors, blind = follow(model, regimes, order, steps, seed)
            found.setdefault(name, []).append((*measures(errors, order), blind))
            if isinstance(model, SequentialSlots):
                counts.append(model.n_slots_)
    print(f"\n{task}, {order}, {seeds} seeds, {steps} steps a stretch; slots found {counts}")
    print(f"{'':12s} {'average':>8s} {'forgets':>8s} {'backward':>8s} {'learns':>8s} {'blind':>8s}")
    for name, values in found.items():
        print(f"{name:12s} " + " ".join(f"{value:8.3f}" for value in np.mean(values, 0)))
    forgets = {name: float(np.mean(values, 0)[1]) for name, values in found.items()}
    print(
        f"forgetting of the slots over one network's: "
        f"{forgets['slots'] / forgets['one network']:.3f} "
        f"({time.perf_counter() - start:.0f} s)",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", choices=["rows", "told", "untold"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    for task in ("rows", "told", "untold"):
        for order in ("AB", "ABCA"):
            if options.only in (None, task):
                compare(task, order, options.seeds, options.steps)


if __name__ == "__main__":
    main()
