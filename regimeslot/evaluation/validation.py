"""The study behind ``regimeslot validate``: what the slots find where the truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.validation_experiments import EPOCHS, Row, experiments

__all__ = ["Check", "Validation", "run_validation"]

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Check:
    """One statement the project makes, with the figure that decides it."""

    statement: str
    value: float
    bound: float
    at_most: bool

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the statement."""
        return bool(self.value <= self.bound if self.at_most else self.value >= self.bound)


@dataclass(frozen=True, eq=False)
class Validation:
    """Result of :func:`run_validation`: one table per experiment, one row per run.

    Attributes
    ----------
    tables
        name of the experiment -> its runs
    checks
        the statements and whether they held
    picture
        points of one original run for :func:`~regimeslot.evaluation.validation_picture.draw`
    quick
        whether it was the short study
    """

    tables: Mapping[str, pd.DataFrame]
    checks: tuple[Check, ...]
    picture: Mapping[str, Array]
    quick: bool

    def summary(self) -> pd.DataFrame:
        """The one table: median and worst figure of every experiment and case."""
        rows = []
        for name, (measure, low_is_good, keys) in _HEADLINES.items():
            for case, runs in self.tables[name].groupby(keys, sort=False):
                values = runs[measure].astype(float)
                rows.append(
                    {
                        "experiment": name,
                        "case": ", ".join(str(part) for part in case),
                        "measure": measure,
                        "median": values.median(),
                        "worst": values.max() if low_is_good else values.min(),
                        "seconds": runs["seconds"].median(),
                        "runs": len(runs),
                    }
                )
        return pd.DataFrame(rows)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the picture, as plain numbers and lists for JSON."""
        return {
            "quick": self.quick,
            "checks": [
                {
                    "statement": check.statement,
                    "value": float(check.value),
                    "bound": check.bound,
                    "at_most": check.at_most,
                    "passed": check.passed,
                }
                for check in self.checks
            ],
            "summary": self.summary().to_dict("records"),
            "tables": {name: table.to_dict("records") for name, table in self.tables.items()},
        }


# experiment -> (measure, whether low is good, columns that name a case)
_HEADLINES = {
    "original": ("validation_mse", True, ["model"]),
    "argmax regimes": ("mse_over_oracle", True, ["case"]),
    "density laws": ("gap_closed", False, ["law", "slots"]),
    "no regime": ("loss_nats", True, ["slots"]),
    "small samples": ("gap_closed", False, ["features", "model"]),
}


def run_validation(
    *,
    quick: bool = False,
    seeds: int | None = None,
    random_state: int = 0,
    progress: Progress | None = None,
) -> Validation:
    """Run the synthetic proof.

    Parameters
    ----------
    quick
        few seeds and the smaller cases, in under a minute
    seeds
        runs of every case; 20 by default, 2 when quick
    random_state
        every seed of the study follows from it
    progress
        called with (runs done, runs in all, name of the next one)

    Raises
    ------
    InvalidInputError
        if ``seeds`` is not a positive integer
    """
    count = (2 if quick else 20) if seeds is None else seeds
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise InvalidInputError(f"expected seeds to be a positive integer, got {seeds!r}")
    first = 1000 * random_state
    jobs = list(experiments(quick, range(first, first + int(count))))
    tables: dict[str, list[Row]] = {name: [] for name in _HEADLINES}
    picture: dict[str, Array] = {}
    for done, (name, label, job) in enumerate(jobs):
        if progress is not None:
            progress(done, len(jobs), f"{name}: {label}")
        rows, points = job()
        tables[name].extend(rows)
        if points is not None and not picture:
            picture = points
    if progress is not None:
        progress(len(jobs), len(jobs), "done")
    frames = {name: pd.DataFrame(rows) for name, rows in tables.items()}
    return Validation(frames, tuple(_checks(frames)), picture, quick)


def _checks(tables: Mapping[str, pd.DataFrame]) -> Iterator[Check]:
    original = tables["original"].set_index("model")
    ours = original.loc[["slots, EM"]]
    trained = original.loc[["slots, RMSprop"]]
    plain = (trained["seconds"] * EPOCHS / trained["iterations"]).mean()
    yield Check("original: worst validation MSE", ours["validation_mse"].max(), 1e-10, True)
    yield Check(
        "original: CPU time of 100 plain epochs over ours",
        plain / ours["seconds"].mean(),
        25,
        False,
    )
    yield Check("original: worst gate angle, degrees", ours["gate_angle_degrees"].max(), 0.1, True)
    yield Check("original: worst slot weight error", ours["weight_error"].max(), 1e-6, True)
    argmax = tables["argmax regimes"]
    medians = argmax.groupby("case")["mse_over_oracle"].median()
    yield Check("argmax regimes: worst weight error", argmax["weight_error"].max(), 0.25, True)
    yield Check("argmax regimes: largest median MSE over oracle", medians.max(), 1.05, True)
    density = tables["density laws"]
    for n_slots, words, bound in ((2, "2 slots", 0.97), (4, "up to 4 slots", 0.92)):
        worst = density.loc[density["slots"] == n_slots, "gap_closed"].min()
        yield Check(f"density laws, {words}: least gap closed", worst, bound, False)
    control = tables["no regime"]
    chosen = control[control["slots"] == "auto"]
    yield Check("no regime: mean loss, nats a row", chosen["loss_nats"].mean(), 0.001, True)
    one = float((chosen["chosen"] == 1).mean())
    yield Check("no regime: share of runs with one slot", one, 0.9, False)
    small = tables["small samples"].groupby(["features", "model"])["gap_closed"].mean()
    for case in ("d = 2", "d = 10"):
        pooled, free = small[case]["EM, partial pooling"], small[case]["EM, independent"]
        yield Check(f"200 rows, {case}: pooled minus independent", pooled - free, 0.0, False)
        yield Check(f"200 rows, {case}: EM minus Adam", free - small[case]["Adam"], 0.0, False)
