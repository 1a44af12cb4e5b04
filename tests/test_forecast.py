"""MixtureForecast against closed forms, scipy, arch, numerical integration and its own laws."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from scipy.integrate import quad

from regimeslot.errors import InvalidInputError
from regimeslot.forecast import MixtureForecast

LEVELS = np.array([1e-6, 0.01, 0.05, 0.3, 0.5, 0.75, 0.99, 1 - 1e-6])


def random_mixture(
    seed: int, n: int = 5, k: int = 3, *, skew: bool = True, dof: tuple[float, float] = (2.5, 12.0)
) -> MixtureForecast:
    """Components of unlike width and place, some Gaussian."""
    rng = np.random.default_rng(seed)
    nu = rng.uniform(*dof, (n, k))
    nu[rng.uniform(size=(n, k)) < 0.2] = np.inf
    return MixtureForecast(
        rng.dirichlet(np.ones(k), n),
        rng.normal(size=(n, k)),
        np.exp(rng.normal(size=(n, k))),
        nu,
        rng.uniform(-0.6, 0.6, (n, k)) if skew else None,
    )


def integral(function, *breaks: float) -> float:
    edges = [-np.inf, *sorted(breaks), np.inf]
    pieces = itertools.pairwise(edges)
    return sum(quad(function, a, b, limit=300, epsabs=1e-12, epsrel=1e-11)[0] for a, b in pieces)


def brute_crps(row: MixtureForecast, y: float) -> float:
    breaks = {float(y), *row.locations[0].tolist()}
    return integral(lambda x: (float(row.cdf(x)[0]) - (y <= x)) ** 2, *breaks)


@st.composite
def mixtures(draw) -> MixtureForecast:
    """Rows of any scale from 1e-9 to 1e6, far apart or not, with zero weights and tiny dof."""
    k = draw(st.integers(1, 4))
    unit = 10.0 ** draw(st.integers(-9, 6))
    number = st.floats(-1.0, 1.0)
    weights = np.array([draw(st.sampled_from([0.0, 0.01, 0.3, 1.0])) for _ in range(k)])
    weights[draw(st.integers(0, k - 1))] += 0.5
    locations = [draw(number) * unit * draw(st.sampled_from([0, 1, 50])) for _ in range(k)]
    scales = [unit * 10.0 ** (2.0 * draw(number)) for _ in range(k)]
    dof = [draw(st.sampled_from([0.3, 1.0, 2.2, 5.0, 60.0, np.inf])) for _ in range(k)]
    skew = [0.9 * draw(number) for _ in range(k)]
    return MixtureForecast(weights / weights.sum(), locations, scales, dof, skew)


class TestOneComponent:
    @pytest.mark.parametrize("dof", [0.7, 1.0, 2.5, 30.0, 1e7, np.inf])
    def test_is_scipy(self, dof: float) -> None:
        law = stats.norm(0.3, 2.0) if np.isinf(dof) else stats.t(dof, 0.3, 2.0)
        forecast = MixtureForecast(1.0, 0.3, 2.0, dof)
        y = np.array([[-900.0, -3.0, 0.3, 1.0, 40.0]])
        assert_allclose(forecast.logpdf(y)[0], law.logpdf(y[0]), rtol=1e-9)
        assert_allclose(forecast.pdf(y)[0], law.pdf(y[0]), rtol=1e-8, atol=1e-300)
        assert_allclose(forecast.cdf(y)[0], law.cdf(y[0]), rtol=1e-8, atol=1e-300)
        assert_allclose(forecast.quantile(LEVELS)[0], law.ppf(LEVELS), rtol=1e-8, atol=1e-12)
        assert_allclose(forecast.interval(0.8)[0], law.interval(0.8), rtol=1e-9)
        assert_allclose(forecast.probability_of_loss()[0], law.cdf(0.0), rtol=1e-12)

    @pytest.mark.parametrize(("eta", "skew"), [(4.0, 0.0), (4.0, -0.3), (12.5, 0.6), (2.6, 0.9)])
    def test_is_hansens_skewed_t_of_arch(self, eta: float, skew: float) -> None:
        """Hansen (1994): with constants a, b, c the mode is -a/b and the scale s / b."""
        from arch.univariate import SkewStudent

        law, parameters = SkewStudent(), np.array([eta, skew])
        c = np.exp(stats.t(eta).logpdf(0.0)) * np.sqrt(eta / (eta - 2.0))
        a = 4.0 * skew * c * (eta - 2.0) / (eta - 1.0)
        b = np.sqrt(1.0 + 3.0 * skew**2 - a**2)
        forecast = MixtureForecast(1.0, -a / b, np.sqrt((eta - 2.0) / eta) / b, eta, skew)
        y = np.linspace(-6.0, 6.0, 25)
        log_density = law.loglikelihood(parameters, y, np.ones_like(y), individual=True)
        assert_allclose(forecast.logpdf(y[None])[0], log_density, rtol=1e-10, atol=1e-12)
        assert_allclose(forecast.cdf(y[None])[0], law.cdf(y, parameters), rtol=1e-9)
        levels = LEVELS[1:-1]
        assert_allclose(
            forecast.quantile(levels)[0], law.ppf(levels, parameters), rtol=1e-7, atol=1e-9
        )
        assert_allclose(forecast.mean(), [0.0], atol=1e-12)
        assert_allclose(forecast.var(), [1.0], rtol=1e-12)

    def test_from_std_has_that_std(self) -> None:
        forecast = MixtureForecast.from_std([0.5, 0.5], 1.0, 0.02, [4.0, np.inf])
        assert_allclose(forecast.std(), [0.02], rtol=1e-14)
        assert_allclose(forecast.scales[0], [0.02 / np.sqrt(2.0), 0.02], rtol=1e-14)
        with pytest.raises(InvalidInputError, match="dof must be above 2"):
            MixtureForecast.from_std(1.0, 0.0, 1.0, 2.0)


class TestMoments:
    @pytest.mark.parametrize("seed", range(4))
    def test_against_integration(self, seed: int) -> None:
        forecast = random_mixture(seed, n=1, dof=(5.0, 12.0))
        mean, variance = forecast.mean()[0], forecast.var()[0]
        breaks = forecast.locations[0].tolist()
        mass = integral(lambda y: forecast.pdf(y)[0], *breaks)
        first = integral(lambda y: y * forecast.pdf(y)[0], *breaks)
        second = integral(lambda y: (y - mean) ** 2 * forecast.pdf(y)[0], *breaks)
        assert_allclose([mass, first, second], [1.0, mean, variance], rtol=1e-7, atol=1e-9)

    @pytest.mark.parametrize(
        ("dof", "weight", "mean", "variance"),
        [
            (1.0, 0.5, np.nan, np.nan),
            (1.5, 0.5, 0.0, np.inf),
            (2.0, 0.5, 0.0, np.inf),
            (3.0, 0.5, 0.0, 2.0),
            (0.5, 0.0, 0.0, 1.0),
        ],
    )
    def test_where_they_do_not_exist(
        self, dof: float, weight: float, mean: float, variance: float
    ) -> None:
        forecast = MixtureForecast([1.0 - weight, weight], 0.0, 1.0, [np.inf, dof])
        assert_allclose(forecast.mean(), [mean], atol=0)
        assert_allclose(forecast.var(), [variance], rtol=1e-14)

    def test_samples_follow_the_law(self) -> None:
        forecast = random_mixture(3, n=4)
        draws = forecast.sample(4000, random_state=1)
        assert draws.shape == (4, 4000)
        uniform = forecast.cdf(draws)
        for row in uniform:
            assert stats.kstest(row, "uniform").pvalue > 1e-3
        assert_array_equal(draws, forecast.sample(4000, random_state=1))
        assert_array_equal(draws, forecast.sample(4000, np.random.default_rng(1)))

    def test_sampling_never_picks_a_component_without_weight(self) -> None:
        forecast = MixtureForecast([0.3, 0.7, 0.0], [0.0, 0.0, 1e9], 1.0, np.inf)
        assert np.abs(forecast.sample(5000, 0)).max() < 100.0


class TestDensity:
    def test_underflow_is_minus_infinity_not_nan(self) -> None:
        forecast = MixtureForecast([0.5, 0.5], 0.0, 1e-9, np.inf)
        assert_array_equal(forecast.logpdf(1e300), [-np.inf])
        assert_array_equal(forecast.pdf(1e300), [0.0])

    def test_far_points_do_not_overflow(self) -> None:
        forecast = MixtureForecast([0.4, 0.6, 0.0], 0.0, 1e-9, [3.0, np.inf, 0.2])
        expected = np.log(0.4) + stats.t(3.0).logpdf(1e5) + np.log(1e9)
        assert_allclose(forecast.logpdf(1e-4), [expected], rtol=1e-12)
        slope = forecast.logpdf(1e291) - forecast.logpdf(1e290)
        assert_allclose(slope, [-4.0 * np.log(10.0)], rtol=1e-9)

    def test_power_law_beyond_the_range_of_squares(self) -> None:
        """The Cauchy tail is 1 / (pi y)."""
        forecast = MixtureForecast(1.0, 0.0, 1.0, 1.0)
        assert_allclose(forecast.cdf(-1e200), [1e-200 / np.pi], rtol=1e-9)
        tiny = MixtureForecast(1.0, 0.0, 1.0, 0.05)
        y = np.array([[-1e160, -1e99, -1.001e100]])
        slope = np.diff(np.log(tiny.cdf(y)[0])) / np.diff(np.log(-y[0]))
        assert_allclose(slope, -0.05, rtol=1e-6)

    def test_shapes_of_y(self) -> None:
        forecast = random_mixture(1, n=3)
        y = np.arange(6.0).reshape(3, 2)
        both = forecast.cdf(y)
        assert both.shape == (3, 2)
        assert_array_equal(forecast.cdf(y[:, 1]), both[:, 1])
        assert_array_equal(forecast.cdf(4.0), forecast.cdf(np.full(3, 4.0)))
        for wrong in (np.zeros(2), np.zeros((2, 3)), np.zeros((3, 1, 1))):
            with pytest.raises(InvalidInputError, match="y must be a number"):
                forecast.crps(wrong)

    def test_missing_y_stays_missing(self) -> None:
        forecast = random_mixture(1, n=2)
        y = np.array([np.nan, 0.0])
        for score in (forecast.logpdf, forecast.cdf, forecast.crps):
            assert_array_equal(np.isnan(score(y)), [True, False])


class TestQuantile:
    @settings(max_examples=60, deadline=None)
    @given(mixtures(), st.floats(1e-7, 1.0 - 1e-7))
    def test_inverts_the_cdf(self, forecast: MixtureForecast, p: float) -> None:
        q = forecast.quantile(p)
        # in a spike far from zero the next float is already across p
        below, above = np.nextafter(q, -np.inf), np.nextafter(q, np.inf)
        assert forecast.cdf(below)[0] <= p + 1e-8
        assert forecast.cdf(above)[0] >= p - 1e-8

    def test_spike_in_a_wide_component(self) -> None:
        forecast = MixtureForecast(
            [0.2, 0.6, 0.2], [-7.0, 5e-4, 1e6], [1.0, 1e-9, 1e6], [0.1, 5, 3]
        )
        q = forecast.quantile(LEVELS)
        assert_allclose(forecast.cdf(q)[0], LEVELS, rtol=0, atol=1e-8)

    @pytest.mark.parametrize("scale", [1e-9, 1e6])
    def test_any_unit(self, scale: float) -> None:
        unit = random_mixture(5)
        scaled = MixtureForecast(
            unit.weights, scale * unit.locations, scale * unit.scales, unit.dof, unit.skew
        )
        assert_allclose(scaled.quantile(LEVELS), scale * unit.quantile(LEVELS), rtol=1e-7)
        assert_allclose(scaled.cdf(scaled.quantile(LEVELS)) - LEVELS, 0.0, atol=1e-10)

    def test_far_tails_keep_relative_accuracy(self) -> None:
        forecast = random_mixture(6, n=20)
        assert_allclose(forecast.cdf(forecast.quantile(1e-12)), 1e-12, rtol=1e-7)

    def test_upper_tail_is_as_accurate_as_the_lower(self) -> None:
        rng = np.random.default_rng(7)
        places, widths = rng.normal(size=(2, 4, 3))
        left = MixtureForecast([0.2, 0.3, 0.5], places, np.exp(widths), [3.0, 9.0, np.inf])
        right = MixtureForecast([0.2, 0.3, 0.5], -places, np.exp(widths), [3.0, 9.0, np.inf])
        assert_allclose(right.quantile(1.0 - 2.0**-40), -left.quantile(2.0**-40), rtol=1e-8)

    def test_component_quantiles_many_powers_of_ten_apart(self) -> None:
        """Halving such a bracket in the middle would take a thousand steps."""
        forecast = MixtureForecast([0.999, 0.001], 0.0, [1e-9, 1.0], [5.0, 0.01])
        q = forecast.quantile([0.01, 0.3])
        assert_allclose(forecast.cdf(q), [[0.01, 0.3]], rtol=0, atol=1e-8)
        assert np.all(np.abs(q) < 1e-8)

    def test_gap_between_components(self) -> None:
        forecast = MixtureForecast([0.5, 0.5], [-100.0, 100.0], 1e-3, np.inf)
        assert_allclose(forecast.cdf(forecast.quantile(0.5)), 0.5, atol=1e-9)
        assert_allclose(forecast.quantile([0.25, 0.75])[0], [-100.0, 100.0], rtol=1e-12)

    def test_ends_and_shapes(self) -> None:
        forecast = random_mixture(2, n=3)
        assert_array_equal(forecast.quantile([0.0, 1.0]), [[-np.inf, np.inf]] * 3)
        assert forecast.quantile(0.3).shape == (3,)
        assert forecast.quantile([0.3]).shape == (3, 1)
        assert np.all(np.diff(forecast.quantile(LEVELS), axis=1) > 0)
        for wrong in (-0.1, 1.1, np.nan, [[0.5]]):
            with pytest.raises(InvalidInputError, match="p must be"):
                forecast.quantile(wrong)

    def test_beyond_the_largest_float(self) -> None:
        assert MixtureForecast(1.0, 0.0, 1.0, 0.01).quantile(1e-6)[0] <= -1e308


class TestRisk:
    def test_closed_forms(self) -> None:
        """McNeil, Frey and Embrechts (2005), examples 2.18 and 2.19."""
        level, q = 0.01, stats.t(4.0).ppf(0.01)
        normal = MixtureForecast(1.0, 0.0, 1.0, np.inf)
        assert_allclose(
            normal.expected_shortfall(level), stats.norm.pdf(stats.norm.ppf(level)) / level
        )
        student = MixtureForecast(1.0, 0.0, 1.0, 4.0)
        expected = stats.t(4.0).pdf(q) / level * (4.0 + q**2) / 3.0
        assert_allclose(student.expected_shortfall(level), [expected], rtol=1e-9)
        assert_allclose(student.value_at_risk(level), [-q], rtol=1e-9)

    @pytest.mark.parametrize("level", [0.01, 0.05, 0.6])
    @pytest.mark.parametrize("seed", range(4))
    def test_shortfall_against_integration(self, seed: int, level: float) -> None:
        forecast = random_mixture(seed, n=1)
        q = float(forecast.quantile(level)[0])
        edges = [-np.inf, *sorted(m for m in forecast.locations[0] if m < q), q]
        mean = sum(
            quad(lambda y: y * forecast.pdf(y)[0], a, b, limit=300, epsabs=1e-12)[0]
            for a, b in itertools.pairwise(edges)
        )
        assert_allclose(forecast.expected_shortfall(level), [-mean / level], rtol=1e-6, atol=1e-8)

    def test_shapes_and_infinite_shortfall(self) -> None:
        forecast = MixtureForecast([[0.5, 0.5], [1.0, 0.0]], 0.0, 1.0, [np.inf, 0.9])
        both = forecast.expected_shortfall([0.01, 0.05])
        assert both.shape == (2, 2)
        assert_array_equal(np.isinf(both), [[True, True], [False, False]])
        assert_array_equal(forecast.expected_shortfall(0.05), both[:, 1])
        assert np.all(both[1] > forecast.value_at_risk([0.01, 0.05])[1])
        with pytest.raises(InvalidInputError, match="level must be"):
            forecast.value_at_risk(1.0)


class TestCrps:
    @pytest.mark.parametrize("dof", [1.4, 3.0, 40.0, np.inf])
    def test_one_component_is_scoringrules(self, dof: float) -> None:
        import scoringrules

        y = np.array([[-50.0, -1.0, 0.3, 2.0]])
        forecast = MixtureForecast(1.0, 0.3, 2.0, dof)
        if np.isinf(dof):
            expected = scoringrules.crps_normal(y[0], 0.3, 2.0, backend="numpy")
        else:
            expected = scoringrules.crps_t(y[0], dof, 0.3, 2.0, backend="numpy")
        assert_allclose(forecast.crps(y)[0], expected, rtol=1e-10)

    @pytest.mark.parametrize("dof", [0.8, 0.9995, 1.0, 1.2, 4.0, np.inf])
    @pytest.mark.parametrize("skew", [0.0, -0.7])
    def test_one_component_against_integration(self, dof: float, skew: float) -> None:
        forecast = MixtureForecast(1.0, 0.1, 0.5, dof, skew)
        for y in (-3.0, 0.1, 0.4):
            assert_allclose(forecast.crps(y), [brute_crps(forecast, y)], rtol=2e-6)

    @pytest.mark.parametrize("skew", [False, True])
    def test_mixtures_against_integration(self, skew: bool) -> None:
        forecast = random_mixture(8, n=6, k=4, skew=skew)
        y = np.array([-3.0, -0.5, 0.0, 0.2, 1.0, 30.0])
        expected = [brute_crps(row, point) for row, point in zip(forecast, y, strict=True)]
        assert_allclose(forecast.crps(y), expected, rtol=1e-7)

    def test_gaussian_mixture_against_integration(self) -> None:
        rng = np.random.default_rng(2)
        weights = rng.dirichlet(np.ones(3), 4)
        forecast = MixtureForecast(weights, rng.normal(size=(4, 3)), [0.1, 1.0, 5.0], np.inf)
        expected = [brute_crps(row, 0.7) for row in forecast]
        assert_allclose(forecast.crps(0.7), expected, rtol=1e-8)

    def test_components_of_unlike_scale_and_place(self) -> None:
        """The same law once as two equal components (quadrature) and once as one (closed form)."""
        for scale in (1e-9, 1.0, 1e6):
            for skew in (0.0, 0.5):
                one = MixtureForecast(1.0, 3.0, scale, 2.5, skew)
                two = MixtureForecast([0.3, 0.7], 3.0, scale, 2.5, skew)
                y = 3.0 + scale * np.array([[-1e4, -2.0, 0.0, 0.01, 3.0, 1e5]])
                assert_allclose(two.crps(y), one.crps(y), rtol=1e-7)

    @pytest.mark.parametrize("dof", [0.6, 0.95, 1.3])
    def test_tails_beyond_the_panels_count(self, dof: float) -> None:
        one = MixtureForecast(1.0, 0.0, 1.0, dof, 0.2)
        two = MixtureForecast([0.3, 0.7], 0.0, 1.0, dof, 0.2)
        assert_allclose(two.crps([[-2.0, 0.4]]), one.crps([[-2.0, 0.4]]), rtol=1e-7)

    def test_spikes_far_apart_are_a_discrete_law(self) -> None:
        """For a law on points, CRPS = E|X - y| - E|X - X'| / 2."""
        forecast = MixtureForecast([0.2, 0.5, 0.3], [-4.0, 1.0, 2000.0], 1e-9, [3.0, np.inf, 5.0])
        points, share = forecast.locations[0], forecast.weights[0]
        spread = share @ np.abs(points[:, None] - points) @ share
        for y in (-10.0, 0.0, 1.0, 1500.0, 2000.0 + 1e-12, 1e7):
            expected = share @ np.abs(points - y) - 0.5 * spread
            assert_allclose(forecast.crps(y), [expected], rtol=1e-7)

    def test_heavy_and_wide_beside_narrow(self) -> None:
        """A far tail that dominates must not hide what the narrow components add."""
        forecast = MixtureForecast(
            [0.0043, 0.7017, 0.294],
            [0.0, -0.03, 10.36],
            [8.6e4, 0.25, 2e-6],
            [0.91, 29.0, np.inf],
            [0.0, 0.32, 0.0],
        )
        y = 0.53
        graded = [
            m + side * s * 10.0**j
            for m, s in zip(forecast.locations[0], forecast.scales[0], strict=True)
            for j in range(-1, 13)
            for side in (-1, 0, 1)
        ]
        expected = integral(lambda x: (float(forecast.cdf(x)[0]) - (y <= x)) ** 2, y, *graded)
        assert_allclose(forecast.crps(y), [expected], rtol=1e-6)

    def test_degenerate_law_is_the_absolute_error(self) -> None:
        forecast = MixtureForecast([0.5, 0.5], 2.0, 1e-12, [4.0, 7.0])
        assert_allclose(forecast.crps([[-1.0, 2.5]]), [[3.0, 0.5]], rtol=1e-9)

    def test_extremes(self) -> None:
        forecast = MixtureForecast([[1.0, 0.0], [0.5, 0.5]], 0.0, 1.0, [3.0, 0.5])
        assert_array_equal(np.isinf(forecast.crps(0.0)), [False, True])
        assert_array_equal(forecast.crps(np.inf), [np.inf, np.inf])

    @settings(max_examples=25, deadline=None)
    @given(mixtures(), st.floats(-3.0, 3.0), st.floats(0.01, 100.0))
    def test_moves_with_the_unit(
        self, forecast: MixtureForecast, shift: float, unit: float
    ) -> None:
        """CRPS(a X + b, a y + b) = a CRPS(X, y); likewise quantiles, and the density by 1 / a."""
        shift *= float(forecast.scales.max())
        moved = MixtureForecast(
            forecast.weights,
            unit * forecast.locations + shift,
            unit * forecast.scales,
            forecast.dof,
            forecast.skew,
        )
        y = float(forecast.locations[0, 0]) + 0.7 * float(forecast.scales[0, 0])
        assert_allclose(moved.crps(unit * y + shift), unit * forecast.crps(y), rtol=1e-6)
        density = forecast.logpdf(y) - np.log(unit)
        assert_allclose(moved.logpdf(unit * y + shift), density, rtol=1e-6, atol=1e-6)
        assert_allclose(moved.cdf(unit * forecast.quantile(0.3) + shift), 0.3, atol=1e-7)

    def test_is_proper(self) -> None:
        truth = random_mixture(9, n=1)
        wrong = MixtureForecast(truth.weights, truth.locations + 0.3, truth.scales, truth.dof)
        y = truth.sample(1500, 0)
        assert truth.crps(y).mean() < wrong.crps(y).mean()
        assert truth.logpdf(y).mean() > wrong.logpdf(y).mean()


