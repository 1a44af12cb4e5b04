"""The package as a whole: light imports, public names, and texts that keep up with the code."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import regimeslot
from regimeslot.cli.program import program

ROOT = Path(__file__).parents[1]


def loaded(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split())


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"torch", "statsmodels", "arch", "sklearn", "pandas", "numpy", "matplotlib", "yfinance"}
    assert not heavy & loaded("import regimeslot")


def test_a_walk_forward_of_slots_needs_no_torch():
    assert "torch" not in loaded("from regimeslot import walk_forward, SlotForecaster, Pool")


@pytest.mark.parametrize("name", [n for n in regimeslot.__all__ if n != "__version__"])
def test_every_public_name_resolves(name):
    assert getattr(regimeslot, name) is not None
    assert name in dir(regimeslot)


def test_the_report_function_wins_over_any_module_of_that_name():
    importlib.import_module("regimeslot.reporting")
    assert callable(regimeslot.report)


def test_the_readme_is_whole_and_names_only_what_exists():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "@@" not in text
    for path in re.findall(r"\]\((?!http)([^)]+)\)", text):
        assert (ROOT / path).exists(), path
    for name in re.findall(r"\brs\.(\w+)", text):
        assert name in regimeslot.__all__, name
    for option in re.findall(r"`regimeslot (\w+)", text):
        assert option in program.commands, option
