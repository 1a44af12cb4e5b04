"""SlotLSTMForecaster: what training may see, what it keeps, and what a window is."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from regimeslot.causality import assert_causal
from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.forecast import MixtureForecast
from regimeslot.models import SlotForecaster, SlotLSTMForecaster, slot_lstm_network, slot_lstm_run
from regimeslot.models.slot_lstm_network import (
    Experts,
    RecurrentHead,
    count_parameters,
    matched_hidden_size,
)
from regimeslot.models.slot_lstm_training import (
    Schedule,
    TrainingRows,
    train,
)
from regimeslot.persistence import load, save

TRAIN = 450
SMALL = {"window": 16, "hidden_size": 4, "n_seeds": 1, "epochs": 3, "refit_epochs": 2}
FIELDS = ("weights", "locations", "scales", "dof", "skew")


def small(**changes):
    return SlotLSTMForecaster(**{**SMALL, "random_state": 0, **changes})


class Stirred(SlotLSTMForecaster):
    """With an output that early stopping cannot leave at zero: the memory is seen in forecasts."""

    def _fit(self, frame, target):
        super()._fit(frame, target)
        rng = np.random.default_rng(0)
        for weights in self.networks_:
            shape = weights["output.weight"].shape
            weights["output.weight"] = rng.standard_normal(shape).astype(np.float32)


def stirred(**changes):
    return Stirred(**{**SMALL, "epochs": 1, "random_state": 0, **changes})


def switched(n_rows, seed=0):
    """Events +1 and -1, far apart; the last one says whether y is calm or wild."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n_rows, 2))
    X[:, 0] = rng.choice([-1.0, 0.0, 1.0], n_rows, p=[0.06, 0.88, 0.06])
    X[:, 1] = rng.standard_normal(n_rows)
    state = np.zeros(n_rows)
    for row in range(n_rows):
        state[row] = X[row, 0] or state[row - 1]
    return X, np.exp(state) * rng.standard_normal(n_rows)


@pytest.fixture(scope="module")
def model(dataset):
    return stirred().fit(dataset.X[:TRAIN], dataset.y[:TRAIN])


def equal(a, b, **close):
    for field in FIELDS:
        if close:
            np.testing.assert_allclose(getattr(a, field), getattr(b, field), **close)
        else:
            np.testing.assert_array_equal(getattr(a, field), getattr(b, field))


def some_experts(n_rows, dtype=torch.float64):
    source = torch.Generator().manual_seed(1)
    weights = torch.rand(n_rows, 2, generator=source, dtype=dtype)
    return Experts(
        torch.log(weights / weights.sum(1, keepdim=True)),
        torch.randn(n_rows, 2, generator=source, dtype=dtype),
        torch.randn(n_rows, 2, generator=source, dtype=dtype),
        torch.tensor([5.0, 40.0], dtype=dtype).expand(n_rows, 2),
    )


def training_rows(n_rows=300, window=16, check=240, stop=240, seed=0):
    X, y = switched(n_rows, seed)
    flat = torch.zeros(n_rows, 1)
    return TrainingRows(
        X,
        torch.from_numpy(y.astype(np.float32)),
        torch.ones(n_rows),
        Experts(flat, flat, flat, flat + 8.0),
        window,
        stop,
        check,
    )