class TestRows:
    def test_broadcasting(self) -> None:
        forecast = MixtureForecast([0.5, 0.5], np.zeros((4, 1)), 1.0, [5.0, np.inf])
        assert (len(forecast), forecast.n_components) == (4, 2)
        assert all(array.shape == (4, 2) for array in forecast.parameters)
        assert len(MixtureForecast([0.5, 0.5], 0.0, 1.0, 5.0, index=list("abc"))) == 3

    def test_frozen(self) -> None:
        scales = np.ones((2, 1))
        forecast = MixtureForecast(1.0, 0.0, scales, 5.0)
        scales[:] = 7.0
        assert_array_equal(forecast.scales, 1.0)
        with pytest.raises(ValueError, match="read-only"):
            forecast.scales[0, 0] = 2.0
        with pytest.raises(AttributeError):
            forecast.scales = scales  # type: ignore[misc]

    def test_selection(self) -> None:
        dates = pd.date_range("2020-01-01", periods=5, name="Date")
        full = random_mixture(1)
        forecast = MixtureForecast(*full.parameters, index=dates, labels=("a", "b", "c"))
        mask = np.array([True, False, True, False, False])
        for rows, kept in ((slice(1, 3), [1, 2]), ([4, 0], [4, 0]), (mask, [0, 2]), (-1, [4])):
            part = forecast[rows]
            assert part.index is not None
            assert_array_equal(part.index, dates[kept])
            assert_array_equal(part.scales, forecast.scales[kept])
            assert part.labels == ("a", "b", "c")
        assert len(forecast[[]]) == 0
        assert forecast[[]].crps(0.0).shape == (0,)
        with pytest.raises(IndexError):
            forecast[5]
        with pytest.raises(InvalidInputError, match="rows must be"):
            forecast[np.zeros((2, 2), int)]

    def test_concat_restores_what_was_cut(self) -> None:
        full = random_mixture(1)
        forecast = MixtureForecast(
            *full.parameters, index=pd.Index(range(10, 15)), labels=tuple("abc")
        )
        joined = MixtureForecast.concat([forecast[:2], forecast[2:]])
        pd.testing.assert_frame_equal(joined.to_frame(), forecast.to_frame())
        with pytest.raises(InvalidInputError, match="number 1 has 2 components"):
            MixtureForecast.concat([forecast, MixtureForecast([0.5, 0.5], 0.0, 1.0, 3.0)])
        with pytest.raises(InvalidInputError, match="need an index"):
            MixtureForecast.concat(
                [forecast, MixtureForecast(*full.parameters, labels=tuple("abc"))]
            )
        with pytest.raises(InvalidInputError, match="one or more"):
            MixtureForecast.concat([])

    def test_dated_outcomes_must_have_the_dates(self) -> None:
        dates = pd.date_range("2020-01-01", periods=3)
        forecast = MixtureForecast(1.0, 0.0, 1.0, 5.0, index=dates)
        y = pd.Series([0.1, 0.2, 0.3], dates)
        assert_array_equal(forecast.logpdf(y), forecast.logpdf(y.to_numpy()))
        with pytest.raises(InvalidInputError, match="y must have the index of the forecast"):
            forecast.logpdf(y.shift(freq="D"))

    def test_repr(self) -> None:
        forecast = MixtureForecast([0.5, 0.5], 0.0, 1.0, 3.0, labels=("calm", "crisis"))
        assert repr(forecast) == "MixtureForecast(1 row, 2 components: calm, crisis)"


