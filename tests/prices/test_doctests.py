from __future__ import annotations

import doctest
from importlib import import_module

import pytest


@pytest.mark.parametrize(
    "module", ["bundled", "cache", "checks", "dates", "frame", "load", "sessions"]
)
def test_examples_run(module: str) -> None:
    assert doctest.testmod(import_module(f"regimeslot.prices.{module}")).failed == 0