# ------------------------------------------------------------------ head
def test_density_is_that_of_the_mixture_forecast():
    experts = some_experts(20)
    y = np.linspace(-3, 3, 20)
    forecast = MixtureForecast(
        np.exp(experts.log_weights.numpy()),
        experts.locations.numpy(),
        np.exp(experts.log_scales.numpy()),
        experts.dof.numpy(),
    )
    found = experts.log_density(torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(found, forecast.logpdf(y), rtol=1e-12, atol=1e-12)


def test_an_untrained_head_leaves_the_experts_alone(dataset, model):
    X = dataset.X[TRAIN:]
    untrained = small().set_state(model.get_state())
    head = slot_lstm_run.make_head(model._network, seed=0)
    untrained.networks_ = [{n: v.numpy() for n, v in head.state_dict().items()}]
    equal(untrained.predict(X), untrained.base_.predict(X), rtol=1e-12, atol=1e-15)


def test_one_memory_slot_is_an_ordinary_lstm():
    slots = RecurrentHead(3, 5, n_slots=2, memory_slots=1).double()
    plain = RecurrentHead(3, 5, n_slots=2, memory_slots=None).double()
    torch.nn.init.normal_(slots.output.weight)
    plain.load_state_dict(slots.state_dict())
    windows, experts = torch.randn(9, 6, 3, dtype=torch.float64), some_experts(6)[None]
    for name in ("log_weights", "locations", "log_scales"):
        np.testing.assert_allclose(
            getattr(slots(windows, experts), name).detach(),
            getattr(plain(windows, experts), name).detach(),
            rtol=1e-12,
            atol=1e-13,
        )


@pytest.mark.parametrize(("hidden", "slots"), [(8, 4), (16, 2), (3, 8), (1, 1)])
def test_the_control_has_as_many_parameters(hidden, slots):
    sizes = {"n_slots": 2, "memory_slots": slots}
    units = matched_hidden_size(15, hidden, **sizes)
    slotted = count_parameters(RecurrentHead(15, hidden, **sizes))
    plain = count_parameters(RecurrentHead(15, units, n_slots=2, memory_slots=None))
    assert plain == pytest.approx(slotted, rel=0.1)


# ------------------------------------------------------------------ training
@given(
    window=st.integers(1, 40),
    spare=st.integers(0, 60),
    horizon=st.integers(1, 5),
    left=st.integers(1, 30),
    seed=st.integers(0, 5),
)
def test_stretches_stay_within_the_training_rows(window, spare, horizon, left, seed):
    stop = window + spare
    check = stop + horizon - 1
    rows = training_rows(check + left, window, check, stop)
    ends = rows.training_ends(np.random.default_rng(seed))
    assert len(ends)
    assert ends.min() >= window
    assert ends.max() <= stop
    scored = (ends[:, None] - 1 - np.arange(rows.scored)).ravel()
    assert len(np.unique(scored)) == len(scored)  # no row counts twice in a pass


def test_unfinished_targets_are_left_out_between_training_and_stopping():
    assert small(validation=0.2)._split(100) == (80, 80)
    assert small(validation=0.2, horizon=5)._split(100) == (80, 76)


def test_training_reads_no_target_of_the_rows_that_stop_it():
    rows = training_rows(stop=236)
    rows.targets[rows.stop :] = torch.nan
    head = RecurrentHead(2, 4, n_slots=1, memory_slots=2)
    for seed in range(20):
        ends = rows.training_ends(np.random.default_rng(seed))
        assert torch.isfinite(rows.log_score(head, ends))


def test_check_densities_are_those_of_the_last_rows():
    """Against one window a row, where memory fades within half a window: any history is enough."""
    rows = training_rows(check=243)
    head = RecurrentHead(2, 4, n_slots=1, memory_slots=1)
    torch.nn.init.normal_(head.output.weight, std=0.1)
    with torch.no_grad():
        head.cell.bias_ih_l0[4:8] = -20.0  # forget gate shut
        head.cell.weight_hh_l0.zero_()
        windows = np.stack([rows.features[t - 15 : t + 1] for t in range(243, 300)], axis=1)
        h = head.cell(torch.from_numpy(windows.astype(np.float32)))[0][-1]
        moved = head.move(rows.experts[slice(243, 300)], h)
        expected = moved.log_density(rows.targets[243:])
    np.testing.assert_allclose(rows.check_densities(head), expected, rtol=1e-4, atol=1e-5)


def test_early_stopping_keeps_the_best_state():
    rows = training_rows()
    torch.manual_seed(0)
    head = RecurrentHead(2, 4, n_slots=1, memory_slots=2)
    result = train(head, rows, Schedule(60, 4, 2, 0.3, 0.0, 0.0), np.random.default_rng(0))
    scores = np.array(result.scores)
    assert len(scores) - 1 == result.best + 4 < 60  # it ran out of patience, not of passes
    assert scores[result.best] >= scores.max() - 1e-5
    assert result.in_use
    assert float(rows.check_densities(head).mean()) == scores[result.best]
    assert scores[-1] < scores[result.best] - 1e-3  # the last state was a worse one


def test_a_network_that_chance_explains_is_silenced():
    rows = training_rows()
    rows.targets[:] = torch.randn(300, generator=torch.Generator().manual_seed(0))
    silenced = 0
    for seed in range(6):
        torch.manual_seed(seed)
        head = RecurrentHead(2, 4, n_slots=1, memory_slots=2)
        cell = {n: v.clone() for n, v in head.cell.state_dict().items()}
        result = train(head, rows, Schedule(5, 5, 2, 0.01, 0.0, 0.0), np.random.default_rng(seed))
        alone = torch.equal(rows.check_densities(head), rows.expert_densities())
        assert alone == (not result.in_use)
        if alone and result.best:
            assert any((v != cell[n]).any() for n, v in head.cell.state_dict().items())
        silenced += alone
    assert silenced >= 3


def test_memory_learns_what_linear_experts_cannot_see():
    X, y = switched(1500)
    model = SlotLSTMForecaster(
        n_slots=1, window=32, hidden_size=8, n_seeds=1, epochs=40, learning_rate=0.02,
        cell_penalty=0.0, output_penalty=0.1, random_state=0,
    ).fit(X[:1000], y[:1000])  # fmt: skip
    gain = model.predict(X[1000:]).logpdf(y[1000:]) - model.base_.predict(X[1000:]).logpdf(y[1000:])
    assert gain.mean() > 0.15


# ------------------------------------------------------------------ interruption
class StopAfter:
    """Ctrl-C at the n-th call."""

    def __init__(self, calls):
        self.left, self.heard = calls, []

    def __call__(self, done, total, what):
        self.heard.append((done, total, what))
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


def test_interrupt_keeps_the_best_state_so_far(dataset):
    X, y = dataset.X[:TRAIN], dataset.y[:TRAIN]
    stopped = small(n_seeds=2, epochs=6, learning_rate=0.02)
    with pytest.raises(KeyboardInterrupt):
        stopped.fit(X, y, progress=StopAfter(3))
    assert stopped.interrupted_
    assert len(stopped.networks_) == 1  # the second was not begun
    assert len(stopped.training_[0]["scores"]) == 1 + 3
    whole = small(n_seeds=1, epochs=3, learning_rate=0.02).fit(X, y)
    assert not whole.interrupted_
    assert stopped.training_ == whole.training_
    equal(stopped.predict(dataset.X[TRAIN:]), whole.predict(dataset.X[TRAIN:]))


def test_interrupt_of_a_refit_keeps_the_networks_not_begun(dataset):
    X, y = dataset.X[:TRAIN], dataset.y[:TRAIN]
    model = small(n_seeds=3, warm_start=True).fit(X[:-50], y[:-50])
    before = model.networks_
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, y, progress=StopAfter(1))
    assert len(model.networks_) == len(model.training_) == 3
    for name, value in before[2].items():
        np.testing.assert_array_equal(model.networks_[2][name], value)
    assert len(model.predict(dataset.X[TRAIN:])) == len(dataset.X) - TRAIN


