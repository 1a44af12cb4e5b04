"""First answer of the first screen: the whole distribution of the next session's return."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from regimeslot.reporting.shapes import density_shape
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import date, probability

__all__ = ["density_grid", "tomorrow"]

_LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
_POINTS = 161


def density_grid(view: View) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Points, density and quantiles of the next forecast, in the shown unit."""
    assert view.run is not None
    forecast = view.run.next_forecasts[view.main]
    factor = view.unit.factor
    low, high = forecast.quantile([0.002, 0.998])[0]
    x = np.linspace(low, high, _POINTS)
    quantiles = forecast.quantile(list(_LEVELS))[0]
    named = {f"{p:g}": float(q) * factor for p, q in zip(_LEVELS, quantiles, strict=True)}
    return x * factor, forecast.pdf(x[None, :])[0] / factor, named


def tomorrow(view: View) -> dict[str, Any]:
    """Date, curve, and the figures a risk desk asks for."""
    if view.run is None:
        return {
            "missing": "A study ends with its last row: make the report of a run (regimeslot fit) "
            "for the next session's distribution."
        }
    forecast = view.run.next_forecasts[view.main]
    unit, period = view.unit, view.period
    x, pdf, q = density_grid(view)
    std = float(forecast.std()[0])
    low, mid, high = (q[k] / unit.factor for k in ("0.05", "0.5", "0.95"))
    day = date(view.run.next_date, weekday=period.step == "session")
    label = f"Next {period.step}, {day}"
    if view.horizon > 1:
        label = f"Next {period.steps(view.horizon)}, from {day}"
    annual = _annual(view, std)
    risk, numbers = _losses(view) if view.losses else _tails(view, q)
    figures = [
        ("Standard deviation", "Std deviation", unit.text(std)),
        ("Median", "Median", unit.text(mid, plus=view.plus)),
        *risk,
    ]
    if annual is not None:
        figures.insert(1, ("The same a year", "A year", annual))
    band = f"{unit.number(low, plus=view.plus)} to {unit.text(high, plus=view.plus)}"
    what = view.noun
    rows = [
        [cell(f"{100 * float(k):.0f} %"), cell(unit.number(v / unit.factor, plus=view.plus))]
        for k, v in q.items()
    ]
    return {
        "label": label,
        "headline": f"{band}, nine times in ten",
        "band": band,
        "figures": [{"name": name, "short": short, "text": text} for name, short, text in figures],
        "model": view.main,
        "alt": f"Predicted density of the {what} for {day} by {view.main}: 5 to 95 % from {band}, "
        f"median {unit.text(mid, plus=view.plus)}, standard deviation {unit.text(std)}.",
        "axis": f"{what}, {unit.name}",
        "shape": density_shape(x, pdf, q),
        "table": Table(
            "Quantiles of the next forecast",
            ("Probability", f"Quantile, {unit.name}"),
            rows,
            text_columns=(),
        ),
        "numbers": {"std": std, **numbers},
    }


def _losses(view: View) -> tuple[list[tuple[str, str, str]], dict[str, float]]:
    """What a holder of the asset may lose: only returns have losses."""
    assert view.run is not None
    forecast, unit = view.run.next_forecasts[view.main], view.unit
    var_1, var_5 = (float(forecast.value_at_risk(p)[0]) for p in (0.01, 0.05))
    es_1, es_5 = (float(forecast.expected_shortfall(p)[0]) for p in (0.01, 0.05))
    loss = float(forecast.probability_of_loss()[0])
    figures = [
        ("Probability of a loss", "Loss", probability(loss)),
        ("VaR 5 % / 1 %", "VaR 5 / 1 %", f"{unit.number(var_5)} / {unit.text(var_1)}"),
        ("Expected shortfall 5 % / 1 %", "ES 5 / 1 %", f"{unit.number(es_5)} / {unit.text(es_1)}"),
    ]
    return figures, {"loss": loss, "var_1": var_1, "var_5": var_5, "es_5": es_5}


def _tails(view: View, q: dict[str, float]) -> tuple[list[tuple[str, str, str]], dict[str, float]]:
    """Both tails of a rate, its change or its level: neither side of it is a loss."""
    assert view.run is not None
    unit = view.unit
    below = float(view.run.next_forecasts[view.main].probability_of_loss()[0])
    figures = [("Probability of a negative value", "Below 0", probability(below))]
    for low, high, name in (("0.05", "0.95", "5 % / 95 %"), ("0.01", "0.99", "1 % / 99 %")):
        ends = (q[low] / unit.factor, q[high] / unit.factor)
        text = f"{unit.number(ends[0], plus=view.plus)} / {unit.text(ends[1], plus=view.plus)}"
        figures.append((f"Quantiles {name}", name, text))
    return figures, {
        "below_zero": below,
        **{f"q_{p}": q[p] for p in ("0.01", "0.05", "0.95", "0.99")},
    }


def _annual(view: View, std: float) -> str | None:
    """Standard deviation of a year, where its length is known and steps add up."""
    per_year = view.period.per_year
    if per_year is None or view.unit.name != "%" or not math.isfinite(std):
        return None
    year = std * math.sqrt(per_year / view.horizon) * view.unit.factor
    return f"{year:.0f} %" if year >= 10 else f"{year:.1f} %"
