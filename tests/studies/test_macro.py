"""The macro study: its settings saw one half only, and its table is what it computes."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

STUDIES = Path(__file__).parents[2] / "studies"

pytestmark = pytest.mark.filterwarnings("ignore::regimeslot.errors.RegimeWarning")


@pytest.fixture(scope="module")
def macro():
    spec = importlib.util.spec_from_file_location("macro_study", STUDIES / "macro.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # as its dataclasses ask for
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def table():
    return pd.read_csv(STUDIES / "macro.csv")


@pytest.fixture(scope="module")
def unemployment(macro):
    return macro.macro_series()[0]


def test_unemployment_is_rounded_to_tenths(unemployment):
    assert unemployment.rounded_to == 0.1


def test_halves_follow_each_other_and_share_no_quarter(macro, table):
    spans = table[["half", "first", "last", "quarters"]].drop_duplicates()
    assert spans["half"].tolist() == ["development", "test"]
    ends, starts = (pd.Period(spans.iloc[i][k], "Q") for i, k in ((0, "last"), (1, "first")))
    assert starts == ends + 1
    assert len(table) == 2 * 3 * len(macro.QUESTIONS)


def test_the_choice_reads_the_development_half_alone(macro, unemployment, monkeypatch):
    """Another test half, the same choice and the same scores."""
    from dataclasses import replace

    monkeypatch.setattr(macro, "CANDIDATES", [(2, 1), (2, 2)])
    monkeypatch.setattr(macro, "REFIT", 44)
    values = unemployment.values.copy()
    values.iloc[-40:] = values.iloc[-41] + 0.3 * np.arange(40)
    was, before = macro.choose([unemployment])
    now, after = macro.choose([replace(unemployment, values=values)])
    assert was == now
    pd.testing.assert_frame_equal(before, after)


@pytest.mark.slow
def test_the_committed_table_is_what_the_study_computes(macro, table, unemployment):
    regimes, lags = table[["regimes", "lags"]].iloc[0]
    study = macro.study_of(unemployment, int(regimes), int(lags))
    for half in macro.HALVES:
        held = table[(table["series"] == unemployment.name) & (table["half"] == half)]
        found = macro.comparisons(macro.half_of(study, half))
        assert held["question"].tolist() == [question for question, _ in found]
        np.testing.assert_allclose(held["gain"], [d.gain for _, d in found], rtol=0, atol=0.01)
