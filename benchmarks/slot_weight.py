"""SlotRegressor's EM against the plain training of the layer, in CPU seconds of the same run.

    python benchmarks/slot_weight.py [--seeds 5] [--epochs 100]

Prints, for the original experiment (10,000 training rows, 1,000 for validation), the median CPU
time and the worst validation loss of both solvers and their ratio; then the EM solver on random
laws.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from regimeslot.evaluation.recovery import weight_error
from regimeslot.models.slot_regressor import SlotRegressor
from regimeslot.synthetic import make_argmax_regimes, make_two_regimes


def timed_fit(model: SlotRegressor, X: np.ndarray, y: np.ndarray) -> float:
    start = time.process_time()
    model.fit(X, y)
    return time.process_time() - start


def original(seeds: int, epochs: int) -> None:
    seconds: dict[str, list[float]] = {"rmsprop": [], "em": []}
    losses: dict[str, list[float]] = {"rmsprop": [], "em": []}
    for seed in range(seeds):
        sample = make_two_regimes(11_000, random_state=seed)
        for solver, times in seconds.items():
            if solver == "rmsprop" and seed >= 2:
                continue  # two runs of the slow one are enough for a ratio
            model = SlotRegressor(2, solver=solver, epochs=epochs, random_state=seed)
            times.append(timed_fit(model, sample.X[:10_000], sample.y[:10_000]))
            error = model.predict(sample.X[10_000:]) - sample.y[10_000:]
            losses[solver].append(float(np.mean(error**2)))
    for solver, times in seconds.items():
        print(f"{solver:8s} CPU {np.median(times):7.3f} s   worst loss {max(losses[solver]):.3g}")
    ratio = np.median(seconds["rmsprop"]) / np.median(seconds["em"])
    print(f"EM is {ratio:.0f} times faster than {epochs} epochs of RMSprop")


def random_laws(seeds: int) -> None:
    for n_regimes, n_features in ((2, 10), (3, 10), (4, 10), (6, 20)):
        times, errors = [], []
        for seed in range(seeds):
            sample = make_argmax_regimes(
                10_000, n_regimes=n_regimes, n_features=n_features, random_state=seed
            )
            model = SlotRegressor(n_regimes, random_state=seed)
            times.append(timed_fit(model, sample.X, sample.y))
            errors.append(weight_error(sample.parameters["coef"], model.slot_coef_))
        print(
            f"K = {n_regimes}, d = {n_features:2d}: CPU {np.median(times):6.2f} s, "
            f"worst weight error {max(errors):.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    original(options.seeds, options.epochs)
    random_laws(options.seeds)


if __name__ == "__main__":
    main()
