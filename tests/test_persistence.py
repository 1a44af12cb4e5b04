"""Faults of model files; that every model survives the trip is in the contract tests."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from regimeslot.errors import BadFileError, InvalidInputError, NotFittedError
from regimeslot.models import MeanForecaster, OnlineSlotRegressor, Pool, SlotForecaster
from regimeslot.models.catalogue import CATALOGUE, make_forecaster
from regimeslot.persistence import _FORMAT, Saveable, _digest, load, save

# What each model keeps in a file of format 2. Where a test finds something else, a file from before
# the change would load and fail later: raise _FORMAT, and then write the new names here.
KEPT_BY_FORMAT = 2
KEPT = {
    "GarchForecaster": "columns_ converged_ log_likelihood_ params_ past_ recent_ spread_",
    "LinearForecaster": "coef_ columns_ dof_ hac_lags_ n_rows_ r_squared_ regressors_ std_ "
    "std_error_ unfinished_",
    "MarkovForecaster": "columns_ converged_ log_likelihood_ params_ recent_ state_ transition_",
    "MeanForecaster": "columns_ count_ dof_ std_ sum_ unfinished_",
    "OnlineSlotRegressor": "core feature_names_in_ n_features_in_ n_outputs_ several_",
    "OnlineSlotRegressor.core": "advantage bank before born candidate early empty_precision events "
    "n_slots names noise probs rows saved stays switches taken units",
    "Pool": "members_",
    "SlotForecaster": "center_ columns_ converged_ feature_mean_ feature_std_ features_ "
    "has_offset_ inverse_hessian_ n_evaluations_ n_slots_ objective_ parameters_ penalties_ "
    "penalty_ spread_ state_",
    "SlotLSTMForecaster": "base_ columns_ feature_mean_ feature_std_ features_ hidden_size_ "
    "interrupted_ networks_ sizes_ spread_ tail_ training_",
    "SlotWeightForecaster": "coefficients_ columns_ dof_ limits_ regressors_ std_ unfinished_",
    "StaticMixtureForecaster": "columns_ converged_ log_likelihood_ params_ recent_ state_ "
    "transition_",
}


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    return SlotForecaster(n_slots=2, selector="markov", scale="constant").fit(
        np.zeros((300, 1)), 0.01 * rng.standard_normal(300)
    )


def test_every_flipped_byte_of_the_body_is_noticed(model, tmp_path):
    file = save(model, tmp_path / "model.safetensors")
    whole = file.read_bytes()
    rng = np.random.default_rng(1)
    for position in rng.integers(8, len(whole), 60):
        damaged = bytearray(whole)
        damaged[position] ^= 0x41
        file.write_bytes(bytes(damaged))
        try:
            again = load(file)
        except BadFileError:
            continue
        np.testing.assert_array_equal(again.state_, model.state_)  # a byte nobody reads
        assert json.dumps(again.get_params()) == json.dumps(model.get_params())


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_cut_file_is_damaged(model, tmp_path, keep):
    file = save(model, tmp_path / "model.safetensors")
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BadFileError, match="damaged or no model file"):
        load(file)


def test_a_missing_file_and_a_foreign_one_are_named(tmp_path):
    with pytest.raises(BadFileError, match="there is no model file"):
        load(tmp_path / "nothing.safetensors")
    save_file({"x": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(BadFileError, match="lacks the header"):
        load(tmp_path / "foreign.safetensors")
    (tmp_path / "text.safetensors").write_text("price,date\n")
    with pytest.raises(BadFileError, match="damaged or no model file"):
        load(tmp_path / "text.safetensors")


def test_a_class_outside_the_catalogue_is_refused(tmp_path):
    body = {"$model": "CATALOGUE", "params": {}, "state": {}}
    header = {"format": _FORMAT, "model": body, "digest": _digest(body, {})}
    save_file({}, tmp_path / "m.safetensors", metadata={"regimeslot": json.dumps(header)})
    with pytest.raises(BadFileError, match="no model 'CATALOGUE'"):
        load(tmp_path / "m.safetensors")


def test_a_later_format_is_named(tmp_path):
    header = {"format": 99, "model": {}, "digest": ""}
    save_file({}, tmp_path / "m.safetensors", metadata={"regimeslot": json.dumps(header)})
    with pytest.raises(BadFileError, match="format 99"):
        load(tmp_path / "m.safetensors")


def test_a_file_from_before_an_attribute_was_added_says_to_fit_again(model, tmp_path):
    state = model.get_state()
    del state["penalties_"]
    file = save(SlotForecaster().set_state(state), tmp_path / "old.safetensors")
    file.write_bytes(file.read_bytes().replace(f'"format\\": {_FORMAT}'.encode(), b'"format\\": 1'))
    with pytest.raises(BadFileError, match=r"another version of .*format 1.*: fit again"):
        load(file)


@pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")
def test_what_models_keep_is_what_the_format_says():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((100, 2)), rng.standard_normal(100)
    online = OnlineSlotRegressor().partial_fit(X[:20], y[:20])
    one_of_each = {type(model): model for model in map(make_forecaster, CATALOGUE)}
    kept = {"OnlineSlotRegressor.core": set(online.get_state()["core"])}
    for model in (online, *one_of_each.values()):
        if "epochs" in model.get_params():
            model.set_params(epochs=1, n_seeds=1)
        if model is not online:
            model.fit(X, y)
        for part in (model, *getattr(model, "members_", {}).values()):
            assert isinstance(part, Saveable)
            kept[type(part).__name__] = set(part.get_state())
    assert _FORMAT == KEPT_BY_FORMAT
    assert kept == {name: set(names.split()) for name, names in KEPT.items()}


def test_only_fitted_forecasters_are_saved(tmp_path):
    with pytest.raises(NotFittedError, match="nothing to save"):
        save(MeanForecaster(), tmp_path / "m.safetensors")
    with pytest.raises(InvalidInputError, match="takes a forecaster"):
        save({"a": 1}, tmp_path / "m.safetensors")


def test_a_folder_that_is_not_there_is_named_and_nothing_is_left(model, tmp_path):
    with pytest.raises(InvalidInputError, match="cannot write"):
        save(model, tmp_path / "no" / "such" / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_pool_keeps_its_members(tmp_path):
    X, y = np.zeros((100, 1)), np.random.default_rng(0).standard_normal(100)
    pool = Pool(members={"b": MeanForecaster(), "a": MeanForecaster(likelihood="gaussian")})
    pool.fit(X, y)
    again = load(save(pool, tmp_path / "pool.safetensors"))
    assert list(again.members_) == ["b", "a"]
    np.testing.assert_allclose(again.predict(X[:2]).dof, pool.predict(X[:2]).dof)