def test_interrupt_between_two_networks_keeps_those_that_are_trained(dataset, monkeypatch):
    X, y = dataset.X[:TRAIN], dataset.y[:TRAIN]
    made = []

    def make_head(*args, **options):
        made.append(args)
        if len(made) == 2:
            raise KeyboardInterrupt
        return original(*args, **options)

    original = slot_lstm_run.make_head
    model = small(n_seeds=3, warm_start=True)
    with monkeypatch.context() as patch:
        patch.setattr(slot_lstm_run, "make_head", make_head)
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, y)
    assert model.interrupted_
    assert len(model.networks_) == len(model.training_) == 1
    model.fit(X, y)  # from the one there is, and two new ones
    assert not model.interrupted_
    assert len(model.networks_) == len(model.training_) == 3


def test_interrupt_before_training_leaves_the_model_as_it_was(dataset, monkeypatch):
    def stop(*args):
        raise KeyboardInterrupt

    model = small()
    monkeypatch.setattr(SlotForecaster, "fit", stop)
    with pytest.raises(KeyboardInterrupt):
        model.fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    assert not model.is_fitted
    assert set(vars(model)) == set(vars(small()))


def test_progress_counts_passes(dataset):
    heard = StopAfter(100)
    small(n_seeds=2).fit(dataset.X[:TRAIN], dataset.y[:TRAIN], progress=heard)
    assert heard.heard == [(i, 6, f"network {1 + i // 3}") for i in range(6)]


# ------------------------------------------------------------------ refits and state
def test_a_warm_refit_starts_from_the_last_solution():
    X, y = switched(1000)
    eager = {"epochs": 12, "learning_rate": 0.02, "output_penalty": 0.1, "cell_penalty": 0.0}
    model = small(warm_start=True, **eager).fit(X, y)
    first = model.training_[0]
    model.fit(X, y)
    second = model.training_[0]
    assert first["best"] > 0
    assert max(first["scores"]) > first["scores"][0] + 0.05
    assert second["scores"][0] == pytest.approx(max(first["scores"]), abs=0.01)
    assert len(second["scores"]) <= 1 + SMALL["refit_epochs"]
    cold = small(**eager).fit(X, y).fit(X, y)
    assert cold.training_[0] == first


