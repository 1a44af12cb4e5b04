"""The three answers for a terminal: under 25 lines of 80 columns, readable without colour."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from regimeslot.reporting.evidence import scores_table, tail_columns, trust
from regimeslot.reporting.provenance import banners, data_line
from regimeslot.reporting.regimes import regime_answer
from regimeslot.reporting.tomorrow import tomorrow
from regimeslot.reporting.view import View, view_of
from regimeslot.reporting.words import wrapped

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

__all__ = ["terminal_lines", "terminal_scores", "terminal_summary"]

_WIDTH = 80
_LABEL = 11
_BAR = 20


def terminal_summary(run: Any) -> RenderableType:
    """Tomorrow, the regime, and whether to believe it, as a rich renderable.

    Parameters
    ----------
    run : Run or Study

    Returns
    -------
    rich renderable
        ``str()`` of it is the plain text.
    """
    from rich.text import Text

    text = Text(no_wrap=True)
    for number, (label, line) in enumerate(terminal_lines(run)):
        style = "bold" if number == 0 else "yellow" if label == "Note" else ""
        text.append("\n" if number else "")
        text.append(f"{label:<{_LABEL}}" if number else label, style="bold")
        text.append(line, style=style)
    return text


def terminal_lines(run: Any) -> list[tuple[str, str]]:
    """(label, text) of each line; label and text together fit into 80 columns."""
    view = view_of(run)
    return [
        (_cut(view.name, _WIDTH), ""),
        *_wrapped("Data", _data(view)),
        *(line for text in banners(view) for line in _wrapped("Note", text)),
        *_tomorrow(view),
        *_regime(view),
        *_trust(view),
    ]


def _data(view: View) -> str:
    line = data_line(view)
    return ", ".join(line[k] for k in ("series", "source", "span", "rows") if k in line)


def _tomorrow(view: View) -> list[tuple[str, str]]:
    part = tomorrow(view)
    if "missing" in part:
        return _wrapped("Tomorrow", part["missing"])
    lines = _wrapped("Tomorrow", f"{part['label']}: {part['headline']} ({part['model']})")
    figures = [f"{_small(f['name'])} {f['text']}" for f in part["figures"]]
    return lines + _wrapped("", _sentence("; ".join(figures)))


def _regime(view: View) -> list[tuple[str, str]]:
    part = regime_answer(view)
    if "missing" in part:
        return _wrapped("Regime", part["missing"])
    left = f"; {part['left']}" if part["left"] else ""
    said = f"{part['headline']}: {part['probability']}; {part['age']}{left}."
    lines = _wrapped("Regime", said)
    width = max((len(regime["probability"]) for regime in part["regimes"]), default=0)
    for regime in part["regimes"]:
        chance = regime["probability"].rjust(width)
        told = f"{_bar(regime['share'])}  {chance}  {regime['name']}"
        lines.append(("", _cut(told, _WIDTH - _LABEL)))
    if part.get("caution"):
        lines += _wrapped("", part["caution"])
    return lines


def _bar(probability: float) -> str:
    filled = round(probability * _BAR)
    return f"{'#' * filled}{'.' * (_BAR - filled)}"


def _trust(view: View) -> list[tuple[str, str]]:
    part = trust(view)
    if "missing" in part:
        return _wrapped("Trust", part["missing"])
    said = f"{part['headline']}: {part['gain']}, {part['interval']}; {part['won']}."
    return _wrapped("Trust", said) + _wrapped("", part["meaning"]) + _wrapped("", part["regimes"])


def terminal_scores(run: Any) -> Table:
    """Scores of all models as a rich table of 80 columns.

    Parameters
    ----------
    run : Run or Study
    """
    from rich.table import Table
    from rich.text import Text

    view = view_of(run)
    part = scores_table(view)
    held, each = part["table"], view.period.each
    tail = "VaR" if view.losses else "<"
    one, five = tail_columns(view)
    heads = {
        f"Log score, nats a {each}": "log score",
        f"Gain over {view.reference}": "gain",
        f"CRPS, {view.unit.name}": f"CRPS {view.unit.name}",
        "R2 of the mean, %": "R2 %",
        "QLIKE": "QLIKE",
        one: f"{tail}1 %",
        five: f"{tail}5 %",
        "t": "t",
        "Model": "model",
    }
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    several = len(held.rows) > 1
    table.title = Text(part["title"])
    table.title_justify = "left"
    if several and view.reference is not None:
        table.caption = Text(
            f"Gain and t are against {view.reference}; |t| below 2 is no difference. "
            "Best of each column: *"
        )
        table.caption_justify = "left"
    chosen = [i for i, name in enumerate(held.columns) if name in heads]
    for i in chosen:
        table.add_column(heads[held.columns[i]], justify="right" if i else "left", no_wrap=True)
    for row in held.rows:
        cells = []
        for i in chosen:
            mark = "*" if row[i].strong and i else ""
            cells.append(Text(row[i].text + mark, style="bold" if row[i].strong else ""))
        table.add_row(*cells)
    for failure in part["failures"]:
        table.add_row(Text(failure))
    return table


def _wrapped(label: str, text: str) -> list[tuple[str, str]]:
    lines = wrapped(text, _WIDTH - _LABEL) or [""]
    return [(label if i == 0 else "", line) for i, line in enumerate(lines)]


def _small(name: str) -> str:
    """Small first letter, but for abbreviations."""
    return name if name[:2].isupper() or name.startswith("VaR") else name[:1].lower() + name[1:]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _cut(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder=" ...") if len(text) > width else text
