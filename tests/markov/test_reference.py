"""Published results, and equality with statsmodels at its own parameters."""

import warnings

import numpy as np
import pytest

import regimeslot.markov.reference as reference
from regimeslot.errors import BadFileError
from regimeslot.markov import MarkovSwitching
from regimeslot.markov.reference import CASES, case_data, fit_case, reference_table


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.source}: {case.name}")
def test_published_log_likelihood_and_parameters(case, published):
    found = fit_case(case, published, seed=3)
    gap = found.loglikelihood - case.log_likelihood
    assert gap > -1e-4
    assert case.at_least or gap < 1e-4
    for name, value in case.parameters.items():
        np.testing.assert_allclose(found.params[name], value, rtol=0, atol=2e-5, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.source}: {case.name}")
def test_every_one_of_20_seeds(case, published):
    values = np.array([fit_case(case, published, seed).loglikelihood for seed in range(20)])
    assert values.min() > case.log_likelihood - 1e-4
    if case.model["n_regimes"] == 3:
        assert (values > -180.806).sum() >= 15


def test_durations_as_published(published):
    hamilton = fit_case(CASES[0], published)
    np.testing.assert_allclose(hamilton.expected_durations, [4.07604793, 10.42589261], rtol=1e-4)
    eviews = fit_case(CASES[2], published)
    np.testing.assert_allclose(sorted(eviews.expected_durations), [1.863513, 6.883477], rtol=1e-4)


def test_boundary_and_nonstationary_regime_are_named(published):
    funds = fit_case(CASES[7], published, seed=0)
    assert any("boundary optimum: p[2->0] = 0" in note for note in funds.notes)
    assert np.isnan(funds.std_errors["p[2->0]"])
    others = funds.std_errors.drop("p[2->0]")
    assert np.isfinite(others).all()
    gnp = fit_case(CASES[1], published)
    assert any("nonstationary regime" in note and "1.043" in note for note in gnp.notes)
    assert "nonstationary" in gnp.summary()


def statsmodels_fit(case, data):
    import statsmodels.api as sm

    y, exog, tvtp = case_data(case, data)
    options = {"k_regimes": case.model["n_regimes"], "trend": case.model.get("trend", "c")}
    options["switching_variance"] = case.model.get("switching_variance", False)
    if tvtp is not None:
        options["exog_tvtp"] = np.column_stack([np.ones(y.size), tvtp])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if "order" in case.model:
            switching = case.model.get("switching_ar", False)
            model = sm.tsa.MarkovAutoregression(
                y, order=case.model["order"], switching_ar=switching, **options
            )
        else:
            model = sm.tsa.MarkovRegression(y, exog=exog, **options)
        start = None
        if tvtp is not None:
            start = [4.36, -1.65, 1.77, 0.99, 0.52, -0.87, 0.48, 0.19, 0.08, 0.11, 0.12]
        found = model.fit(start)
        return found, found.bse


INTERIOR = [CASES[i] for i in (0, 2, 3, 4, 6, 8, 9)]


@pytest.mark.slow
@pytest.mark.parametrize("case", INTERIOR, ids=lambda case: f"{case.source}: {case.name}")
def test_equal_to_statsmodels_at_its_own_parameters(case, published):
    theirs, errors = statsmodels_fit(case, published)
    y, exog, tvtp = case_data(case, published)
    ours = MarkovSwitching(**case.model).evaluate(y, theirs.params, exog, tvtp)
    np.testing.assert_allclose(ours.loglikelihood, theirs.llf, rtol=1e-10)
    for name in ("filtered", "smoothed"):
        expected = np.asarray(getattr(theirs, f"{name}_marginal_probabilities"))
        expected = expected if expected.shape[0] == len(ours.index) else expected.T
        found = getattr(ours, f"{name}_probs").to_numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-8)
    np.testing.assert_allclose(ours.std_errors, errors, rtol=1e-3)


def test_statsmodels_defaults_at_hamilton(published):
    """The published parameters give the published likelihood without any fit."""
    names = CASES[0].parameters
    found = MarkovSwitching(order=4).evaluate(published["rgnp"], names)
    np.testing.assert_allclose(found.loglikelihood, -181.26339, rtol=0, atol=1e-4)


def test_reference_table_has_every_case(monkeypatch):
    monkeypatch.setattr(reference, "CASES", CASES[4:7])
    table = reference_table()
    assert table["ok"].all()
    assert list(table["case"]) == [case.name for case in CASES[4:7]]


def test_missing_reference_data_are_said(monkeypatch, tmp_path):
    monkeypatch.setattr(reference, "_FOLDER", reference.Path("nowhere"))
    with pytest.raises(BadFileError, match="reinstall statsmodels"):
        reference.statsmodels_data()
