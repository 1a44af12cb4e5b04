"""``regimeslot validate``: the tables, the folder and the exit status."""

import json

import pytest
from click.testing import CliRunner

from regimeslot.cli.program import program


@pytest.mark.slow
def test_the_quick_proof_keeps_its_promises(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(program, ["validate", "--quick", "--out", "proof"])
    assert result.exit_code == 0, result.output
    assert "original experiment" in result.stdout
    assert "published log-likelihoods" in result.stdout
    assert " NO" not in result.stdout
    record = json.loads((tmp_path / "proof" / "validation.json").read_text())
    assert all(check["passed"] for check in record["checks"])
    assert all(case["ok"] for case in record["published"])
    assert (tmp_path / "proof" / "validation.png").stat().st_size > 10_000
    again = CliRunner().invoke(program, ["validate", "--quick", "--out", "proof"])
    assert again.exit_code == 2  # nothing is overwritten, and it is said before the work
