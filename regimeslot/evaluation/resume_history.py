"""What newer prices say to what a run knows: new bars, late, repeated and missing ones, changes.

A run knows the prices of its fit and, bar by bar, the moves since. Newer prices add to that by
their moves, so that a dividend, which multiplies every earlier adjusted close by one factor,
changes nothing. Days of the fit stay as the fit saw them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import DataError
from regimeslot.evaluation.resume_clock import usable_until
from regimeslot.evaluation.resume_moves import level_after, levels_of, move_into, moves_of, rounding
from regimeslot.prices import Prices, infer_frequency, sessions_between
from regimeslot.prices.sessions import follows_new_york

__all__ = ["Correction", "History", "News"]

# Two downloads of one day agree to 1e-7, the smallest real change of a daily return (a dividend
# that came late) is near 1e-3: a thousandth of the moves' standard deviation lies between.
_NOISE = 1e-3
# Prices rounded to cents move daily returns by a hundredth of their standard deviation, another
# series by a half: where most moves are further apart than this, it is not the run's series.
_ANOTHER = 0.05
_WORDS = {"log-return": "return", "diff": "change", "level": "value"}
_BAR = ("Open", "High", "Low", "Close")
_NAMED = 3  # days named in a sentence before "and 5 more"

Correction = tuple[float, float]  # the move as it was used, and as it is now


@dataclass(frozen=True, eq=False)
class News:
    """What newer prices brought.

    Attributes
    ----------
    history : History, up to date
    new : tuple of Timestamp
        Bars that the run did not know, in order; some may be older than its last one.
    corrected : dict of Timestamp to (was, now)
        Moves into bars since the fit that are no longer what they were.
    remarks : dict of Timestamp to str
        What is odd about a bar, and what was done.
    notes : tuple of str
        Every remark, and what concerns no single bar.
    """

    history: History
    new: tuple[pd.Timestamp, ...] = ()
    corrected: Mapping[pd.Timestamp, Correction] = field(default_factory=dict)
    remarks: Mapping[pd.Timestamp, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class History:
    """One series as a run knows it.

    Attributes
    ----------
    fitted : Prices
        That the run was fitted on.
    moves : Series
        By date, of the bars since: log returns, changes or values, as ``transform`` says.
    transform : {"log-return", "diff", "level"}
    """

    fitted: Prices
    moves: pd.Series
    transform: str

    @cached_property
    def closes(self) -> pd.Series:
        """Closes of the fit and since, on the level of the fit's prices."""
        before = self.fitted.frame["Close"]
        if self.moves.empty:
            return before
        since = levels_of(float(before.iloc[-1]), self.moves, self.transform)
        return pd.concat([before, since])

    @property
    def index(self) -> pd.DatetimeIndex:
        """Dates of the fit and since."""
        return pd.DatetimeIndex(self.closes.index)

    @property
    def last(self) -> pd.Timestamp:
        """Date of the last bar."""
        return self.index[-1]

    @property
    def dates(self) -> pd.DatetimeIndex:
        """The fit's last bar and those since: after each of them a forecast is made."""
        return self.index[len(self.fitted) - 1 :]

    def until(self, day: pd.Timestamp) -> History:
        """The history without the bars after a day."""
        return replace(self, moves=self.moves[self.moves.index <= day])

    def prices(self, like: Prices | None) -> Prices:
        """The closes as Prices, with the provenance of ``like``, by default the fit's."""
        given = like or self.fitted
        frame = self.closes.rename("Close").rename_axis("Date").to_frame()
        return replace(
            given, frame=frame, ticker=self.fitted.ticker, proxy_for=self.fitted.proxy_for
        )

    def read(self, prices: Prices, now: datetime, *, gaps: bool = True) -> News:
        """Bring the history up to date with newer prices.

        Parameters
        ----------
        prices : Prices
        now : datetime
            With a time zone; a bar whose day is not over is left out.
        gaps : bool
            Whether missing sessions are said.

        Raises
        ------
        DataError
            If ``prices`` share no two days with the run's, or most moves they share differ.
        """
        self._require_same_series(prices)
        fresh, remarks = self._trusted(prices, now)
        notes = [*self._start(fresh), *self._end(fresh), *self._changes_of_the_fit(fresh)]
        merged = self._merged(fresh)
        known = self.moves.index
        new = merged.index.difference(known)
        corrected = self._corrected(fresh, merged)
        history = replace(self, moves=self._kept(merged, corrected))
        late = new[new < self.last]
        for day in late:
            remarks[day] = (
                f"The bar of {_day(day)} came late: it is put in its place, and the forecasts "
                "that were recorded without it stay as they are."
            )
        missing = _gaps(history.index, new[new > self.last], prices.symbol) if gaps else {}
        for day, remark in missing.items():
            remarks[day] = f"{remark} {remarks[day]}" if day in remarks else remark
        notes += self._lost(fresh)
        restated = self._restated(corrected, late, merged.index)
        notes += [restated] if restated else []
        said = tuple(remarks[day] for day in sorted(remarks))
        return News(history, tuple(new), corrected, remarks, (*notes, *said))

    # ------------------------------------------------------------------ what may be used
    def _require_same_series(self, prices: Prices) -> None:
        shared, apart = self._apart(prices.close)
        own = self.index
        if shared.empty:
            raise DataError(
                f"the new prices of {prices.symbol} ({_day(prices.index[0])} to "
                f"{_day(prices.last)}) share no two days with the run's ({_day(own[0])} to "
                f"{_day(own[-1])}), so nothing shows that they are the same series: give prices "
                "that begin before the run's last day"
            )
        differ = int((apart > _ANOTHER * self._spread).sum())
        if 2 * differ > len(shared):
            raise DataError(
                f"{differ} of {len(shared)} {self._word}s in the new prices of {prices.symbol} "
                f"differ from those that the run on {self.fitted.symbol} knows for the same days, "
                "so this is another series: give that of the run, or fit this one"
            )

    def _trusted(
        self, prices: Prices, now: datetime
    ) -> tuple[pd.DataFrame, dict[pd.Timestamp, str]]:
        """Newer prices without bars to come, unfinished ones, and copies of the bar before."""
        frame, remarks = prices.frame, {}
        limit = max(usable_until(now, prices.index, prices.symbol), self.last)
        early = frame.index > limit
        for day in frame.index[early]:
            why = "dated in the future" if day > pd.Timestamp(now.date()) else "not over yet"
            remarks[day] = f"The bar of {_day(day)} is {why}: it is left out."
        frame = frame[~early]
        copied = _copies(frame) & ~frame.index.isin(self.index)
        for day in frame.index[copied & (frame.index > self.last)]:
            remarks[day] = (
                f"The bar of {_day(day)} repeats the one before to the last digit, as sources do "
                "for days without trade: it is left out."
            )
        frame = frame[~copied]
        if self.transform == "log-return":
            same = (frame["Close"].diff() == 0).to_numpy() & (frame.index > self.last)
            for day in frame.index[same]:
                remarks[day] = (
                    f"The close of {_day(day)} repeats the one before: it is used, as a return "
                    "of zero."
                )
        return frame, remarks

    # ------------------------------------------------------------------ what is new
    def _merged(self, fresh: pd.DataFrame) -> pd.Series:
        """Moves since the fit as the newer prices give them; the run's own where they have none."""
        closes, end = self.closes, self.fitted.last
        shared = closes.index.intersection(fresh.index)
        of_fit = shared[shared <= end]
        anchor = of_fit[-1] if len(of_fit) else shared[0]
        level, rescaled = float(closes[anchor]), fresh["Close"]
        if self.transform == "log-return":
            rescaled = rescaled * (level / float(rescaled[anchor]))
        elif self.transform == "diff":
            rescaled = rescaled + (level - float(rescaled[anchor]))
        start = max(anchor, end)
        level = float(closes[start])
        held, values = rescaled.to_dict(), {}
        for day in self.moves.index.union(fresh.index).unique():
            if day <= start:
                continue
            if day in held:
                value, level = move_into(level, held[day], self.transform), held[day]
            else:
                value = float(self.moves[day])
                level = level_after(level, value, self.transform)
            values[day] = value
        before = self.moves[self.moves.index <= start]
        since = pd.Series(values, index=pd.DatetimeIndex(list(values)), dtype=float)
        return pd.concat([before, since]) if len(before) else since

    def _corrected(self, fresh: pd.DataFrame, merged: pd.Series) -> dict[pd.Timestamp, Correction]:
        was = self.moves
        now = merged[was.index]
        allowed = self._tolerance(fresh)[1:].reindex(was.index).fillna(0.0)
        beyond = (now - was).abs() > np.maximum(allowed, _NOISE * self._spread)
        return {day: (float(was[day]), float(now[day])) for day in was.index[beyond]}

    def _kept(self, merged: pd.Series, corrected: Mapping[pd.Timestamp, Correction]) -> pd.Series:
        """The merged moves, but where nothing changed beyond rounding exactly those recorded."""
        same = self.moves.index.difference(pd.DatetimeIndex(list(corrected)))
        values = merged.copy()
        values[same] = self.moves[same]
        return values

    # ------------------------------------------------------------------ what is said
    @property
    def _word(self) -> str:
        return _WORDS[self.transform]

    @property
    def _spread(self) -> float:
        """Standard deviation of what is new in a row of the fit, in the unit of the moves."""
        moves = moves_of(self.fitted.frame["Close"], self.transform)
        what = moves.diff().dropna() if self.transform == "level" else moves
        return float(np.std(what.to_numpy()))

    def _tolerance(self, fresh: pd.DataFrame) -> pd.Series:
        """How far rounding alone can move each move of the newer prices.

        A dividend rescales closes and they are rounded again, to cents in many files. Where most
        closes are what they were, nothing was rescaled and any difference is a real one.
        """
        close = fresh["Close"]
        shared = self.closes.index.intersection(fresh.index)
        rescaled = (self.closes[shared] != close[shared]).mean() > 0.5
        unit = max(rounding(close), rounding(self.fitted.frame["Close"])) if rescaled else 0.0
        if self.transform == "log-return":
            return unit * (1.0 / close + 1.0 / close.shift(1))
        return pd.Series(2.0 * unit, close.index)

    def _apart(self, close: pd.Series) -> tuple[pd.Index, NDArray[np.float64]]:
        """Days that both have, from the second on, and how far apart the moves into them are."""
        shared = self.closes.index.intersection(close.index)
        was, now = (moves_of(series[shared], self.transform) for series in (self.closes, close))
        return was.index, (now - was).abs().to_numpy(dtype=float)

    def _start(self, fresh: pd.DataFrame) -> list[str]:
        own = self.fitted.index
        first, rows = fresh.index[0], int((own < fresh.index[0]).sum())
        if not rows:
            return []
        before = "row before is that" if rows == 1 else f"{rows} rows before are those"
        return [
            f"The new prices of {self.fitted.symbol} start on {_day(first)}; the {before} of the "
            "run."
        ]

    def _end(self, fresh: pd.DataFrame) -> list[str]:
        last = fresh.index[-1]
        if last >= self.last:
            return []
        return [
            f"The new prices of {self.fitted.symbol} end on {_day(last)}, before the last bar that "
            f"is known already ({_day(self.last)}): they are older than the run."
        ]

    def _changes_of_the_fit(self, fresh: pd.DataFrame) -> list[str]:
        """What the newer prices say differently about the days of the fit."""
        own, notes = self.fitted.index, []
        gone = (own >= fresh.index[0]) & (own <= fresh.index[-1]) & ~own.isin(fresh.index)
        if gone.any():
            notes.append(
                f"The new prices of {self.fitted.symbol} lack {int(gone.sum())} of the {len(own)} "
                f"bars that the run was fitted on ({_days(own[gone])})."
            )
        of_fit = fresh[fresh.index <= self.fitted.last]
        days, apart = self._apart(of_fit["Close"])
        allowed = self._tolerance(fresh).reindex(days).fillna(0.0).to_numpy(dtype=float)
        differs = apart > np.maximum(allowed, _NOISE * self._spread)
        if differs.any():
            notes.append(
                f"The history of {self.fitted.symbol} was restated: {int(differs.sum())} of "
                f"{len(days)} {self._word}s differ from those of the fit, by up to "
                f"{self._size(apart.max())} ({_day(days[int(np.argmax(apart))])}); the models keep "
                "what they were fitted on, a new fit would take these up."
            )
        return notes

    def _lost(self, fresh: pd.DataFrame) -> list[str]:
        gone = self.moves.index.difference(fresh.index)
        gone = gone[(gone > fresh.index[0]) & (gone < fresh.index[-1])]
        if gone.empty:
            return []
        return [
            f"The new prices of {self.fitted.symbol} lack bars that were used before "
            f"({_days(gone)}): they are kept."
        ]

    def _restated(
        self,
        corrected: Mapping[pd.Timestamp, Correction],
        late: pd.Index,
        days: pd.Index,
    ) -> str:
        """One sentence on bars whose move changed; where a late bar came between, it must."""
        split = set(days[1:][days[:-1].isin(late)])
        changed = pd.DatetimeIndex([day for day in corrected if day not in split])
        if changed.empty:
            return ""
        sizes = [abs(corrected[day][1] - corrected[day][0]) for day in changed]
        one = len(changed) == 1
        what = (
            f"The bar of {_days(changed)} was restated after it was used: the {self._word} into it "
            if one
            else f"{len(changed)} bars were restated after they were used ({_days(changed)}): "
            f"their {self._word}s "
        )
        was, now = corrected[changed[0]]
        how = (
            f"was {self._size(was)}, is {self._size(now)}"
            if one
            else f"differ by up to {self._size(max(sizes))}"
        )
        return (
            f"{what}{how}. The states move over the new {self._word}{'' if one else 's'} from now "
            "on; the forecasts that were recorded stay as they are."
        )

    def _size(self, value: float) -> str:
        return f"{100 * value:.2g} %" if self.transform == "log-return" else f"{value:.2g}"


