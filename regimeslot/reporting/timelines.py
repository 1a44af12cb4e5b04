"""The charts over time: their numbers, the finding each title states, and a table by year.

A chart here is plain data: ``columns`` for drawing, ``title``, ``alt`` and ``table`` for reading.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.evaluation.comparison_time import cumulative_band
from regimeslot.evaluation.risk import LEVELS, coverage
from regimeslot.reporting.calibration import var_section
from regimeslot.reporting.evidence import difference
from regimeslot.reporting.tables import Cell, Table, cell
from regimeslot.reporting.thin import encode, encode_index, resolution
from regimeslot.reporting.view import View
from regimeslot.reporting.words import count, date, share, signed

__all__ = ["exceedance_chart", "gain_chart", "price_chart", "time_axis", "volatility_chart"]

Array = NDArray[np.float64]
_LONG = 16  # letters of a symbol that an axis has no room for
_MOST_GROUPS = 40  # rows of a table: years, or longer stretches where there are more


def time_axis(view: View) -> dict[str, Any]:
    """Shared time axis of all charts."""
    return encode_index(view.index)


def price_chart(view: View) -> dict[str, Any]:
    """Price on a log scale, shaded by the regime that was the likeliest before each row."""
    table = view.regimes
    closes = view.prices
    columns: dict[str, Any] = {}
    log = closes is not None and _proportional(view, closes)
    if closes is not None:
        # On a log axis the lowest price must stay fine, on a linear one the range is what shows.
        step = (
            10.0 ** math.floor(math.log10(np.nanmin(closes) / 500)) if log else resolution(closes)
        )
        columns["price"] = encode(closes, step)
    headers, cells = [], []
    if closes is not None:
        headers.append("Last price" if view.losses else "Last value")
        cells.append([_last(closes[rows]) for rows in _groups(view)[1]])
    title = "No regimes to shade: no regime model was run"
    names: list[str] = []
    if table is not None:
        names = [str(c) for c in table.columns]
        probabilities = table.to_numpy()
        likeliest = probabilities.argmax(axis=1)
        columns["regime"] = _runs(likeliest)
        columns["probabilities"] = [encode(100 * p, 1.0) for p in probabilities.T[:-1]]
        labels, groups = _groups(view)
        for k, name in enumerate(names):
            headers.append(f"Likeliest {name}, % of rows")
            cells.append([f"{100 * np.mean(likeliest[rows] == k):.0f}" for rows in groups])
        title = _regime_title(names, likeliest, labels, groups, view.period.plural)
    # A proxy's prices go by its own symbol.
    symbol = view.name if view.run is None else view.run.prices.symbol
    kind = "price, log scale" if log else "values"
    what = f"{symbol} {kind}"
    label = what if len(symbol) <= _LONG else kind
    heading = "Price and regimes" if view.losses else "Values and regimes"
    span = _span(view)
    return {
        "title": title,
        "alt": f"{what[0].upper() + what[1:]}, {span}, shaded by the likeliest regime. {title}.",
        "heading": heading,
        "y_label": label,
        "log": log,
        "regimes": names,
        "columns": columns,
        "table": _by_group(view, f"{heading} by year", headers, cells),
    }


def _proportional(view: View, closes: Array) -> bool:
    """Whether moves are proportions of the values: returns, and nothing at zero or below."""
    finite = closes[np.isfinite(closes)]
    return view.study.dataset.transform == "log-return" and bool(finite.size and finite.min() > 0)


def _regime_title(
    names: list[str],
    likeliest: NDArray[np.intp],
    labels: list[str],
    groups: list[slice],
    plural: str,
) -> str:
    wild = len(names) - 1
    word = names[wild].split(",")[0].capitalize()
    each = [float(np.mean(likeliest[rows] == wild)) for rows in groups]
    if not any(each):
        return f"{word} was never the likeliest regime"
    # A stub of a year at either end is no year to name.
    usual = float(np.median([g.stop - g.start for g in groups]))
    whole = [g.stop - g.start >= 0.5 * usual for g in groups]
    most = int(np.argmax(np.where(whole, each, -1.0)))
    overall = float(np.mean(likeliest == wild))
    where = f", most in {labels[most]} ({share(each[most])})" if len(groups) > 1 else ""
    return f"{word} was the likeliest regime on {share(overall)} of {plural}{where}"


def volatility_chart(view: View) -> dict[str, Any]:
    """Predicted standard deviation against the size of what happened."""
    factor, std = view.unit.factor, view.forecast.std()
    size = np.abs(view.y)
    step = 10.0**-(view.unit.decimals)
    _, groups = _groups(view)
    name = view.unit.name
    cells = [
        [view.unit.number(float(np.mean(std[g]))) for g in groups],
        [view.unit.number(float(np.sqrt(np.mean(view.y[g] ** 2)))) for g in groups],
        [view.unit.number(float(size[g].max())) for g in groups],
    ]
    title = _volatility_title(std, size, view.period.plural)
    return {
        "title": title,
        "alt": f"Predicted standard deviation by {view.main} over absolute {_moves(view)}, "
        f"{_span(view)}. {title}.",
        "y_label": f"size and predicted std, {name}",
        "columns": {
            "y": encode(view.y * factor, step),
            "std": encode(np.where(np.isfinite(std), std, np.nan) * factor, step),
        },
        "table": _by_group(
            view,
            "Volatility by year",
            [
                f"Mean predicted standard deviation, {name}",
                f"Root mean square realised, {name}",
                f"Largest move, {name}",
            ],
            cells,
        ),
    }


def _volatility_title(std: Array, size: Array, plural: str) -> str:
    if len(std) < 25 or not np.isfinite(std).all():
        return "Predicted volatility against the size of moves"
    low, high = np.quantile(std, [0.2, 0.8])
    calm, wild = float(size[std <= low].mean()), float(size[std >= high].mean())
    if not calm > 0:
        return "Predicted volatility against the size of moves"
    return (
        f"Moves were {wild / calm:.1f} times as large in the fifth of {plural} with the highest "
        "predicted volatility as in the fifth with the lowest"
    )


def gain_chart(view: View) -> dict[str, Any]:
    """Cumulative log-score gain of the main model over each baseline, with its band."""
    if not view.baselines:
        return {
            "missing": "No baseline was run, so there is nothing to gain over. Add one: "
            "--models gjr-garch,pool."
        }
    lines, headers, cells, said = [], [], [], []
    labels, groups = _groups(view)
    for name in view.baselines:
        gain = view.gain(view.main, name)
        total = np.cumsum(gain)
        rows, low, high = cumulative_band(gain, horizon=view.horizon)
        step = resolution(np.concatenate([total, low, high]), 1000)
        lines.append(
            {
                "name": f"over {name}",
                "gain": encode(total, step),
                "rows": encode(rows, 1),
                "low": encode(low, step),
                "high": encode(high, step),
            }
        )
        headers.append(f"Over {name}, nats")
        cells.append([signed(float(gain[g].sum()), 1) for g in groups])
        said.append(
            f"over {name} {signed(float(total[-1]), 1)} nats "
            f"(95 % band {signed(float(low[-1]), 1)} to {signed(float(high[-1]), 1)})"
        )
    title = _gain_title(view, labels, groups)
    return {
        "title": title,
        "alt": f"Cumulative log-score gain of {view.main}, {_span(view)}: {'; '.join(said)}.",
        "y_label": "cumulative gain, nats",
        "lines": lines,
        "said": said,
        "columns": {},
        "note": "Rising: the model beats that baseline. Lines far from the first wait for a click "
        "on their name. The band is what chance alone moves, by a 95 % block bootstrap; where it "
        "leaves out zero at the end, the gain is more than chance.",
        "table": _by_group(view, f"Gain of {view.main} by year", headers, cells),
    }


def _gain_title(view: View, labels: list[str], groups: list[slice]) -> str:
    name = view.baselines[0]
    gain = view.gain(view.main, name)
    d = difference(view, view.main, name)
    total = signed(float(gain.sum()), 0)
    if len(groups) > 1:
        won = sum(float(gain[g].sum()) > 0 for g in groups)
        spread = f", ahead in {won} of {len(groups)} {_group_noun(labels)}"
    else:
        spread = ""
    chance = "" if d.found else "; it may be chance"
    return f"{view.main} gains {total} nats over {name}{spread}{chance}"


def exceedance_chart(view: View) -> dict[str, Any]:
    """Outcomes with the predicted 1 % and 5 % quantiles, and those beyond them."""
    section = var_section(view)
    limits = -view.forecast.value_at_risk(list(LEVELS))
    step = 10.0**-(view.unit.decimals)
    found = coverage(view.uniforms, horizon=view.horizon)
    _, groups = _groups(view)
    cells = [[count(c.hits[g].sum()) for g in groups] for c in found]
    cells += [[f"{100 * c.hits[g].mean():.1f}" for g in groups] for c in found]
    limit = "Beyond the {:.0f} % VaR" if view.losses else "Below the {:.0f} % quantile"
    headers = [limit.format(100 * c.level) for c in found]
    headers += [f"{header}, % of rows" for header in headers]
    kind = f"{view.noun}s"
    what = "losses beyond" if view.losses else f"{kind} below"
    heading = f"{kind.capitalize()} below the low quantiles"
    if view.losses:
        heading = "Losses beyond the value at risk"
    return {
        "title": section["title"],
        "heading": heading,
        "alt": f"{_moves(view).capitalize()} with the predicted 1 and 5 % quantiles of {view.main},"
        f" {_span(view)}; {what} them are marked. {section['title']}.",
        "y_label": f"{_moves(view)}, {view.unit.name}",
        "columns": {
            "var_1": encode(limits[:, 0] * view.unit.factor, step),
            "var_5": encode(limits[:, 1] * view.unit.factor, step),
            "hits_1": np.flatnonzero(found[0].hits).tolist(),
            "hits_5": np.flatnonzero(found[1].hits).tolist(),
        },
        "coverage": section["table"],
        "note": section["note"],
        "table": _by_group(view, f"{heading} by year", headers, cells),
    }


def _moves(view: View) -> str:
    if view.horizon > 1 and view.noun != "value":
        return f"{view.noun} over {view.period.steps(view.horizon)}"
    return view.noun


def _span(view: View) -> str:
    return f"{date(view.index[0], weekday=False)} to {date(view.index[-1], weekday=False)}"


def _last(values: Array) -> str:
    finite = values[np.isfinite(values)]
    return f"{finite[-1]:,.2f}" if finite.size else "n/a"


def _runs(likeliest: NDArray[np.intp]) -> list[list[int]]:
    """[first row, regime] of each stretch of one regime."""
    starts = np.flatnonzero(np.diff(likeliest, prepend=-1))
    return [[int(i), int(likeliest[i])] for i in starts]


def _groups(view: View) -> tuple[list[str], list[slice]]:
    """Calendar years of the rows, or equal stretches where there are no dates or too many years."""
    index = view.index
    n = len(index)
    if isinstance(index, pd.DatetimeIndex):
        years = index.year.to_numpy()
        edges = [*np.flatnonzero(np.diff(years, prepend=years[0] - 1)).tolist(), n]
        if len(edges) - 1 <= _MOST_GROUPS:
            return (
                [str(years[i]) for i in edges[:-1]],
                [slice(a, b) for a, b in itertools.pairwise(edges)],
            )
    parts = min(n, 20)
    edges = np.linspace(0, n, parts + 1).round().astype(int).tolist()
    pairs = [(a, b) for a, b in itertools.pairwise(edges) if b > a]
    return (
        [
            f"{date(index[a], weekday=False)} to {date(index[b - 1], weekday=False)}"
            for a, b in pairs
        ],
        [slice(a, b) for a, b in pairs],
    )


def _group_noun(labels: list[str]) -> str:
    return "years" if all(label.isdigit() and len(label) == 4 for label in labels) else "stretches"


def _by_group(view: View, caption: str, headers: list[str], columns: list[list[str]]) -> Table:
    labels, groups = _groups(view)
    rows: list[list[Cell]] = []
    for i, (label, rows_of) in enumerate(zip(labels, groups, strict=True)):
        rows.append(
            [cell(label), cell(count(rows_of.stop - rows_of.start))]
            + [cell(column[i]) for column in columns]
        )
    first = "Year" if _group_noun(labels) == "years" else "Rows"
    return Table(caption, (first, "Rows", *headers), rows)
