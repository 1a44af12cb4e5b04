import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from regimeslot.errors import (
    DataError,
    InvalidInputError,
    RegimeslotError,
    RegimeWarning,
    TooFewRowsError,
)
from regimeslot.markov import MarkovSwitching


def two_regimes(n_rows=400, seed=0, scale=1.0, level=0.0):
    rng = np.random.default_rng(seed)
    wild = np.repeat(rng.random(n_rows // 40) < 0.4, 40)
    return level + scale * np.where(wild, 3.0, 1.0) * rng.standard_normal(wild.size)


VOLATILITY = {"n_regimes": 2, "switching_variance": True, "random_state": 0, "n_starts": 4}


@pytest.mark.parametrize(("scale", "level"), [(1e-5, 0.0), (1.0, 1e6), (1e9, -1e10)])
def test_any_scale_of_y_is_the_same_problem(scale, level):
    base = MarkovSwitching(**VOLATILITY).fit(two_regimes())
    moved = MarkovSwitching(**VOLATILITY).fit(two_regimes(scale=scale, level=level))
    shift = base.n_obs * np.log(scale)
    np.testing.assert_allclose(moved.loglikelihood + shift, base.loglikelihood, rtol=1e-6)
    np.testing.assert_allclose(moved.transition, base.transition, rtol=0, atol=1e-4)
    expected = base.params["sigma2[1]"] * scale**2
    np.testing.assert_allclose(moved.params["sigma2[1]"], expected, rtol=1e-4)


def test_regimes_are_ordered_by_scale_then_mean():
    found = MarkovSwitching(**VOLATILITY).fit(two_regimes())
    assert found.params["sigma2[0]"] < found.params["sigma2[1]"]
    y = np.concatenate([np.full(60, 3.0), np.full(60, -3.0)])
    y += np.random.default_rng(0).standard_normal(120)
    levels = MarkovSwitching(2, random_state=0).fit(y)
    assert levels.params["const[0]"] < levels.params["const[1]"]


def test_one_regime_is_least_squares():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((200, 2))
    y = 0.3 + x @ [1.0, -2.0] + 0.5 * rng.standard_normal(200)
    found = MarkovSwitching(1).fit(y, x)
    design = np.column_stack([np.ones(200), x])
    coef = np.linalg.lstsq(design, y, rcond=None)[0]
    residual = y - design @ coef
    np.testing.assert_allclose(found.params[["const[0]", "x1[0]", "x2[0]"]], coef, rtol=1e-8)
    np.testing.assert_allclose(found.params["sigma2"], (residual**2).mean(), rtol=1e-6)
    error = np.sqrt(found.params["sigma2"] * np.linalg.inv(design.T @ design)[1, 1])
    np.testing.assert_allclose(found.std_errors["x1[0]"], error, rtol=1e-4)


def test_t_likelihood_finds_the_degrees_of_freedom():
    y = np.random.default_rng(2).standard_t(5, 4000)
    found = MarkovSwitching(1, likelihood="t").fit(y)
    np.testing.assert_allclose(found.params["dof"], 5, rtol=0.2)
    np.testing.assert_allclose(found.params["sigma2"], 1, rtol=0.1)


def test_common_coefficients_and_intercept_form():
    rng = np.random.default_rng(3)
    regime = np.repeat([0, 1, 0, 1], 100)
    y = np.zeros(400)
    for t in range(1, 400):
        y[t] = (-1.0, 2.0)[regime[t]] + 0.5 * y[t - 1] + 0.3 * rng.standard_normal()
    found = MarkovSwitching(2, order=1, form="intercept", random_state=0, n_starts=4).fit(y)
    np.testing.assert_allclose(found.params["ar.L1"], 0.5, rtol=0, atol=0.05)
    np.testing.assert_allclose(found.params["const[1]"], 2.0, rtol=0, atol=0.2)
    truth = regime[1:]
    assert (found.viterbi_path.to_numpy() == truth).mean() > 0.98


def test_missing_observations_are_left_out_of_the_likelihood():
    y = two_regimes()
    holes = y.copy()
    holes[50:60] = np.nan
    found = MarkovSwitching(**VOLATILITY).fit(holes)
    assert found.n_obs == y.size - 10
    rows = found.loglikelihood_rows.to_numpy()
    assert (rows[50:60] == 0).all()
    probs = found.filtered_probs.to_numpy()
    ahead = probs[49] @ np.linalg.matrix_power(found.transition, 10)
    np.testing.assert_allclose(probs[59], ahead, rtol=1e-10)
    lagged = MarkovSwitching(2, order=2, random_state=0, n_starts=3).fit(holes)
    assert lagged.n_obs == y.size - 2 - 12


def test_many_series_equal_single_fits():
    ys = np.stack([two_regimes(seed=s) for s in range(4)])
    ys[2, 5] = np.nan
    model = MarkovSwitching(2, switching_variance=True, random_state=0)
    together = model.fit_many(ys)
    for y, one in zip(ys, together, strict=True):
        alone = model.fit(y)
        np.testing.assert_allclose(one.loglikelihood, alone.loglikelihood, rtol=0, atol=1e-4)
        np.testing.assert_allclose(one.std_errors, alone.std_errors, rtol=1e-2)


def test_the_same_seed_gives_the_same_fit():
    first, second = (MarkovSwitching(**VOLATILITY).fit(two_regimes()) for _ in range(2))
    pd.testing.assert_series_equal(first.params, second.params)


def test_warm_refit_meets_the_cold_one():
    y = two_regimes(800)
    before = MarkovSwitching(**VOLATILITY).fit(y[:700])
    warm = MarkovSwitching(**VOLATILITY).fit(y, start=before)
    by_name = MarkovSwitching(**VOLATILITY).fit(y, start=before.params)
    cold = MarkovSwitching(**VOLATILITY).fit(y)
    np.testing.assert_allclose(warm.loglikelihood, cold.loglikelihood, rtol=0, atol=1e-4)
    np.testing.assert_allclose(by_name.loglikelihood, cold.loglikelihood, rtol=0, atol=1e-4)


def test_sticky_prior_lengthens_stays_and_move_prior_leaves_no_boundary():
    y = two_regimes(seed=5)
    plain = MarkovSwitching(**VOLATILITY).fit(y)
    sticky = MarkovSwitching(**VOLATILITY, sticky_prior=200.0).fit(y)
    assert np.diag(sticky.transition).min() > np.diag(plain.transition).min()
    assert sticky.loglikelihood <= plain.loglikelihood + 1e-6
    moving = MarkovSwitching(**{**VOLATILITY, "n_regimes": 3}, move_prior=1.0).fit(y)
    assert moving.transition.min() > 1e-4


def test_given_and_estimated_start():
    y = two_regimes()
    given = MarkovSwitching(**VOLATILITY, initial=[0.0, 1.0]).fit(y)
    np.testing.assert_allclose(given.predicted_probs.iloc[0], [0.0, 1.0], rtol=0, atol=1e-12)
    free = MarkovSwitching(**VOLATILITY, initial="estimated").fit(y)
    stationary = MarkovSwitching(**VOLATILITY).fit(y)
    assert free.loglikelihood >= stationary.loglikelihood - 1e-4


def test_a_spurious_spike_is_named():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(150)
    y[40:46] = 0.123456789  # six identical rows: a variance of zero explains them perfectly
    with pytest.warns(RegimeWarning, match="spurious spike"):
        found = MarkovSwitching(2, switching_variance=True, random_state=0).fit(y)
    assert any("variance prior" in note for note in found.notes)
    tame = MarkovSwitching(2, switching_variance=True, variance_prior=5.0, random_state=0).fit(y)
    assert not any("spurious" in note for note in tame.notes)


def test_a_regime_of_identical_rows_counts_them_whole():
    y = np.random.default_rng(0).standard_normal(300)
    y[100:180] = 0.0  # a rate that did not move
    with pytest.warns(RegimeWarning, match=r"at its floor, on 80 rows: use"):
        MarkovSwitching(2, switching_variance=True, random_state=0).fit(y)


@pytest.mark.parametrize(
    ("y", "options", "error"),
    [
        (np.full(100, 2.5), {}, DataError),
        (np.zeros(100), {"trend": "n"}, DataError),
        (np.array([1.0, 2.0]), {}, TooFewRowsError),
        (np.array([]), {}, TooFewRowsError),
        (np.full(50, np.nan), {}, TooFewRowsError),
        (np.arange(8.0), {"n_regimes": 6}, TooFewRowsError),
        (np.array([1.0, np.inf] * 50), {}, InvalidInputError),
        (np.zeros((10, 3)), {}, InvalidInputError),
        (np.arange(50.0), {"n_regimes": 0}, InvalidInputError),
        (np.arange(50.0), {"order": -1}, InvalidInputError),
        (np.arange(50.0), {"form": "means"}, InvalidInputError),
        (np.arange(50.0), {"likelihood": "cauchy"}, InvalidInputError),
        (np.arange(50.0), {"initial": [0.5, 0.6]}, InvalidInputError),
        (np.arange(50.0), {"sticky_prior": -1.0}, InvalidInputError),
        (np.arange(50.0), {"trend": "ct"}, DataError),
    ],
)
def test_unusable_input_is_a_typed_error(y, options, error):
    with pytest.raises(error) as caught:
        MarkovSwitching(**{"n_regimes": 2, **options}).fit(y)
    assert isinstance(caught.value, RegimeslotError)


def test_bad_regressors_are_named():
    y = two_regimes()
    x = np.random.default_rng(0).standard_normal((y.size, 2))
    holes = x.copy()
    holes[7, 1] = np.nan
    with pytest.raises(InvalidInputError, match="row 7"):
        MarkovSwitching().fit(y, holes)
    with pytest.raises(InvalidInputError, match="'x3' is a linear combination"):
        MarkovSwitching().fit(y, np.column_stack([x, x.sum(axis=1)]))
    with pytest.raises(InvalidInputError, match="'x1' is constant"):
        MarkovSwitching().fit(y, np.ones(y.size))
    with pytest.raises(InvalidInputError, match="one row per observation"):
        MarkovSwitching().fit(y, x[:-1])
    with pytest.raises(InvalidInputError, match="params lack"):
        MarkovSwitching().evaluate(y, {"const[0]": 1.0})


@pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")
def test_random_shapes_never_end_in_a_linear_algebra_error():
    rng = np.random.default_rng(7)
    for n_rows in (3, 8, 15, 40):
        for k in (1, 2, 4):
            y = np.round(rng.standard_normal(n_rows), 1)
            model = MarkovSwitching(k, switching_variance=True, n_starts=2, random_state=0)
            try:
                found = model.fit(y)
            except RegimeslotError:
                continue
            assert np.isfinite(found.loglikelihood)
            assert found.std_errors.size == found.params.size


def test_a_fit_imports_neither_torch_nor_statsmodels():
    code = (
        "import sys, numpy as np\n"
        "from regimeslot.markov import MarkovSwitching\n"
        "y = np.random.default_rng(0).standard_normal(60)\n"
        "MarkovSwitching(1).fit(y).forecast(2)\n"
        "bad = [m for m in ('torch', 'statsmodels', 'matplotlib', 'sklearn') if m in sys.modules]\n"
        "sys.exit(', '.join(bad) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
