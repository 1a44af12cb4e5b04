"""What the volatility forecast would have been worth to a holder: the overlay in words."""

from __future__ import annotations

from typing import Any

from regimeslot.evaluation.overlay import HOLD, Overlay
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.view import View
from regimeslot.reporting.words import share

__all__ = ["overlay_section"]


def overlay_section(view: View) -> dict[str, Any]:
    """Table of the overlay beside buying and holding, and the finding in words."""
    if not view.losses:
        return {
            "missing": f"A {view.noun} is nothing that can be held: an overlay needs the returns "
            "of a price."
        }
    found = view.overlay
    if found is None:
        return {"missing": "An overlay needs dates and at least 50 forecast rows."}
    rows = [
        [
            cell(name if name == HOLD else f"{name} overlay", strong=name == view.main),
            cell(f"{100 * row['mean']:.1f}"),
            cell(f"{100 * row['volatility']:.1f}"),
            cell(f"{row['sharpe']:.2f}"),
            cell(f"{row['sharpe_low']:.2f} to {row['sharpe_high']:.2f}"),
            cell(f"{100 * row['drawdown']:.0f}"),
            cell(f"{row['position']:.2f}"),
            cell(f"{row['turnover']:.1f}"),
            cell(f"{100 * row['cost']:.2f}"),
        ]
        for name, row in ((str(n), r) for n, r in found.table.iterrows())
    ]
    rules = found.rules
    return {
        "title": _title(found),
        "table": Table(
            "Overlays after costs, out of sample",
            (
                "Strategy",
                "Mean, % a year",
                "Volatility, % a year",
                "Sharpe ratio",
                "95 % interval",
                "Largest drawdown, %",
                "Mean position",
                "Turnover a year",
                "Costs, % a year",
            ),
            rows,
        ),
        "notes": [
            f"The overlay holds the target of {share(rules.target)} a year divided by the "
            f"predicted volatility, at most {rules.cap:g} times the capital, and trades at each "
            f"close for {rules.cost:g} basis points of what is traded. These rules are fixed and "
            "were not fitted to this or any series. Cash earns nothing and borrowing costs "
            "nothing, so compare Sharpe ratios rather than means. Positions and turnover are in "
            "multiples of the capital. Intervals: stationary block bootstrap.",
            "An economic measure of the volatility forecast, not a strategy and not advice.",
        ],
    }


def _title(found: Overlay) -> str:
    main, hold = found.table.iloc[0], found.table.loc[HOLD]
    drawdowns = f"{100 * main['drawdown']:.0f} % against {100 * hold['drawdown']:.0f} %"
    said = [_over(row) for row in found.differences.to_dict("records")]
    return f"Sharpe ratio {main['sharpe']:.2f}, {'; '.join(said)}; largest drawdown {drawdowns}"


def _over(row: dict[Any, Any]) -> str:
    against = row["against"] if row["against"] == HOLD else f"the {row['against']} overlay"
    if row["low"] <= 0.0 <= row["high"]:
        return f"no difference found to {against}"
    return f"{'above' if row['sharpe'] > 0 else 'below'} {against}"
