"""The HTML report: one file with its styles, script and numbers inside, no request to anywhere."""

from __future__ import annotations

import os
import re
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from regimeslot.reporting.palette import regime_classes
from regimeslot.reporting.summary import Summary, summarize

__all__ = ["assets", "environment", "render", "report", "write_page"]

_STYLES = ("vendor/uplot/uPlot.min.css", "static/report.css")
_SCRIPTS = ("vendor/uplot/uPlot.iife.min.js", "static/charts.js")
_MINUS = re.compile(r"(?<![\w.])-(?=[\d.])")
_PERCENT = re.compile(r"(?<=\d) %")


def report(run: Any, path: str | os.PathLike[str]) -> Path:
    """Write the report of a run or a study as one self-contained HTML file.

    The file opens without a network, in light and dark, on paper and on a phone.

    Parameters
    ----------
    run : Run or Study
        A bare study gets what a study can show; the parts that need a run say so.
    path : path
        The file to write, or a folder, which gets ``report.html``. Missing folders are made; an
        existing file is replaced at once, never half.

    Returns
    -------
    Path
        Of the file.

    Raises
    ------
    InvalidInputError
        If ``run`` is neither a run nor a study.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.evaluation.walk_forward import walk_forward
    >>> from regimeslot.features import make_dataset
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(700)
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates), name="walk")
    >>> study = walk_forward(["mean", "linear"], data, train_size=500, refit_every=100)
    >>> report(study, tempfile.mkdtemp()).name
    'report.html'
    """
    return write_page(render(summarize(run)), path)


def write_page(page: str, path: str | os.PathLike[str]) -> Path:
    """Write a page at once, never half; a folder gets ``report.html``."""
    target = Path(path)
    if target.is_dir():
        target = target / "report.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, part = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(page)
        os.chmod(part, 0o644)
        os.replace(part, target)
    except BaseException:
        os.unlink(part)
        raise
    return target


def render(summary: Summary) -> str:
    """Lay a summary out as HTML."""
    charts = {
        name: {k: chart[k] for k in ("columns", "lines", "log", "regimes", "y_label") if k in chart}
        for name, chart in summary.charts.items()
        if "missing" not in chart
    }
    template = environment().get_template("report.html")
    return template.render(s=summary, payload={"time": summary.time, "charts": charts}, **assets())


def assets(*scripts: str) -> dict[str, Any]:
    """Styles, scripts and licence that a page carries in itself; ``scripts`` come last."""
    from markupsafe import Markup

    return {
        "styles": Markup("\n".join(_asset(name) for name in _STYLES)),
        "licence": Markup(_asset("vendor/uplot/LICENSE")),
        "scripts": [Markup(_asset(name)) for name in (*_SCRIPTS, *scripts)],
    }


@cache
def _asset(name: str) -> str:
    return (files("regimeslot.reporting") / name).read_text(encoding="utf-8")


def environment() -> Any:
    """Jinja with autoescape, the templates and the filters that they use."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("regimeslot.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["typeset"] = _typeset
    environment.filters["regime_class"] = lambda k, of: regime_classes(of)[k]
    return environment


def _typeset(text: object) -> str:
    """A true minus sign, as wide as the plus, and no line break between a number and its %."""
    return _PERCENT.sub("\N{NO-BREAK SPACE}%", _MINUS.sub("\N{MINUS SIGN}", str(text)))
