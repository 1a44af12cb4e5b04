import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regimeslot.reporting.palette import COLOURS, regime_classes
from regimeslot.reporting.shapes import histogram_shape, nice_ticks, stack_shape
from regimeslot.reporting.thin import decode, encode, encode_index, resolution
from regimeslot.reporting.words import (
    PERIODS,
    Unit,
    date,
    fixed,
    probability,
    share,
    signed,
    verdict,
    wrapped,
)


def test_dates_are_written_as_an_exchange_writes_them():
    assert date(pd.Timestamp("2023-01-02")) == "Mon 2 Jan 2023"
    assert date(pd.Timestamp("2023-01-02"), weekday=False) == "2 Jan 2023"
    assert date(17) == "17"


@pytest.mark.parametrize(
    ("transform", "typical", "value", "said"),
    [
        ("log-return", 0.007, 0.0123, "1.23 %"),
        ("log-return", 0.00003, 0.0000312, "0.0031 %"),
        ("diff", 0.1, -0.25, "-0.25 units"),
        ("level", 40.0, 1234.4, "1,234 units"),
        ("diff", 0.0, 1.0, "1.00 units"),
        ("log-return", 0.007, float("inf"), "n/a %"),
    ],
)
def test_units_give_the_digits_that_a_typical_move_deserves(transform, typical, value, said):
    assert Unit.of(transform, typical).text(value) == said


def test_no_minus_in_front_of_zero_and_no_certainty():
    assert signed(-0.00001) == "+0.0000"
    assert Unit.of("log-return", 0.007).number(-0.000001) == "0.00"
    assert probability(0.999) == "above 99 %"
    assert probability(0.001) == "below 1 %"
    assert probability(1.0) == "100 %"
    assert share(float("nan")) == signed(float("nan")) == "n/a"


def test_lines_break_between_words_alone():
    lines = wrapped(
        "How much of it is regimes is not known: add slots-sticky and slots-static.", 70
    )
    assert lines == [
        "How much of it is regimes is not known: add slots-sticky and",
        "slots-static.",
    ]


def test_huge_numbers_are_short():
    assert Unit.of("diff", 0.1).number(-3.3e24, plus=True) == "-3.3e+24"
    assert signed(-99_851_123.4) == "-1.0e+08"
    assert fixed(12345.678, 2) == "12,345.68"
    assert fixed(float("nan"), 2) == "n/a"


def test_small_values_of_a_series_keep_two_digits_and_noise_keeps_none():
    unit = Unit.of("diff", 0.1)
    assert unit.number(0.0013, plus=True) == "+0.0013"
    assert unit.number(-0.00061) == "-0.00061"
    assert unit.number(3e-17) == unit.number(0.0) == "0.00"
    assert unit.number(0.0061) == "0.01"


@pytest.mark.parametrize(
    ("t", "said"),
    [(2.0, "better"), (1.99, "no difference found"), (-2.5, "worse"), (np.nan, "not comparable")],
)
def test_verdicts_are_words_and_a_small_t_is_no_difference(t, said):
    assert verdict(t) == said


def test_periods_count_in_words():
    assert PERIODS["daily"].steps(1) == "1 session"
    assert PERIODS["daily"].steps(5800) == "5,800 sessions"
    assert PERIODS["monthly"].steps(2.2) == "2 months"


def test_regime_colours_run_from_calm_to_wild():
    for n in range(1, 8):
        names = regime_classes(n)
        places = [list(COLOURS).index(name) for name in names]
        assert len(names) == n
        assert places == sorted(places)
        assert names[0] == "calm"
        assert n == 1 or names[-1] == "wild"
    assert [len(set(regime_classes(n))) for n in (1, 2, 3, 4)] == [1, 2, 3, 4]


numbers = st.lists(st.none() | st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40)


@given(numbers, st.sampled_from([0.001, 0.01, 1.0, 100.0]))
def test_columns_survive_thinning_to_half_a_step(values, step):
    given_values = np.array([np.nan if v is None else v for v in values])
    column = json.loads(json.dumps(encode(given_values, step), allow_nan=False))
    np.testing.assert_allclose(decode(column), given_values, rtol=1e-12, atol=0.5001 * step)


def test_smooth_columns_are_stored_as_moves_and_noise_is_not():
    assert encode(np.arange(1000.0, 2000.0), 1.0)["d"] == 1
    noise = np.random.default_rng(0).integers(-9, 9, 200).astype(float)
    assert encode(noise, 1.0)["d"] == 0


def test_time_axis_of_days_hours_and_rows():
    days = pd.DatetimeIndex(["1993-01-29", "1993-02-01", "1993-02-02"])
    hours = pd.date_range("2024-01-01 09:30", periods=3, freq="h", tz="America/New_York")
    for index, step in ((days, 86_400), (hours, 1)):
        axis = encode_index(index)
        assert (axis["kind"], axis["s"]) == ("date", step)
        back = pd.to_datetime(decode(axis), unit="s")
        assert list(back) == list(index.tz_localize(None))
    assert encode_index(pd.RangeIndex(5))["kind"] == "row"


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_ticks_lie_inside_and_are_evenly_spaced(low, width):
    ticks = nice_ticks(low, low + width)
    assert 2 <= len(ticks) <= 8
    assert low - 1e-6 * width <= ticks[0] <= ticks[-1] <= low + 1.000001 * width
    np.testing.assert_allclose(np.diff(ticks), np.diff(ticks)[0], rtol=1e-4, atol=1e-9)


def test_no_ticks_on_an_empty_axis():
    assert nice_ticks(1.0, 1.0) == []
    assert nice_ticks(np.nan, 1.0) == []


def test_resolution_of_a_constant_is_one():
    assert resolution([3.0, 3.0]) == 1.0
    assert resolution([np.nan]) == 1.0


def test_stacked_areas_fill_the_whole_height():
    shape = stack_shape(np.array([[0.25, 0.75], [0.5, 0.5]]), [(0, "next")])
    assert len(shape["areas"]) == 2
    assert "40.0,72.0" in shape["areas"][0]
    assert "40.0,6.0" in shape["areas"][1]
    assert stack_shape(np.array([[1.0]]), [(0, "next")])["areas"]


def test_bars_outside_the_band_are_marked():
    shape = histogram_shape(np.array([0.5, 1.0, 1.5]), 0.8, 1.2)
    assert [bar["outside"] for bar in shape["bars"]] == [True, False, True]


def test_importing_the_package_loads_no_plotting_and_no_templates():
    code = (
        "import sys, regimeslot.reporting as r; r.report; "
        "print([m for m in ('matplotlib', 'jinja2', 'rich', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
