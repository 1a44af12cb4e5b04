"""CPU time of the slot models' walk-forward against GJR-GARCH (arch) in the same run.

Run with ``OMP_NUM_THREADS=1 python benchmarks/walk_forward.py``: the bundled S&P 500, 24 yearly
refits, 5,812 forecasts; fits and forecasts of every model, warm from refit to refit. Medians of
repeated runs of process CPU time. The last lines time ``regimeslot --help`` and the import.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import warnings

from regimeslot.evaluation.walk_forward import walk_forward
from regimeslot.features import make_dataset
from regimeslot.models.pool import Pool
from regimeslot.prices import load_prices

REPEATS = 5
PEER = "gjr-garch"
SLOTS = ("slots-single", "slots-markov", "slots-sticky")


def child_seconds(*arguments: str) -> float:
    """User and system CPU seconds of a Python process, the least of several runs."""
    seconds = []
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def main() -> None:
    warnings.simplefilter("ignore")
    dataset = make_dataset(load_prices("^GSPC", source="bundled"))
    runs = [walk_forward([PEER, *SLOTS], dataset) for _ in range(REPEATS)]
    seconds = {
        name: statistics.median(run.seconds[name] for run in runs) for name in (PEER, *SLOTS)
    }
    for name, value in seconds.items():
        print(f"{name:<14} {value:6.3f} s CPU")
    ratios = [sum(run.seconds[n] for n in SLOTS) / run.seconds[PEER] for run in runs]
    print(f"three slot models / {PEER}: {statistics.median(ratios):.2f} (wanted: at most 0.5)")
    gain = runs[0].log_scores()
    pool = Pool(members={name: runs[0].models[name] for name in SLOTS}).combine(runs[0].forecasts)
    score = pool.logpdf(runs[0].y.to_numpy())
    print(f"their pool's gain over {PEER}: {(score - gain[PEER]).mean():+.4f} nats a day")
    print(f"regimeslot --help: {1e3 * child_seconds('-m', 'regimeslot', '--help'):.0f} ms CPU")
    print(f"import regimeslot: {1e3 * child_seconds('-c', 'import regimeslot'):.0f} ms CPU")
    print(f"python alone:      {1e3 * child_seconds('-c', 'pass'):.0f} ms CPU")


if __name__ == "__main__":
    main()
