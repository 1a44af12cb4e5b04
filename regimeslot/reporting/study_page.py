"""The HTML report of a study over many series: one file, no request to anywhere."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from regimeslot.reporting.page import assets, environment, write_page
from regimeslot.reporting.study_summary import StudySummary, summarize_study

if TYPE_CHECKING:
    from regimeslot.evaluation.study import SeriesStudy

__all__ = ["render_study", "study_report"]


def study_report(study: SeriesStudy, path: str | os.PathLike[str]) -> Path:
    """Write the report of a study as one self-contained HTML file.

    Parameters
    ----------
    study : SeriesStudy
        Of :func:`regimeslot.evaluation.study.run_study`.
    path : path
        The file to write, or a folder, which gets ``report.html``. Missing folders are made; an
        existing file is replaced at once, never half.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from regimeslot.evaluation.study import StudySettings, run_study
    >>> from regimeslot.prices import load_prices
    >>> held = {n: load_prices(n, source="bundled", start="2015-01-01") for n in ("KO", "PEP")}
    >>> study = run_study(held, StudySettings(models=("mean", "linear"), first="2022-01-03"))
    >>> study_report(study, tempfile.mkdtemp()).name
    'report.html'
    """
    return write_page(render_study(summarize_study(study)), path)


def render_study(summary: StudySummary) -> str:
    """Lay a study's summary out as HTML."""
    chart = summary.gain
    kept = {k: chart[k] for k in ("columns", "lines", "y_label") if k in chart}
    charts = {} if "missing" in chart else {"gain": kept}
    template = environment().get_template("study.html")
    return template.render(
        s=summary, payload={"time": summary.time, "charts": charts}, **assets("static/sort.js")
    )
