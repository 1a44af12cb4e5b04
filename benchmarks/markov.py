"""CPU-time ratios of the Markov-switching fits against statsmodels and hmmlearn, in one process.

Run with ``python benchmarks/markov.py`` and one BLAS thread (``OMP_NUM_THREADS=1``). Daily returns
come from a CSV or parquet file given as the argument (columns Date, Close), by default from the
snapshot in ``data/``. Process CPU time, medians of repeated runs; standard errors included.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from regimeslot.markov import MarkovSwitching, viterbi
from regimeslot.markov.reference import statsmodels_data

SNAPSHOT = Path(__file__).parents[1] / "data" / "us_daily_1990_2022.parquet"
WEEKLY_TO_DAILY = 20


def cpu(task: Callable[[], object], repeats: int) -> tuple[float, object]:
    """Median CPU seconds of a task, and its last result."""
    times, result = [], None
    for _ in range(repeats):
        begin = time.process_time()
        result = task()
        times.append(time.process_time() - begin)
    return statistics.median(times), result


def daily_returns(path: Path) -> np.ndarray:
    """Daily log returns of the S&P 500 in per cent."""
    if path.suffix == ".csv":
        close = pd.read_csv(path, parse_dates=["Date"], index_col="Date")["Close"]
        close = close["1990-01-02":"2022-12-28"]
    else:
        table = pd.read_parquet(path)
        close = table["^GSPC"] if "^GSPC" in table else table.iloc[:, -1]
    return 100 * np.diff(np.log(close.dropna().to_numpy()))


def against_statsmodels(y: np.ndarray) -> None:
    import statsmodels.api as sm

    for k, wanted, repeats in ((2, 20, 9), (3, 100, 9)):

        def theirs(k: int = k) -> object:
            found = sm.tsa.MarkovRegression(y, k, switching_variance=True).fit()
            return found.llf, found.bse

        def ours(k: int = k) -> object:
            found = MarkovSwitching(k, switching_variance=True, random_state=0).fit(y)
            return found.loglikelihood, found.std_errors

        ours()
        slow, (their_value, _) = cpu(theirs, 3 if k == 2 else 1)
        fast, (our_value, _) = cpu(ours, repeats)
        print(
            f"daily returns, {y.size} rows, K = {k}: statsmodels {slow:.2f} s, "
            f"ours {1e3 * fast:.0f} ms, ratio {slow / fast:.0f} (wanted {wanted}); "
            f"log-likelihood {their_value:.6f} and {our_value:.6f}"
        )


def against_hmmlearn(y: np.ndarray) -> None:
    from hmmlearn.hmm import GaussianHMM

    for k in (2, 3):
        ours = MarkovSwitching(k, switching_variance=True, random_state=0).fit(y)

        def theirs(k: int = k) -> float:
            model = GaussianHMM(k, "diag", n_iter=2000, tol=1e-6, random_state=0)
            return float(model.fit(y[:, None]).score(y[:, None]))

        def one_start(k: int = k) -> float:
            model = MarkovSwitching(k, switching_variance=True, random_state=0, n_starts=1)
            return model.fit(y).loglikelihood

        def ten_starts(k: int = k) -> float:
            return MarkovSwitching(k, switching_variance=True, random_state=0).fit(y).loglikelihood

        slow, value = cpu(theirs, 1)
        fast, _ = cpu(one_start, 5)
        full, _ = cpu(ten_starts, 5)
        print(
            f"hmmlearn, tol 1e-6, one start, K = {k}: {slow:.2f} s ({value:.4f}); ours one start "
            f"{1e3 * fast:.0f} ms, ratio {slow / fast:.0f}; ten starts {1e3 * full:.0f} ms, ratio "
            f"{slow / full:.0f} (wanted 5; {ours.loglikelihood:.4f})"
        )


def hamilton() -> None:
    import statsmodels.api as sm

    y = statsmodels_data()["rgnp"]

    def theirs() -> object:
        found = sm.tsa.MarkovAutoregression(y, 2, 4, switching_ar=False).fit()
        return found.llf, found.bse

    def ours() -> object:
        found = MarkovSwitching(2, order=4, random_state=0).fit(y)
        return found.loglikelihood, found.std_errors

    ours()
    slow, (their_value, _) = cpu(theirs, 3)
    fast, (our_value, _) = cpu(ours, 9)
    print(
        f"Hamilton AR(4): statsmodels {slow:.2f} s, ours {1e3 * fast:.0f} ms, ratio "
        f"{slow / fast:.0f} (wanted 20); log-likelihood {their_value:.5f} and {our_value:.5f}"
    )


def many_series(n_series: int = 1000, n_rows: int = 1000) -> None:
    import statsmodels.api as sm

    rng = np.random.default_rng(0)
    regimes = np.zeros((n_series, n_rows), int)
    for t in range(1, n_rows):
        stay = rng.random(n_series) < np.where(regimes[:, t - 1] == 0, 0.98, 0.95)
        regimes[:, t] = np.where(stay, regimes[:, t - 1], 1 - regimes[:, t - 1])
    ys = rng.standard_normal((n_series, n_rows)) * np.where(regimes == 0, 0.7, 1.8) + 0.05
    model = MarkovSwitching(2, switching_variance=True, random_state=0)
    fast, found = cpu(lambda: model.fit_many(ys), 1)
    picked = range(0, n_series, n_series // 8)
    slow, theirs = cpu(
        lambda: [
            sm.tsa.MarkovRegression(ys[i], 2, switching_variance=True).fit().llf for i in picked
        ],
        1,
    )
    gap = np.array([found[i].loglikelihood for i in picked]) - np.array(theirs)
    print(
        f"{n_series} series of {n_rows}: statsmodels {1e3 * slow / len(picked):.0f} ms a series, "
        f"ours {1e3 * fast / n_series:.2f} ms, ratio {slow / len(picked) / (fast / n_series):.0f} "
        f"(wanted 60); log-likelihood minus statsmodels from {gap.min():.2e} to {gap.max():.2e}"
    )


def recovery(n_sequences: int = 200, n_rows: int = 1000) -> None:
    """Balanced accuracy of the Viterbi path on Hardy's (2001) three-state process, daily."""
    from itertools import permutations

    from scipy.linalg import expm, logm

    monthly = np.array(
        [[0.9629, 0.0185, 0.0186], [0.0618, 0.8764, 0.0618], [0.1051, 0.1050, 0.7899]]
    )
    daily = np.real(expm(logm(monthly) / WEEKLY_TO_DAILY))
    daily /= daily.sum(axis=1, keepdims=True)
    mean = np.array([0.0123, 0.0, -0.0157]) / WEEKLY_TO_DAILY
    scale = np.array([0.0347, 0.05, 0.0778]) / np.sqrt(WEEKLY_TO_DAILY)
    rng = np.random.default_rng(0)
    from regimeslot.markov import simulate_states, stationary_distribution

    first = stationary_distribution(daily)
    paths = simulate_states(daily, first, n_rows, rng, n_sequences)
    ys = mean[paths] + scale[paths] * rng.standard_normal(paths.shape)

    def balanced(truth: np.ndarray, path: np.ndarray) -> float:
        present = np.unique(truth)
        table = np.array([[np.mean(path[truth == i] == k) for k in range(3)] for i in present])
        return max(
            np.mean([table[n, order[i]] for n, i in enumerate(present)])
            for order in permutations(range(3))
        )

    density = -0.5 * ((ys - mean[:, None, None]) / scale[:, None, None]) ** 2
    density -= np.log(scale)[:, None, None]
    matrices = np.repeat(daily[..., None], n_sequences, axis=2)
    best = viterbi(density, matrices, np.repeat(first[:, None], n_sequences, axis=1))
    oracle = np.mean([balanced(t, p) for t, p in zip(paths, best, strict=True)])
    print(
        f"three-state daily process, {n_sequences} sequences of {n_rows}: "
        f"true parameters {oracle:.3f}"
    )
    for prior in (0, 10, 30, 100, 300):
        model = MarkovSwitching(3, switching_variance=True, sticky_prior=prior, random_state=0)
        begin = time.process_time()
        found = model.fit_many(ys, n_starts=8)
        seconds = time.process_time() - begin
        score = [balanced(t, r.viterbi_path.to_numpy()) for t, r in zip(paths, found, strict=True)]
        print(
            f"  sticky prior {prior:>4}: balanced accuracy {np.mean(score):.3f} "
            f"(wanted 0.80 with the prior; jump models 0.737-0.753), "
            f"{1e3 * seconds / n_sequences:.0f} ms a sequence"
        )


def main() -> None:
    warnings.simplefilter("ignore")
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else SNAPSHOT
    y = daily_returns(source)
    against_statsmodels(y)
    hamilton()
    against_hmmlearn(y)
    many_series()
    recovery()


if __name__ == "__main__":
    main()
