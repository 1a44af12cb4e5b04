"""Online slots against what else learns from a stream, on laws that come, go and come back.

    python benchmarks/online_slots.py [--seeds 20] [--rows 20000] [--long]

Prints, for A-B-C four times, A-B-A-C-A, one law, slow drift and heavy tails, the mean squared error
over the noise's variance of every model, the error in the first 20 rows after a law returns, and
the number of slots; then average accuracy, transfer and forgetting over three laws; then the time
per row against river's linear models and recursive least squares. ``--long`` runs a million rows
instead: memory, positive definiteness and time. Needs river.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
from river import linear_model, preprocessing

from regimeslot import OnlineSlotRegressor
from regimeslot.evaluation.continual import (
    average_accuracy,
    backward_transfer,
    forgetting,
    forward_transfer,
    prequential,
    re_entry_error,
    score_matrix,
)
from regimeslot.evaluation.continual_baselines import (
    AdwinReset,
    ExperienceReplay,
    LastValue,
    RecursiveLeastSquares,
)
from regimeslot.markov.scan import forward_filter
from regimeslot.synthetic import make_recurring

FACTORS = (0.9, 0.95, 0.97, 0.98, 0.99, 0.995)
OTHERS = {
    "pooled RLS": RecursiveLeastSquares,
    "ADWIN + reset": AdwinReset,
    "replay": ExperienceReplay,
    "last value": LastValue,
}


class Stream:
    """Random linear laws on standard normal features, with the filter that knows them."""

    def __init__(self, order: str, segment: int, noise: float, seed: int, dof: float = np.inf):
        rng = np.random.default_rng(seed)
        laws = sorted(set(order))
        self.regimes = np.repeat([laws.index(letter) for letter in order], segment)
        n, K = len(self.regimes), len(laws)
        coef = rng.standard_normal((K, 5))
        self.X = rng.standard_normal((n, 5))
        shocks = rng.standard_normal(n) if np.isinf(dof) else rng.standard_t(dof, n)
        means = self.X @ coef.T
        self.y = means[np.arange(n), self.regimes] + noise * shocks
        self.noise = noise
        self.first = segment * K  # rows until every law has been met
        leave = 1 / segment if K > 1 else 0.0
        A = np.full((K, K), leave / max(K - 1, 1))
        np.fill_diagonal(A, 1 - leave)
        density = -0.5 * ((self.y[:, None] - means) / noise) ** 2
        known = forward_filter(density.T, A, np.full(K, 1 / K)).predicted
        self.oracle = (known.T * means).sum(1)

    def loss(self, means: np.ndarray) -> np.ndarray:
        return (means - self.y) ** 2 / self.noise**2


def best_rls(stream: Stream, start: int) -> np.ndarray:
    """Loss of the forgetting factor that is best on these very rows: an unfair rival."""
    losses = [
        stream.loss(prequential(RecursiveLeastSquares(f), stream.X, stream.y)) for f in FACTORS
    ]
    return min(losses, key=lambda loss: loss[start:].mean())


def recurring(order: str, segment: int, noise: float, seeds: int) -> None:
    table: dict[str, list[tuple[float, float]]] = {}
    slots = []
    for seed in range(seeds):
        stream = Stream(order, segment, noise, seed)
        model = OnlineSlotRegressor()
        rows = {
            "known filter": stream.loss(stream.oracle),
            "online slots": stream.loss(prequential(model, stream.X, stream.y)),
            "best RLS": best_rls(stream, stream.first),
        }
        for name, kind in OTHERS.items():
            rows[name] = stream.loss(prequential(kind(), stream.X, stream.y))
        for name, loss in rows.items():
            # The schedule tells when all laws have been met; only what follows is judged.
            late = loss[stream.first :].mean()
            back = re_entry_error(loss, stream.regimes)
            table.setdefault(name, []).append((float(late), back))
        slots.append(model.n_slots_)
    right = sum(k == len(set(order)) for k in slots)
    print(f"\n{order}, segments of {segment}, noise {noise}: {seeds} seeds, right K in {right}")
    print(f"{'':14s}{'MSE/s2':>10s}{'ratio':>8s}{'worst':>8s}{'re-entry':>10s}{'ratio':>8s}")
    known = np.array(table["known filter"])
    for name, values in table.items():
        found = np.array(values)
        ratio = found.mean(0) / known.mean(0)
        worst = (found[:, 0] / known[:, 0]).max()
        mse, back = found.mean(0)
        print(f"{name:14s}{mse:10.3f}{ratio[0]:8.3f}{worst:8.3f}{back:10.3f}{ratio[1]:8.3f}")


def package_law(seeds: int) -> None:
    ratios, slots = [], []
    for seed in range(seeds):
        sample = make_recurring(200, random_state=seed)
        model = OnlineSlotRegressor()
        means = prequential(model, sample.X, sample.y)
        loss, known = (means - sample.y) ** 2, (sample.filter_oracle().mean() - sample.y) ** 2
        last = slice(800, None)
        ratios.append(loss[last].mean() / known[last].mean())
        slots.append(model.n_slots_)
    right = sum(k == 3 for k in slots)
    print(f"\nABACA (make_recurring), last A against the known filter: {np.mean(ratios):.3f}")
    print(f"right K in {right} of {seeds}")


def one_law(seeds: int, rows: int) -> None:
    for noise in (0.1, 0.5, 1.0):
        ratios, slots = [], []
        for seed in range(seeds):
            stream = Stream("A", 4_000, noise, seed)
            model = OnlineSlotRegressor()
            loss = stream.loss(prequential(model, stream.X, stream.y)).mean()
            plain = prequential(RecursiveLeastSquares(), stream.X, stream.y)
            ratios.append(loss / stream.loss(plain).mean())
            slots.append(model.n_slots_)
        print(
            f"one law, noise {noise}: MSE over pooled RLS {np.mean(ratios):.4f} "
            f"(worst {max(ratios):.4f}), slots {sorted(set(slots))}"
        )
    stream = Stream("A", rows, 0.5, 0, dof=3.0)
    model = OnlineSlotRegressor().partial_fit(stream.X, stream.y)
    print(
        f"one law, t3 noise, {rows:,} rows: {model.n_slots_} slot(s), {len(model.events_)} events"
    )


def drift(seeds: int) -> None:
    for step in (0.003, 0.01, 0.03):
        ratios, slots = [], []
        for seed in range(seeds):
            stream = Stream("A", 3_000, 0.5, seed)
            rng = np.random.default_rng(1_000 + seed)
            walk = np.cumsum(step * rng.standard_normal(stream.X.shape), axis=0)
            stream.y = stream.y + (stream.X * walk).sum(1)
            model = OnlineSlotRegressor()
            loss = stream.loss(prequential(model, stream.X, stream.y)).mean()
            ratios.append(loss / best_rls(stream, 0).mean())
            slots.append(model.n_slots_)
        print(
            f"drift, steps of {step}: MSE over best RLS {np.mean(ratios):.3f} "
            f"(worst {max(ratios):.3f}), slots {sorted(set(slots))}"
        )


def measures(seeds: int) -> None:
    models: dict[str, Callable[[], object]] = {
        "online slots": OnlineSlotRegressor,
        "RLS .97": lambda: RecursiveLeastSquares(0.97),
        **{name: OTHERS[name] for name in ("pooled RLS", "ADWIN + reset", "replay")},
    }
    print("\nthree laws in turn, scored on 20 rows of each after 5 to recognise it by")
    print(f"{'':14s}{'accuracy':>10s}{'backward':>10s}{'forward':>10s}{'forgetting':>12s}")
    for name, make in models.items():
        found = []
        for seed in range(seeds):
            stream = Stream("ABCABC", 200, 0.5, seed)
            parts = [slice(200 * i, 200 * i + 200) for i in range(3)]
            later = [slice(200 * i, 200 * i + 25) for i in range(3, 6)]
            train = [(stream.X[part], stream.y[part]) for part in parts]
            test = [(stream.X[part], stream.y[part]) for part in later]
            R, before = score_matrix(make(), train, test, skip=5)
            found.append(
                [
                    average_accuracy(R),
                    backward_transfer(R),
                    forward_transfer(R, before),
                    forgetting(R),
                ]
            )
        accuracy, backward, forward, lost = np.median(found, axis=0)
        print(f"{name:14s}{accuracy:10.3f}{backward:10.3f}{forward:10.3f}{lost:12.3f}")


def times(rows: int) -> None:
    stream = Stream("ABCD" * max(rows // 2_000, 1), 500, 0.5, 0)
    named = [dict(zip("abcde", x, strict=True)) for x in stream.X.tolist()]
    models = {
        "online slots": (OnlineSlotRegressor(), stream.X),
        "online slots, one factor": (OnlineSlotRegressor(forgetting=(1.0,)), stream.X),
        "RLS .98": (RecursiveLeastSquares(0.98), stream.X),
        "river linear": (preprocessing.StandardScaler() | linear_model.LinearRegression(), named),
        "river Bayesian": (linear_model.BayesianLinearRegression(smoothing=0.98), named),
    }
    print(f"\nCPU per row, forecast and update, {len(stream.y):,} rows, d = 5, 4 laws")
    for name, (model, inputs) in models.items():
        start, total = time.process_time(), 0.0
        for x, y in zip(inputs, stream.y.tolist(), strict=True):
            total += (model.predict_one(x) - y) ** 2
            model.learn_one(x, y)
        micro = 1e6 * (time.process_time() - start) / len(stream.y)
        mse = total / len(stream.y) / stream.noise**2
        print(f"{name:26s}{micro:8.1f} us   MSE/s2 {mse:8.3f}")


def a_million_rows() -> None:
    stream = Stream("ABCD" * 125, 2_000, 0.3, 31)
    model = OnlineSlotRegressor(max_slots=4)
    print("a million rows, d = 5, 4 laws")
    for part in np.split(np.arange(len(stream.y)), 10):
        start = time.process_time()
        model.partial_fit(stream.X[part], stream.y[part])
        micro = 1e6 * (time.process_time() - start) / len(part)
        matrices = model.get_state()["core"]["bank"]["precision"][: model.n_slots_]
        least = np.linalg.eigvalsh(matrices).min()
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{part[-1] + 1:9,} rows  {model.n_slots_} slots  {micro:6.1f} us a row  "
            f"{memory:6.1f} MB  least eigenvalue {least:.3g}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--rows", type=int, default=20_000, help="of the t3 stream")
    parser.add_argument("--long", action="store_true", help="a million rows instead")
    options = parser.parse_args()
    if options.long:
        a_million_rows()
        return
    for noise in (0.5, 0.1, 1.0):
        recurring("ABC" * 4, 200, noise, options.seeds)
    package_law(options.seeds)
    print()
    few = max(options.seeds // 5, 1)
    one_law(few, options.rows)
    drift(few)
    measures(few)
    times(options.rows // 2)


if __name__ == "__main__":
    main()