def test_a_warm_refit_of_another_size_starts_afresh(dataset):
    X, y = dataset.X[:TRAIN], dataset.y[:TRAIN]
    model = small(warm_start=True).fit(X, y).set_params(hidden_size=3).fit(X, y)
    assert len(model.networks_[0]["cell.weight_hh_l0"]) == 4 * 3
    assert len(model.training_[0]["scores"]) == 1 + SMALL["epochs"]


@pytest.mark.parametrize("cell", ["slots", "lstm"])
def test_update_equals_predict_with_y(cell, dataset):
    X, y = dataset.X[TRAIN:], dataset.y[TRAIN:]
    model = stirred(cell=cell).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    whole = model.predict(X, y)
    cut = 0
    for length in (1, 3, 40, 2):  # shorter and longer than the window
        model.update(X[cut : cut + length], y[cut : cut + length])
        cut += length
        equal(model.predict(X[cut:], y[cut:]), whole[cut:], rtol=1e-10, atol=1e-14)


def test_a_forecast_looks_back_over_its_window_and_no_further(dataset, model):
    X = dataset.X[TRAIN : TRAIN + 60].copy()
    before = model.predict(X)
    X.iloc[20] += 0.5
    after = model.predict(X)
    moved = np.flatnonzero(np.abs(after.scales - before.scales).max(axis=1) > 0)
    assert moved.min() == 20
    assert moved.max() == 20 + SMALL["window"] - 1


def test_forecasts_do_not_depend_on_how_rows_are_run(dataset, model, monkeypatch):
    X = dataset.X[TRAIN:]
    whole = model.predict(X)
    monkeypatch.setattr(slot_lstm_run, "_BLOCK", 5)
    monkeypatch.setattr(slot_lstm_network, "_PIECE", 7)
    equal(model.predict(X), whole, rtol=1e-12, atol=1e-15)
    equal(model.predict(X[:1]), whole[:1], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    "changes", [{"n_slots": 1}, {"memory_slots": 1}, {"window": 1}, {"n_slots": 3, "n_seeds": 2}]
)
def test_degenerate_sizes_forecast_without_looking_ahead(changes, dataset):
    assert_causal(stirred(**changes), dataset, train_size=TRAIN, rows=[TRAIN + 20])


@pytest.mark.parametrize("cell", ["slots", "lstm"])
def test_no_forecast_looks_ahead(cell, dataset, weekly):
    assert_causal(stirred(cell=cell), dataset, train_size=TRAIN, rows=[TRAIN + 1, TRAIN + 60])
    assert_causal(stirred(cell=cell, horizon=5), weekly, train_size=TRAIN, rows=[TRAIN + 30])


@pytest.mark.parametrize("cell", ["slots", "lstm"])
def test_forecasts_come_in_the_target_s_unit(cell):
    X, y = switched(400)
    plain = stirred(cell=cell).fit(X[:300], y[:300]).predict(X[300:])
    scaled = stirred(cell=cell).fit(X[:300], 250.0 * y[:300]).predict(X[300:])
    np.testing.assert_allclose(scaled.std(), 250.0 * plain.std(), rtol=1e-4)
    np.testing.assert_allclose(scaled.locations, 250.0 * plain.locations, rtol=1e-4, atol=1e-3)


def test_pooled_seeds_are_equal_components(dataset):
    model = stirred(n_seeds=3).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    forecast = model.predict(dataset.X[TRAIN:])
    assert forecast.n_components == 6
    sums = forecast.weights.reshape(-1, 3, 2).sum(axis=2)
    np.testing.assert_allclose(sums, 1 / 3, rtol=1e-12)


def test_save_and_load_bit_for_bit(dataset, tmp_path):
    fitted = stirred(n_seeds=2).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    model = small(n_seeds=2).set_state(fitted.get_state())
    model.update(dataset.X[TRAIN : TRAIN + 5], dataset.y[TRAIN : TRAIN + 5])
    again = load(save(model, tmp_path / "model.safetensors"))
    equal(again.predict(dataset.X[TRAIN + 5 :]), model.predict(dataset.X[TRAIN + 5 :]))
    assert again.training_ == model.training_
    assert again.networks_[0]["output.weight"].dtype == np.float32


