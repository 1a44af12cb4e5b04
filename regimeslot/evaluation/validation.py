"""The study behind ``regimeslot validate``: what the slots find where the truth is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation import recovery
from regimeslot.synthetic import (
    SyntheticSample,
    make_argmax_regimes,
    make_markov_regression,
    make_no_regime,
    make_soft_gate,
    make_sticky,
    make_two_regimes,
)

__all__ = ["Check", "Validation", "run_validation"]

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]
Row = dict[str, Any]

_TRAIN = 10_000  # rows of the original experiment and of the argmax laws
_HALF = 3_000  # training rows of the density laws; as many are held out
_DENSITY_LAWS: dict[str, Callable[..., SyntheticSample]] = {
    "markov": make_markov_regression,
    "feature gate": make_soft_gate,
    "both": make_sticky,
}
_DENSITY_SETTINGS: dict[str, Any] = {
    "likelihood": "gaussian",
    "location": "linear",
    "scale": "constant",
    "half_life": None,
    "slope_penalty": 2.0,
    "gate_penalty": 2.0,
    "location_penalty": 2.0,
}


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
    jobs = list(_jobs(quick, range(first, first + int(count))))
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


Outcome = tuple[list[Row], dict[str, Array] | None]
Job = Callable[[], Outcome]


def _jobs(quick: bool, seeds: range) -> Iterator[tuple[str, str, Job]]:
    for seed in seeds:
        # The plain training takes most of a minute by itself: one run is enough to compare with.
        with_plain = seed == seeds[0] or (not quick and seed < seeds[0] + 3)
        yield "original", f"seed {seed}", _bound(_original, seed, with_plain)
    sizes = [(2, 10), (3, 10)] if quick else [(2, 10), (3, 10), (4, 10), (6, 20)]
    for n_regimes, n_features in sizes:
        for noise in (0.1, 0.5):
            for seed in seeds:
                label = f"K = {n_regimes}, d = {n_features}, noise {noise}, seed {seed}"
                yield "argmax regimes", label, _bound(_argmax, n_regimes, n_features, noise, seed)
    for law in _DENSITY_LAWS:
        for seed in seeds:
            yield "density laws", f"{law}, seed {seed}", _bound(_density, law, seed)
    for seed in seeds:
        yield "no regime", f"seed {seed}", _bound(_control, seed)
    for n_features in (2, 10):
        for seed in seeds:
            yield (
                "small samples",
                f"d = {n_features}, seed {seed}",
                _bound(_small, n_features, seed),
            )


def _bound(function: Callable[..., Outcome], *arguments: Any) -> Job:
    return lambda: function(*arguments)


def _timed(model: Any, X: Array, y: Array) -> float:
    """Fit in place; CPU seconds of this process."""
    start = time.process_time()
    model.fit(X, y)
    return time.process_time() - start


def _mse(model: Any, X: Array, y: Array) -> float:
    return float(np.mean((model.predict(X) - y) ** 2))


def _original(seed: int, with_plain: bool) -> Outcome:
    """The experiment this began with: linear, plain RMSprop and EM on the same rows."""
    from sklearn.linear_model import LinearRegression

    from regimeslot.models.slot_regressor import SlotRegressor

    sample = make_two_regimes(_TRAIN + 1000, random_state=seed)
    train, test = sample[:_TRAIN], sample[_TRAIN:]
    models: dict[str, Any] = {
        "linear": LinearRegression(),
        "slots, EM": SlotRegressor(2, random_state=seed),
    }
    if with_plain:
        models["slots, RMSprop"] = SlotRegressor(2, solver="rmsprop", random_state=seed)
    rows: list[Row] = []
    for name, model in models.items():
        seconds = _timed(model, train.X, train.y)
        row: Row = {
            "model": name,
            "seed": seed,
            "validation_mse": _mse(model, test.X, test.y),
            "seconds": seconds,
        }
        if name != "linear":
            row |= _found(sample, model)
            row["selector"] = model.gate_coef_.tolist()
        rows.append(row)
    ours = models["slots, EM"]
    shown = test.X[:800]
    points = {
        "X": shown,
        "y": test.y[:800],
        "slot": ours.selector_weights(shown).argmax(1).astype(float),
        "gate": np.append(
            ours.gate_coef_[0] - ours.gate_coef_[1],
            ours.gate_intercept_[0] - ours.gate_intercept_[1],
        ),
    }
    return rows, points


def _found(sample: SyntheticSample, model: Any) -> Row:
    """Errors of experts and gate against the true laws."""
    coef: Any = sample.parameters["coef"]
    gate: Any = sample.parameters["gate"]
    laws, slots = recovery.match_slots(coef, model.slot_coef_)
    angle = recovery.gate_angle(gate, model.gate_coef_, laws=laws, slots=slots)
    return {
        "weight_error": recovery.weight_error(coef, model.slot_coef_),
        "gate_angle_degrees": angle,
    }


def _argmax(n_regimes: int, n_features: int, noise: float, seed: int) -> Outcome:
    from regimeslot.evaluation.validation_oracle import LabelOracle
    from regimeslot.models.slot_regressor import SlotRegressor

    sample = make_argmax_regimes(
        _TRAIN + 5000,
        n_regimes=n_regimes,
        n_features=n_features,
        noise=noise,
        random_state=seed,
    )
    train, test = sample[:_TRAIN], sample[_TRAIN:]
    oracle = LabelOracle(train.regimes, n_regimes).fit(train.X, train.y)
    model = SlotRegressor(n_regimes, random_state=seed)
    seconds = _timed(model, train.X, train.y)
    slot = model.selector_weights(train.X).argmax(1)
    mapping = recovery.match_labels(train.regimes, slot)
    matched = mapping[model.selector_weights(test.X).argmax(1)]
    row: Row = {
        "case": f"K = {n_regimes}, d = {n_features}, noise {noise}",
        "seed": seed,
        "mse_over_oracle": _mse(model, test.X, test.y) / _mse(oracle, test.X, test.y),
        "accuracy": recovery.accuracy(test.regimes, matched),
        "rand_index": recovery.adjusted_rand_index(test.regimes, matched),
        "slots_found": recovery.slots_found(model.usage_),
        "seconds": seconds,
    }
    return [row | _found(sample, model)], None


def _density(law: str, seed: int) -> Outcome:
    """The sticky gate under a law with memory, a gate, or both; two slots, and four too many."""
    from regimeslot.models.slot_forecaster import SlotForecaster

    sample = _DENSITY_LAWS[law](2 * _HALF, random_state=seed)
    X, y = sample.to_frame()
    test = sample[_HALF:]
    attainable = float(test.filter_oracle().logpdf(test.y).mean())
    known = float(test.label_oracle().logpdf(test.y).mean())
    scores: dict[int, float] = {}
    rows: list[Row] = []
    for n_slots in (1, 2, 4):
        model = SlotForecaster(
            n_slots=n_slots,
            n_starts=1 if n_slots == 1 else 4,
            random_state=seed,
            **_DENSITY_SETTINGS,
        )
        start = time.process_time()
        model.fit(X[:_HALF], y[:_HALF])
        seconds = time.process_time() - start
        forecast = model.predict(X[_HALF:], y[_HALF:])
        scores[n_slots] = float(forecast.logpdf(test.y).mean())
        if n_slots == 1:
            continue
        weights = np.asarray(forecast.weights)
        train = np.asarray(model.predict(X[:_HALF], y[:_HALF]).weights).argmax(1)
        mapping = recovery.match_labels(sample.regimes[:_HALF], train)
        labels = _matched(mapping, weights.argmax(1))
        rows.append(
            {
                "law": law,
                "slots": n_slots,
                "seed": seed,
                "gap_closed": recovery.gap_closed(scores[n_slots], scores[1], attainable),
                "gap_closed_to_labels": recovery.gap_closed(scores[n_slots], scores[1], known),
                "log_score": scores[n_slots],
                "accuracy": recovery.accuracy(test.regimes, labels),
                "switch_delay": recovery.switch_delay(test.regimes, labels),
                "false_switches_per_1000": recovery.false_switches_per_thousand(
                    test.regimes, labels
                ),
                "calibration_error": recovery.calibration_error(forecast, test.y),
                "seconds": seconds,
            }
        )
    return rows, None


def _matched(mapping: NDArray[np.intp], slots: NDArray[np.intp]) -> NDArray[np.intp]:
    """Apply a mapping made on training rows; a slot unseen there joins regime 0."""
    full = np.zeros(max(len(mapping), int(slots.max()) + 1), dtype=np.intp)
    full[: len(mapping)] = mapping
    return full[slots]


def _control(seed: int) -> Outcome:
    """One law: how much slots lose to it, and how many are chosen."""
    from regimeslot.models.slot_regressor import SlotRegressor

    sample = make_no_regime(2 * _HALF, random_state=seed)
    train, test = sample[:_HALF], sample[_HALF:]

    def log_score(model: Any) -> float:
        error = np.mean((train.y - model.predict(train.X)) ** 2)
        square = (test.y - model.predict(test.X)) ** 2
        return float(np.mean(-0.5 * (square / error + np.log(2 * np.pi * error))))

    linear = SlotRegressor(1).fit(train.X, train.y)
    rows: list[Row] = []
    for choice in ("auto", 2):
        model = SlotRegressor(choice, pooling="auto", random_state=seed)
        seconds = _timed(model, train.X, train.y)
        rows.append(
            {
                "slots": str(choice),
                "seed": seed,
                "loss_nats": log_score(linear) - log_score(model),
                "chosen": model.n_slots_,
                "seconds": seconds,
            }
        )
    return rows, None


def _small(n_features: int, seed: int) -> Outcome:
    """200 rows: partial pooling, independent slots, and Adam on the cooperative loss."""
    from regimeslot.evaluation.validation_oracle import AdamSlots
    from regimeslot.models.slot_regressor import SlotRegressor

    sample = make_two_regimes(20_200, noise=0.1, n_irrelevant=n_features - 2, random_state=seed)
    train, test = sample[:200], sample[200:]
    linear = _mse(SlotRegressor(1).fit(train.X, train.y), test.X, test.y)
    oracle = float(np.mean((test.y - test.label_oracle().mean()) ** 2))
    models: dict[str, Any] = {
        "EM, partial pooling": SlotRegressor(2, pooling="auto", random_state=seed),
        "EM, independent": SlotRegressor(2, random_state=seed),
        "Adam": AdamSlots(2, seed=seed),
    }
    rows: list[Row] = []
    for name, model in models.items():
        seconds = _timed(model, train.X, train.y)
        gap = recovery.gap_closed(_mse(model, test.X, test.y), linear, oracle)
        rows.append(
            {
                "features": f"d = {n_features}",
                "model": name,
                "seed": seed,
                "gap_closed": gap,
                "seconds": seconds,
            }
        )
    return rows, None


def _checks(tables: Mapping[str, pd.DataFrame]) -> Iterator[Check]:
    original = tables["original"].set_index("model")
    ours = original.loc[["slots, EM"]]
    plain = original.loc[["slots, RMSprop"], "seconds"].mean()
    yield Check("original: worst validation MSE", ours["validation_mse"].max(), 1e-10, True)
    yield Check("original: CPU time saved, times", plain / ours["seconds"].mean(), 25, False)
    yield Check("original: worst gate angle, degrees", ours["gate_angle_degrees"].max(), 0.1, True)
    yield Check("original: worst slot weight error", ours["weight_error"].max(), 1e-6, True)
    argmax = tables["argmax regimes"]
    medians = argmax.groupby("case")["mse_over_oracle"].median()
    yield Check("argmax regimes: worst weight error", argmax["weight_error"].max(), 0.25, True)
    yield Check("argmax regimes: largest median MSE over oracle", medians.max(), 1.05, True)
    density = tables["density laws"]
    for n_slots, bound in ((2, 0.97), (4, 0.92)):
        worst = density.loc[density["slots"] == n_slots, "gap_closed"].min()
        yield Check(f"density laws, {n_slots} slots: least gap closed", worst, bound, False)
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