class TestPool:
    def test_is_the_average_density(self) -> None:
        one, two = random_mixture(1, k=2), random_mixture(2, k=3)
        pooled = MixtureForecast.pool([one, two], [0.2, 0.8])
        assert pooled.n_components == 5
        assert_allclose(pooled.pdf(0.3), 0.2 * one.pdf(0.3) + 0.8 * two.pdf(0.3), rtol=1e-12)
        per_row = MixtureForecast.pool([one, two], np.array([[0.2, 0.8]] * 5))
        assert_array_equal(per_row.weights, pooled.weights)

    def test_of_identical_forecasts_is_the_forecast(self) -> None:
        one = random_mixture(1)
        pooled = MixtureForecast.pool([one, one, one])
        assert_allclose(pooled.logpdf(0.3), one.logpdf(0.3), rtol=1e-12)
        assert_allclose(pooled.quantile(LEVELS), one.quantile(LEVELS), rtol=1e-7)
        assert_allclose(pooled.crps(0.3), one.crps(0.3), rtol=1e-7)
        assert_allclose(pooled.var(), one.var(), rtol=1e-12)

    def test_labels(self) -> None:
        one = MixtureForecast(1.0, 0.0, 1.0, 3.0, labels=("a",))
        two = MixtureForecast([0.5, 0.5], 0.0, 1.0, 3.0, labels=("b", "c"))
        assert MixtureForecast.pool([one, two]).labels == ("a", "b", "c")
        assert MixtureForecast.pool([one, MixtureForecast(1.0, 0.0, 1.0, 3.0)]).labels is None

    def test_faults(self) -> None:
        dates = pd.date_range("2020-01-01", periods=2)
        one = MixtureForecast(1.0, 0.0, 1.0, 3.0, index=dates)
        other = MixtureForecast(1.0, 0.0, 1.0, 3.0, index=dates.shift(1, "D"))
        for wrong in (other, MixtureForecast(np.ones((2, 1)), 0.0, 1.0, 3.0), one[:1]):
            with pytest.raises(InvalidInputError, match="same rows and the same index"):
                MixtureForecast.pool([one, wrong])
        for weights in ([0.5, 0.6], [1.5, -0.5], [1.0], [np.nan, 1.0]):
            with pytest.raises(InvalidInputError, match="pool weights"):
                MixtureForecast.pool([one, one], weights)


