"""The slot-memory LSTM against torch.nn.LSTM: CPU time of the same run, on one thread.

    python benchmarks/slot_lstm.py [--repeats 15]

Prints the ratio of median CPU times, forward and backward and forward alone, at batch 256,
64 steps, 32 hidden units and 4 slots; on a GPU, where there is one, the ratios of wall time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from regimeslot.models.slot_lstm import SlotLSTM
from regimeslot.models.slot_scan import SlotScan

BATCH, STEPS, HIDDEN, SLOTS = 256, 64, 32, 4


def train(model: nn.Module, x: Tensor) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    model(x)[0].pow(2).mean().backward()


@torch.no_grad()
def infer(model: nn.Module, x: Tensor) -> None:
    model(x)


def medians(tasks: dict[str, Callable[[], None]], repeats: int, device: str) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns, so that all see the same machine."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 2):
        for name, task in tasks.items():
            start = clock()
            task()
            if device == "cuda":
                torch.cuda.synchronize()
            if turn >= 2:
                seconds[name].append(clock() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def compare(input_size: int, repeats: int, device: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(BATCH, STEPS, input_size, device=device)
    sizes = (input_size, HIDDEN)
    models = {
        "nn.LSTM": nn.LSTM(*sizes, batch_first=True, device=device),
        "SlotLSTM": SlotLSTM(*sizes, batch_first=True, device=device, n_slots=SLOTS),
        "SlotScan": SlotScan(*sizes, batch_first=True, device=device, n_slots=SLOTS),
    }
    for title, step in (("forward and backward", train), ("forward", infer)):
        tasks = {name: partial(step, model, x) for name, model in models.items()}
        found = medians(tasks, repeats, device)
        for name, seconds in found.items():
            print(
                f"{device} D = {input_size:2d} {title:21s} {name:9s} {1e3 * seconds:7.1f} ms   "
                f"{seconds / found['nn.LSTM']:5.2f} times nn.LSTM"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for input_size in (16, 64):
            compare(input_size, options.repeats, device)


if __name__ == "__main__":
    main()