def _gaps(index: pd.DatetimeIndex, new: pd.Index, symbol: str) -> dict[pd.Timestamp, str]:
    """Sessions that were expected between a new bar and the one before it, and did not come."""
    if new.empty or infer_frequency(index) == "irregular":
        return {}
    start = index[index.searchsorted(new[0]) - 1]
    missing = sessions_between(start, new[-1], index, symbol).difference(index)
    if infer_frequency(index) != "daily":  # dates of slower series move a little within a period
        step = index[-260:].to_series().diff().median()
        near = index[index.get_indexer(missing, method="nearest")]
        missing = missing[np.abs((missing - near).to_numpy()) > 0.5 * step]
    doubt = "" if follows_new_york(index, symbol) else ", a holiday unknown here or a gap"
    remarks = {}
    for place in np.unique(index.searchsorted(missing)):
        days = missing[index.searchsorted(missing) == place]
        remarks[index[place]] = (
            f"No bar came for {_days(days)}{doubt}: the move into {_day(index[place])} covers "
            f"{'that session' if len(days) == 1 else 'those sessions'} too and is one row for the "
            "models."
        )
    return remarks


def _copies(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Rows that repeat a whole bar which had a range, volume included where there is one."""
    if not set(_BAR) <= set(frame.columns):
        return np.zeros(len(frame), bool)
    columns = [*_BAR, *(["Volume"] if "Volume" in frame else [])]
    values = frame[columns].to_numpy(dtype=float)
    copied = np.zeros(len(frame), bool)
    copied[1:] = (values[1:] == values[:-1]).all(axis=1) & (frame["High"] > frame["Low"])[1:]
    return copied


def _day(day: pd.Timestamp) -> str:
    return f"{day:%Y-%m-%d}"


def _days(days: pd.Index) -> str:
    named = ", ".join(_day(day) for day in days[:_NAMED])
    return named if len(days) <= _NAMED else f"{named} and {len(days) - _NAMED} more"
