"""Faults of model files; that every model survives the trip is in the contract tests."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from regimeslot.errors import BadFileError, InvalidInputError, NotFittedError
from regimeslot.models import MeanForecaster, Pool, SlotForecaster
from regimeslot.persistence import load, save


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
    from regimeslot.persistence import _digest

    header = {"format": 1, "model": body, "digest": _digest(body, {})}
    save_file({}, tmp_path / "m.safetensors", metadata={"regimeslot": json.dumps(header)})
    with pytest.raises(BadFileError, match="no model 'CATALOGUE'"):
        load(tmp_path / "m.safetensors")


def test_a_later_format_is_named(tmp_path):
    header = {"format": 99, "model": {}, "digest": ""}
    save_file({}, tmp_path / "m.safetensors", metadata={"regimeslot": json.dumps(header)})
    with pytest.raises(BadFileError, match="format 99"):
        load(tmp_path / "m.safetensors")


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