class TestFrame:
    @pytest.mark.parametrize("labels", [None, ("calm", "0"), ("x_1", "über lang\n")])
    @pytest.mark.parametrize("dated", [False, True])
    def test_round_trip_through_parquet(self, tmp_path, labels, dated: bool) -> None:
        full = random_mixture(7, n=6, k=2)
        index = pd.date_range("2024-01-02", periods=6, name="Date") if dated else None
        forecast = MixtureForecast(*full.parameters, index=index, labels=labels)
        frame = forecast.to_frame()
        frame.to_parquet(tmp_path / "forecast.parquet")
        for table in (frame, pd.read_parquet(tmp_path / "forecast.parquet")):
            back = MixtureForecast.from_frame(table)
            for got, expected in zip(back.parameters, forecast.parameters, strict=True):
                assert_array_equal(got, expected)
            assert back.labels == labels
            assert (back.index is None) == (index is None)
            if index is not None:
                assert back.index is not None
                assert back.index.equals(index)
                assert back.index.name == "Date"

    def test_columns(self) -> None:
        frame = MixtureForecast([0.5, 0.5], 0.0, 1.0, 3.0, labels=("calm", "crisis")).to_frame()
        assert list(frame.columns[:6]) == [
            "weight_0_calm",
            "location_0_calm",
            "scale_0_calm",
            "dof_0_calm",
            "skew_0_calm",
            "weight_1_crisis",
        ]

    def test_more_than_ten_components_keep_their_order(self) -> None:
        forecast = MixtureForecast(np.full(12, 1 / 12), np.arange(12.0), 1.0, 3.0)
        frame = forecast.to_frame()
        back = MixtureForecast.from_frame(frame[sorted(frame.columns)])
        assert_array_equal(back.locations, forecast.locations)

    def test_faults(self) -> None:
        frame = MixtureForecast([0.5, 0.5], 0.0, 1.0, 3.0).to_frame()
        with pytest.raises(InvalidInputError, match="dof_1 is missing"):
            MixtureForecast.from_frame(frame.drop(columns="dof_1"))
        with pytest.raises(InvalidInputError, match="'price'"):
            MixtureForecast.from_frame(frame.assign(price=1.0))
        with pytest.raises(InvalidInputError, match="same label"):
            MixtureForecast.from_frame(frame.rename(columns={"dof_1": "dof_1_x"}))
        with pytest.raises(InvalidInputError, match="two columns hold weight_0"):
            MixtureForecast.from_frame(frame.assign(weight_0_x=1.0))
        with pytest.raises(InvalidInputError, match="missing"):
            MixtureForecast.from_frame(pd.DataFrame())


