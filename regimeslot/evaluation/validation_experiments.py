"""The experiments of the synthetic proof: each run returns rows of a table."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

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

__all__ = ["EPOCHS", "Row", "experiments"]

Array = NDArray[np.float64]
Row = dict[str, Any]

_TRAIN = 10_000  # rows of the original experiment and of the argmax laws
_HALF = 3_000  # training rows of the density laws; as many are held out
EPOCHS = 100  # of the original training
_QUICK_EPOCHS = 8  # enough to measure the time of one; too few for the loss
_ADAM_STEPS = 2000
_STARTS = 4  # of the density forecasts
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
}


Outcome = tuple[list[Row], dict[str, Array] | None]
Job = Callable[[], Outcome]


def experiments(quick: bool, seeds: range) -> Iterator[tuple[str, str, Job]]:
    """Every run of the study as (experiment, label, function that makes it)."""
    for seed in seeds:
        # The plain training takes most of a minute: a few runs are enough to compare with.
        epochs = _QUICK_EPOCHS if quick else EPOCHS
        with_plain = seed < seeds[0] + (1 if quick else 3)
        yield "original", f"seed {seed}", _bound(_original, seed, epochs if with_plain else 0)
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


def _original(seed: int, epochs: int) -> Outcome:
    """The experiment this began with: linear, plain RMSprop (if any epochs) and EM."""
    from sklearn.linear_model import LinearRegression

    from regimeslot.models.slot_regressor import SlotRegressor

    sample = make_two_regimes(_TRAIN + 1000, random_state=seed)
    train, test = sample[:_TRAIN], sample[_TRAIN:]
    models: dict[str, Any] = {
        "linear": LinearRegression(),
        "slots, EM": SlotRegressor(2, random_state=seed),
    }
    if epochs:
        models["slots, RMSprop"] = SlotRegressor(
            2, solver="rmsprop", epochs=epochs, random_state=seed
        )
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
            row["iterations"] = model.n_iter_
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
    """The sticky gate under a law with memory, a gate, or both; two slots, and up to four."""
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
            n_starts=1 if n_slots == 1 else _STARTS,
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
                "slots_found": model.n_slots_,
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
        "Adam": AdamSlots(2, steps=_ADAM_STEPS, seed=seed),
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
