"""``regimeslot validate``: the synthetic proof and the published reference values."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from regimeslot.cli.fit_command import RUNS
from regimeslot.cli.screen import Screen, one_thread, show
from regimeslot.errors import RegimeslotError

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from regimeslot.evaluation.validation import Validation

__all__ = ["validate"]


@click.command(short_help="Show the slots find laws that are known beforehand.")
@click.option("--quick", is_flag=True, help="Few seeds and the smaller cases, about a minute.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Runs of every case.  [default: 20, quick 2]",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Where all seeds follow from.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Folder to make.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON on stdout, alone.")
@click.option("--quiet", is_flag=True, help="No progress on stderr.")
def validate(
    quick: bool, seeds: int | None, seed: int, out: Path | None, as_json: bool, quiet: bool
) -> None:
    """Show that the slots find the laws behind data whose truth is known.

    Prints two linear laws, chosen by x0 > x1, by three models side by side (linear, plain
    training, ours), every other law with median and worst run, the published values of
    Markov-switching models, and every statement that was checked with what came. Writes a picture
    and all numbers to a folder. Exit status 1 where a statement does not hold.
    """
    from regimeslot.evaluation.folder import require_place, write_folder
    from regimeslot.evaluation.validation import run_validation
    from regimeslot.evaluation.validation_picture import draw
    from regimeslot.markov.reference import reference_table

    require_place(out or Path(RUNS), new=out is not None)
    screen = Screen(quiet=quiet)
    with one_thread(), screen.listening():
        screen.tell("Fits on series whose truth is known; the plain training takes longest.")
        with screen.progress() as step:
            study = run_validation(quick=quick, seeds=seeds, random_state=seed, progress=step)
        published = reference_table(seed)
    record = {**study.to_dict(), "published": published.to_dict("records")}
    text = _json(record)

    def fill(draft: Path) -> None:
        (draft / "validation.json").write_text(text, encoding="utf-8")
        draw(study, draft / "validation.png")

    stamp = f"validate-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    folder = write_folder(out or Path(RUNS) / stamp, fill, numbered=out is None)
    if as_json:
        show(text.removesuffix("\n"))
    else:
        show(
            _original(study.tables["original"]),
            "",
            _laws(study.summary()),
            "",
            _published(published),
            "",
            _promises(study, published),
            "",
            f"Picture and numbers: {folder}",
        )
    broken = [check.statement for check in study.checks if not check.passed]
    broken += [f"published: {case}" for case in published.loc[~published["ok"], "case"]]
    if broken:
        raise RegimeslotError(f"not kept: {'; '.join(broken)}")


def _json(record: dict[str, Any]) -> str:
    import json

    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(k): plain(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [plain(v) for v in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(record), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def _table(title: str, **columns: str) -> Table:
    """Table of 80 columns; the value of each column is its alignment."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name, side in columns.items():
        table.add_column(name.replace("_", " "), justify="left" if side == "left" else "right")
    return table


def _original(runs: pd.DataFrame) -> Table:
    table = _table(
        "Two linear laws, chosen by x0 > x1",
        model="left",
        validation_MSE="right",
        CPU_s="right",
        selector_of_slot_1="right",
    )
    for model, rows in runs.groupby("model", sort=False):
        selector = rows["selector"].iloc[0]
        shown = "" if not isinstance(selector, list) else _row(selector[0])
        mse, seconds = rows["validation_mse"].median(), rows["seconds"].median()
        table.add_row(str(model), f"{mse:.3g}", f"{seconds:.2f}", shown)
    return table


def _row(values: list[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"


def _laws(summary: pd.DataFrame) -> Table:
    words = {"mse_over_oracle": "MSE / oracle", "gap_closed": "gap closed", "loss_nats": "loss"}
    table = _table(
        "Every other law: against an oracle that knows it",
        law="left",
        case="left",
        measure="left",
        median="right",
        worst="right",
        runs="right",
    )
    for row in summary[summary["experiment"] != "original"].to_dict("records"):
        table.add_row(
            str(row["experiment"]),
            str(row["case"]),
            words.get(str(row["measure"]), str(row["measure"])),
            f"{row['median']:.4f}",
            f"{row['worst']:.4f}",
            str(row["runs"]),
        )
    return table


def _published(published: pd.DataFrame) -> Table:
    table = _table(
        "Markov switching: published log-likelihoods",
        case="left",
        published="right",
        ours="right",
        difference="right",
    )
    for row in published.to_dict("records"):
        table.add_row(
            str(row["case"]),
            f"{row['published']:.4f}",
            f"{row['ours']:.4f}",
            f"{row['difference']:+.4f}",
        )
    return table


def _promises(study: Validation, published: pd.DataFrame) -> Table:
    table = _table("Statements checked", statement="left", came="right", bound="right", kept="left")
    for check in study.checks:
        sign = "<=" if check.at_most else ">="
        kept = "yes" if check.passed else "NO"
        table.add_row(check.statement, f"{check.value:.3g}", f"{sign} {check.bound:g}", kept)
    reached = int(published["ok"].sum())
    done = "yes" if reached == len(published) else "NO"
    table.add_row("published values reached", str(reached), f">= {len(published)}", done)
    return table
