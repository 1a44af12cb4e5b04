"""``regimeslot validate``: the tables, the folder and the exit status."""

import json

import pytest
from click.testing import CliRunner

from regimeslot.cli.program import program


def test_help_says_what_is_shown():
    result = CliRunner().invoke(program, ["validate", "--help"])
    said = " ".join(result.stdout.split())
    assert "two linear laws, chosen by x0 > x1" in said
    assert "original experiment" not in said
    assert "promise" not in said


@pytest.mark.slow
def test_the_quick_proof_keeps_its_promises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(program, ["validate", "--quick", "--out", "proof"])
    assert result.exit_code == 0, result.output
    assert "Two linear laws, chosen by x0 > x1" in result.stdout
    assert "Statements checked" in result.stdout
    assert "original experiment" not in result.stdout
    assert "published log-likelihoods" in result.stdout
    assert " NO" not in result.stdout
    record = json.loads((tmp_path / "proof" / "validation.json").read_text())
    assert all(check["passed"] for check in record["checks"])
    assert all(case["ok"] for case in record["published"])
    assert (tmp_path / "proof" / "validation.png").stat().st_size > 10_000
    again = CliRunner().invoke(program, ["validate", "--quick", "--out", "proof"])
    assert again.exit_code == 2  # nothing is overwritten, and it is said before the work
