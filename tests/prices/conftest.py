"""Fixtures of the price tests: a fake Yahoo in process, and its certificate for child processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for fake_yahoo

from fake_yahoo import FakeYahoo, loopback, make_certificate


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep every test out of the user's cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("REGIMESLOT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def yahoo(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeYahoo]:
    with FakeYahoo() as server:
        loopback(monkeypatch, server)
        yield server


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("certificate"))
