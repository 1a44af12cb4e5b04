"""Memory that can be looked at: which slot a slot-memory LSTM reads and writes, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.models.slot_lstm_forecaster import SlotLSTMForecaster, SlotMemory
from regimeslot.reporting.tables import Table, cell
from regimeslot.reporting.thin import encode
from regimeslot.reporting.view import View
from regimeslot.reporting.words import date, share

__all__ = ["memory_charts", "memory_of", "memory_title"]

Array = NDArray[np.float64]
_MOVES = 0.02  # standard deviation over the rows from which a share is said to move
_DISTINCT = 1.2  # ratio of shares between regimes from which they are said to differ


def memory_of(view: View) -> tuple[str, SlotMemory] | None:
    """Name and memory, on the forecast rows, of the first slot-memory model that was run.

    Rows without a whole window before them hold NaN.
    """
    models = view.study.models if view.run is None else view.run.models
    for name, model in models.items():
        if isinstance(model, SlotLSTMForecaster) and model.cell == "slots":
            rows = view.study.rows
            start = max(rows.start - (model.window - 1), 0)
            X = view.study.dataset.X.iloc[start : rows.stop]
            if len(X) < model.window:
                return None
            memory = model.memory(X)
            return name, SlotMemory(
                memory.read.reindex(view.index), memory.write.reindex(view.index), memory.in_use
            )
    return None


def memory_charts(view: View) -> dict[str, dict[str, Any]]:
    """The chart "memory" as plain data, by its name; empty where no slot-memory model was run."""
    found = memory_of(view)
    if found is None:
        return {}
    model, memory = found
    title = memory_title(view, memory)
    names = [f"slot {number}" for number in range(1, memory.read.shape[1] + 1)]
    parts = {"read": memory.read, "write": memory.write}
    note = (
        f"Shares of the first network that is in use, by the final fit of {model}. Slots start "
        "with spans from short (slot 1) to long; features up to each row alone decide."
    )
    if not memory.in_use:
        note = (
            f"No network of {model} is in use: early stopping found that its memory does not help, "
            "and what is read and written here moves no forecast."
        )
    span = f"{date(view.index[0], weekday=False)} to {date(view.index[-1], weekday=False)}"
    chart = {
        "title": title,
        "alt": f"Stacked shares of the memory slots that {model} reads and writes, {span}. "
        f"{title}.",
        "y_label": "share of the slots, %",
        "note": note,
        "columns": {
            "names": names,
            **{
                what: [encode(100 * frame[slot].to_numpy(), 0.1) for slot in frame]
                for what, frame in parts.items()
            },
        },
        "table": _table(view, memory, names),
    }
    return {"memory": chart}


def memory_title(view: View, memory: SlotMemory) -> str:
    """The finding: what differs between regimes, or that nothing does."""
    if not memory.in_use:
        return "The forecasts make no use of slot memory"
    moves = max(float(frame.std().max()) for frame in (memory.read, memory.write))
    if moves < _MOVES:
        return "Which slot is read and written hardly changes from row to row"
    likeliest = _likeliest(view)
    if likeliest is not None:
        calm, wild = likeliest == 0, likeliest == likeliest.max()
        if likeliest.max() > 0 and calm.any():
            best, said = _DISTINCT, ""
            for verb, frame in (("read", memory.read), ("written", memory.write)):
                inside, outside = _mean(frame, wild), _mean(frame, calm)
                ratio = inside / np.maximum(outside, 1e-9)
                k = int(np.nanargmax(ratio))
                if ratio[k] > best and inside[k] >= 0.05:
                    best = float(ratio[k])
                    said = (
                        f"Slot {k + 1} is {verb} more in the wild regime than in the calm one "
                        f"({share(inside[k])} against {share(outside[k])})"
                    )
            if said:
                return said
    written, read = memory.write.mean(), memory.read.mean()
    k, j = int(written.to_numpy().argmax()), int(read.to_numpy().argmax())
    return (
        f"Slot {k + 1} takes {share(written.iloc[k])} of the writing, slot {j + 1} gives "
        f"{share(read.iloc[j])} of the reading"
    )


def _likeliest(view: View) -> NDArray[np.intp] | None:
    """Number of the likeliest regime at every row, calm first."""
    return None if view.regimes is None else view.regimes.to_numpy().argmax(axis=1)


def _mean(frame: pd.DataFrame, rows: NDArray[np.bool_]) -> Array:
    return np.asarray(frame[rows].mean(), dtype=float)


def _table(view: View, memory: SlotMemory, names: list[str]) -> Table:
    """Mean shares over all rows, and over those where each regime was the likeliest."""
    groups = [("all rows", np.ones(len(view.index), dtype=bool))]
    likeliest = _likeliest(view)
    if likeliest is not None and view.regimes is not None:
        groups += [
            (f"likeliest {name}", likeliest == k)
            for k, name in enumerate(view.regimes.columns)
            if (likeliest == k).any()
        ]
    rows = [
        [cell(label)]
        + [
            cell(f"{100 * value:.1f}")
            for frame in (memory.read, memory.write)
            for value in _mean(frame, chosen)
        ]
        for label, chosen in groups
    ]
    columns = [f"{what} {name}, %" for what in ("Read", "Written") for name in names]
    return Table("Shares of the memory slots by regime", ("Rows", *columns), rows)