class TestFaults:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"weights": [[0.5, 0.5], [1.5, -0.5]]}, r"weights must .* -0\.5.* row 1, component 1"),
            ({"weights": [[0.5, 0.5], [0.5, 0.4]]}, r"sum to 1 in each row, got .*0\.9.* in row 1"),
            ({"weights": [0.5, np.nan]}, "weights must be finite"),
            ({"locations": [0.0, np.inf]}, "locations must be finite.* row 0, component 1"),
            ({"scales": [0.0, 1.0]}, "scales must be finite and above 0.* component 0"),
            ({"scales": np.inf}, "scales must be finite"),
            ({"dof": [5.0, 0.0]}, "dof must be above 0.* component 1"),
            ({"dof": np.nan}, "dof must be above 0"),
            ({"skew": 1.0}, "skew must lie between -1 and 1"),
            ({"locations": np.zeros((3, 2))}, "must broadcast"),
            ({"locations": np.zeros((2, 2, 2))}, "must broadcast"),
            ({"scales": "wide"}, "scales must be numbers"),
            ({"index": [1, 2, 3]}, "3 rows of the index"),
            ({"labels": ("a",)}, "labels must be 2"),
            ({"labels": ("a", "")}, "labels must be 2"),
        ],
    )
    def test_the_message_names_the_culprit(self, change: dict, message: str) -> None:
        good = {"weights": [[0.5, 0.5]] * 2, "locations": 0.0, "scales": 1.0, "dof": 5.0}
        with pytest.raises(InvalidInputError, match=message):
            MixtureForecast(**(good | change))

    def test_sample_size_and_text(self) -> None:
        forecast = MixtureForecast(1.0, 0.0, 1.0, 5.0)
        with pytest.raises(InvalidInputError, match="size must be"):
            forecast.sample(-1)
        with pytest.raises(InvalidInputError, match="y must be numbers"):
            forecast.cdf("high")
