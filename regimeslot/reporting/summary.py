"""Everything the report says, as plain data: the template and the terminal only lay it out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from regimeslot.reporting.calibration import pit_section
from regimeslot.reporting.evidence import attribution, regime_value, scores_table, trust
from regimeslot.reporting.overlay import overlay_section
from regimeslot.reporting.provenance import banners, data_line, settings_section
from regimeslot.reporting.regimes import (
    regime_answer,
    slots_section,
    stability_section,
    transition_section,
)
from regimeslot.reporting.slot_memory import memory_charts
from regimeslot.reporting.timelines import (
    exceedance_chart,
    gain_chart,
    price_chart,
    time_axis,
    volatility_chart,
)
from regimeslot.reporting.tomorrow import tomorrow
from regimeslot.reporting.view import view_of

__all__ = ["Summary", "summarize"]

Part = dict[str, Any]


@dataclass(frozen=True)
class Summary:
    """Plain data of a report. A part that cannot be made holds ``missing``: why, and how to get it.

    Attributes
    ----------
    title : str
        Ticker or name of the data.
    data : dict
        Symbol, source, span, rows, when made and by which version.
    banners : list of str
        What must be read before any number.
    tomorrow, regime, trust : dict
        The three answers of the first screen.
    time : dict
        Time axis of all charts, encoded.
    charts : dict
        "price", "volatility", "gain", "exceedances", and "memory" where a slot-memory model was
        run: title, text alternative, columns, table.
    scores, regime_value, attribution, pit, overlay, slots, stability, transition, settings : dict
        Sections; ``attribution`` is None where the models for it were not run, and ``stability``
        where no regime model was refitted.
    """

    title: str
    main: str
    data: dict[str, str]
    banners: list[str]
    tomorrow: Part
    regime: Part
    trust: Part
    time: Part
    charts: dict[str, Part]
    scores: Part
    regime_value: Part
    attribution: Part | None
    pit: Part
    overlay: Part
    slots: Part
    stability: Part | None
    transition: Part
    settings: Part

    def to_dict(self) -> dict[str, Any]:
        """The same as dicts, lists, text and numbers, for ``json.dumps``."""
        return asdict(self)


def summarize(run: Any) -> Summary:
    """Compute all that a report says.

    Parameters
    ----------
    run : Run or Study
        A study alone has no next session and no fitted regime model; those parts say so.

    Returns
    -------
    Summary

    Raises
    ------
    InvalidInputError
        For anything else.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from regimeslot.evaluation.walk_forward import walk_forward
    >>> from regimeslot.features import make_dataset
    >>> steps = 0.01 * np.random.default_rng(0).standard_normal(700)
    >>> dates = pd.bdate_range("2020-01-01", periods=700)
    >>> data = make_dataset(pd.Series(np.exp(np.cumsum(steps)), index=dates), name="walk")
    >>> study = walk_forward(["mean", "linear"], data, train_size=500, refit_every=100)
    >>> summarize(study).data["rows"]
    '199 forecasts from 2 Dec 2021'
    """
    view = view_of(run)
    return Summary(
        title=view.name,
        main=view.main,
        data=data_line(view),
        banners=banners(view),
        tomorrow=tomorrow(view),
        regime=regime_answer(view),
        trust=trust(view),
        time=time_axis(view),
        charts={
            "price": price_chart(view),
            "volatility": volatility_chart(view),
            "gain": gain_chart(view),
            "exceedances": exceedance_chart(view),
            **memory_charts(view),
        },
        scores=scores_table(view),
        regime_value=regime_value(view),
        attribution=attribution(view),
        pit=pit_section(view),
        overlay=overlay_section(view),
        slots=slots_section(view),
        stability=stability_section(view),
        transition=transition_section(view),
        settings=settings_section(view),
    )