# ------------------------------------------------------------------ memory that can be looked at
def test_memory_is_what_the_last_step_of_each_window_reads_and_writes(dataset, model):
    X = dataset.X[TRAIN : TRAIN + 40]
    memory = model.memory(X)
    assert list(memory.read.index) == list(memory.write.index) == list(X.index[15:])
    for frame in (memory.read, memory.write):
        np.testing.assert_allclose(frame.sum(axis=1), 1.0, rtol=0, atol=1e-6)
    cell = slot_lstm_run.make_head(model._network, weights=model.networks_[0]).cell
    window = torch.from_numpy(model._inputs(X.iloc[10:26]).astype(np.float32))
    seen = cell.attention_weights(window)
    np.testing.assert_allclose(memory.read.iloc[10], seen.read[0, -1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(memory.write.iloc[10], seen.write[0, -1], rtol=1e-5, atol=1e-7)


def test_the_control_has_no_slots_to_look_at(dataset):
    model = small(cell="lstm", epochs=1).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    with pytest.raises(InvalidInputError, match='expected cell="slots"'):
        model.memory(dataset.X)


# ------------------------------------------------------------------ errors and surroundings
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cell": "gru"}, "cell must be one of slots, lstm, got 'gru'"),
        ({"n_slots": 0}, "n_slots must be a whole number of at least 1, got 0"),
        ({"memory_slots": 2.5}, "memory_slots must be"),
        ({"hidden_size": True}, "hidden_size must be"),
        ({"window": 0}, "window must be a whole number of at least 1, got 0"),
        ({"n_seeds": -1}, "n_seeds must be"),
        ({"validation": 1.0}, r"validation must be a number in \(0, 1\), got 1.0"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"cell_penalty": -1.0}, "cell_penalty must be a number of at least 0, got -1.0"),
        ({"output_penalty": "auto"}, "output_penalty must be"),
    ],
)
def test_parameters_that_make_no_sense(changes, said, dataset):
    with pytest.raises(InvalidInputError, match=said):
        small(**changes).fit(dataset.X, dataset.y)


def test_a_window_longer_than_the_data_names_both(dataset, model):
    wanted = "a window of 400 rows does not fit into the 360 of 450 rows .* beside 90 to stop by"
    with pytest.raises(TooFewRowsError, match=wanted):
        small(window=400).fit(dataset.X[:TRAIN], dataset.y[:TRAIN])
    with pytest.raises(TooFewRowsError, match="a window of 16 rows does not fit into 10"):
        model.memory(dataset.X[:10])


def test_memory_needs_something_to_read(dataset):
    with pytest.raises(InvalidInputError, match="none is left beside log_vol and last_return"):
        small().fit(dataset.X[["log_vol", "last_return"]], dataset.y)


def test_wrong_rows_are_refused_by_size(dataset, model):
    X = dataset.X[TRAIN:]
    with pytest.raises(InvalidInputError, match="no rows"):
        model.predict(X[:0])
    with pytest.raises(InvalidInputError, match="one value for each of the 3 rows"):
        model.update(X[:3], np.zeros(2))
    hole = X.to_numpy().copy()
    hole[2, 1] = np.nan
    with pytest.raises(InvalidInputError, match="X must be finite, got nan in column"):
        model.predict(hole)


def test_torch_is_left_as_it_was(dataset):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    small(epochs=1).fit(dataset.X[:TRAIN], dataset.y[:TRAIN]).predict(dataset.X[TRAIN:])
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_the_catalogue_loads_no_torch():
    code = "import sys, regimeslot.models.catalogue; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


PEAKS = """
import resource, sys
import numpy as np
from regimeslot.models import SlotLSTMForecaster
rng = np.random.default_rng(0)
X = rng.standard_normal((4000, 8))
y = rng.standard_normal(4000)
for window in (16, 512):
    model = SlotLSTMForecaster(
        window=window, n_slots=1, n_seeds=1, epochs=1, batches=1, random_state=0
    )
    model.fit(X[:3000], y[:3000]).predict(X[3000:]), model.memory(X)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_window():
    """All windows of 512 rows as copies would take 8 x 512 x 4,000 x 8 bytes: 131 MB."""
    result = subprocess.run(
        [sys.executable, "-c", PEAKS], check=True, capture_output=True, text=True
    )
    short, long = map(int, result.stdout.split())
    assert short > 50
    assert long - short < 30  # MB
