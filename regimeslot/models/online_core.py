"""Slots that learn from a stream: the selector's filter, and when slots are born and merged.

One step, in the stream's units. Every slot says its density of the target; the filter weighs it
with the probability of the slot before the target. A slot's density is its predictive Student-t
mixed with a wide one for outliers, so that one wild row is no reason to leave a law. Besides the
slots there is always the hypothesis that a *new* law begins with this row; it answers with the
density of an empty slot. When that becomes probable a candidate slot is started, which learns
every row from there on; it becomes a slot once its evidence against all known slots is strong.
"""

from __future__ import annotations

import math
from copy import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regimeslot.models.online_bank import Prediction, SlotBank
from regimeslot.models.online_evidence import log_student
from regimeslot.models.online_filter import (
    WIDE_DOF,
    WIDE_SHAPE,
    gate,
    move,
    outlier_rates,
    wide_log_density,
)
from regimeslot.models.online_units import StreamUnits

__all__ = ["Components", "Event", "OnlineSlots", "Outlook", "SlotSettings"]

Array = NDArray[np.float64]

_SIGNAL = 30.0  # prior share of the signal in the variance of y over that of the noise
_WIDE = 4.0  # outliers are at least this many times as wide as the slot's noise
_SURPRISE = 0.05  # probability of a new law that starts a candidate
_HOPELESS = 1e-8  # probability under which a candidate is given up
_MOST_A_ROW = 2.0  # nats that one row can speak for a candidate: a few wild ones are no law
_PROBATION = 6.0  # rows after which a slot that came into force keeps what it learned
_WARM_UP = 16  # rows from which the units are taken
_CENTRED_FROM = 10  # rows that show a mean; fewer are measured from zero
_PRIOR_SWITCHES = 10.0  # rows that the prior staying probability is worth
_STATE = (
    "n_slots",
    "candidate",
    "advantage",
    "probs",
    "names",
    "taken",
    "saved",
    "born",
    "rows",
    "switches",
    "stays",
    "empty_precision",
    "before",  # never changed in place
)


class Event(NamedTuple):
    """A slot was born, or merged into an older one."""

    time: int  # rows learned when it happened
    kind: str  # "spawn" or "merge"
    slot: int  # number of the slot, counted from 0 and never used again
    into: int  # the slot that took its rows; itself for a spawn


@dataclass(frozen=True)
class SlotSettings:
    """What the user can set; see :class:`OnlineSlotRegressor`."""

    max_slots: int
    forgetting: tuple[float, ...]
    stay: float
    new: float
    outliers: float
    threshold: float
    evidence: float
    merge_every: int
    gate: bool
    intercept: bool


class Outlook(NamedTuple):
    """What is known about a row before its target."""

    row: Array  # (d,), z
    said: Prediction
    slots: list[float]  # predicted probabilities of the slots, then of the candidate
    stayed: list[float]  # the part of the slots' that was there before
    new: float  # and of a law that begins here


class Components(NamedTuple):
    """Student-t components of one row's forecast, C of them."""

    weights: Array  # (C,)
    locations: Array  # (C, p), in units of y
    scales: Array  # (C, p)
    dof: Array  # (C,)


class OnlineSlots:
    """State and step of the online slots, for rows x (d,) and targets y (p,)."""

    def __init__(self, settings: SlotSettings, n_features: int, n_outputs: int) -> None:
        self.settings = settings
        self.units = StreamUnits(n_features, n_outputs, settings.intercept)
        self.early: list[tuple[Array, Array]] = []
        d = n_features + settings.intercept
        self.bank = SlotBank(
            settings.max_slots + 1,
            d,
            n_outputs,
            np.array(settings.forgetting),
            shape=WIDE_SHAPE,
            gate=settings.gate,
        )
        self._reset()

    def _reset(self) -> None:
        """Forget everything but the units."""
        d = self.bank.prior_coef.shape[2]
        self.n_slots = 0
        self.candidate = False
        self.advantage = 0.0  # log evidence of the candidate over the known slots
        self.before: dict[str, Array] | None = None  # the slots when the candidate started
        self.probs: list[float] = []  # filtered, slots and then candidate
        self.names: list[int] = []
        self.taken: list[float] = []  # rows of each slot since it came into force
        self.saved: list[dict[str, Any] | None] = []  # each slot as it was then, on probation
        self.events: list[Event] = []
        self.born = 0
        self.rows = 0
        self.switches = _PRIOR_SWITCHES * (1.0 - self.settings.stay)
        self.stays = _PRIOR_SWITCHES * self.settings.stay
        self.noise: list[list[float]] = []  # noise variance of each slot and output
        self.empty_precision = np.full(d, d / _SIGNAL)

    def learn(self, x: Array, y: Array) -> None:
        """Learn one row; the first rows also set the units, and are then learned again in them."""
        if self.rows >= _WARM_UP:
            self.units.notice(x, y)
            self._step(self.units.row(x), self.units.target(y))
            return
        self.early.append((x.copy(), y.copy()))
        X, Y = (np.array(rows) for rows in zip(*self.early, strict=True))
        self.units.set_from(X, Y, centred=len(X) >= _CENTRED_FROM)
        self._reset()
        for early_x, early_y in self.early:
            self._step(self.units.row(early_x), self.units.target(early_y))
        if self.rows == _WARM_UP:
            self.early = []

    def outlook(self, x: Array) -> Outlook:
        """Predictions and predicted probabilities for one row."""
        return self._outlook(self.units.row(x))

    def _outlook(self, row: Array) -> Outlook:
        said = self.bank.predict(row, len(self.probs))
        if not self.probs:
            return Outlook(row, said, [], [], 1.0)
        if self.settings.max_slots == 1:
            return Outlook(row, said, [1.0], [1.0], 0.0)
        K, likely = self.n_slots, [1.0] * self.n_slots
        if self.settings.gate and K > 1:
            seen = self.bank.log_density(row, said.leverage[:K])
            likely = gate(seen, self.bank.seen[:K].tolist())
        new, leave = self.settings.new, 1.0 - self.settings.stay
        return Outlook(row, said, *move(self.probs, likely, self.leaving(), new, leave))

    def leaving(self) -> float:
        """Learned probability of leaving a slot for another."""
        return min(self.switches / (self.switches + self.stays), 1.0 - self.settings.new)

    def _step(self, row: Array, target: Array) -> None:
        self.rows += 1
        if not self.probs:
            self._start(0)
            self._promote()
            self.probs = [1.0]
        view = self._outlook(row)
        S, K = len(view.slots), self.n_slots
        bank = self.bank
        error = target - view.said.mean
        spread = 2.0 * bank.rate[:S] * (1.0 + view.said.leverage)[:, :, None]
        half, constant = bank.shape[:S] + 0.5, bank.constant[:S]
        each = log_student(error, spread, half[:, :, None], constant[:, :, None])
        each = each[:, :, 0] if each.shape[2] == 1 else each.sum(2)
        wide = self._wide(S, error)
        fresh = self._fresh(row, target) if view.new else -math.inf
        top = max(float(each.max()), fresh, *wide)
        likelihood = np.exp(each - top)
        inlier = (bank.mix[:S] * likelihood).sum(1).tolist()
        rates = self._outlier_rates(S)
        inside = [(1.0 - e) * f for e, f in zip(rates, inlier, strict=True)]
        density = [f + e * math.exp(g - top) for f, e, g in zip(inside, rates, wide, strict=True)]
        joint = [w * f for w, f in zip(view.slots, density, strict=True)]
        new = view.new * math.exp(fresh - top)
        total = sum(joint) + new
        if not 0.0 < total < math.inf:  # the row is beyond every density: it says nothing
            joint, new, total = list(view.slots), view.new, 1.0
            density, inside = [1.0] * S, [0.0] * S
        if K > 1:
            self._count_switches(view, joint, total)
        if self.candidate:
            against = sum(joint[:K]) / sum(view.slots[:K])
            if density[K] > 0.0 and against > 0.0:
                self.advantage += min(math.log(density[K] / against), _MOST_A_ROW)
        self.probs = [j / total for j in joint]
        outer, threshold = row[:, None] * row, self.settings.threshold
        for k in range(S):
            # A candidate is the hypothesis that all rows since its start are its own.
            share = 1.0 if k == K else self.probs[k]
            if share <= threshold:
                self._leave(k)
                continue
            sure = inside[k] / density[k] if density[k] > 0.0 else 0.0
            self._enter(k, share * sure)
            bank.outliers[k] += share * (1.0 - sure)
            if share * sure > threshold:
                bank.weigh_factors(k, share * sure, likelihood[k])
                self._count(k, share * sure, row, outer, error[k], view.said)
        self._new_law(new / total, row, target, outer)
        self.units.follow(target)
        if self.rows % max(self.settings.merge_every, len(row)) == 0:
            self._tidy()

    def _enter(self, k: int, weight: float) -> None:
        """Note that slot k takes a row; at the first since it was out of force, how it was."""
        if k < self.n_slots and self.taken[k] < _PROBATION:
            if self.taken[k] == 0.0 and self.saved[k] is None:
                self.saved[k] = self.bank.get_slot(k)
            self.taken[k] += weight
            if self.taken[k] >= _PROBATION:
                self.saved[k] = None

    def _leave(self, k: int) -> None:
        """Note that slot k is out of force, and take back a few rows that were not its own."""
        saved = self.saved[k]
        if saved is not None:
            self.bank.set_slot(k, saved)
            self.noise[k] = self.bank.noise_variance(k)
            self.saved[k] = None
        self.taken[k] = 0.0

    def _count(
        self, k: int, weight: float, row: Array, outer: Array, error: Array, said: Prediction
    ) -> None:
        self.bank.update(k, weight, row, outer, error, said)
        self.noise[k] = self.bank.noise_variance(k)

    def _wide(self, S: int, error: Array) -> list[float]:
        """Log density of the target if it is an outlier of each slot."""
        if self.settings.outliers == 0.0:
            return [-math.inf] * S
        centres = (self.bank.mix[:S, :, None] * error).sum(1).tolist()
        return [
            wide_log_density(centre, widths)
            for centre, widths in zip(centres, self._widths(), strict=True)
        ]

    def _widths(self) -> list[list[float]]:
        """Squared scale of the outliers of each slot and output."""
        variance = self.units.variance.tolist()
        return [
            [max(v, _WIDE * _WIDE * s) for s, v in zip(noise, variance, strict=True)]
            for noise in self.noise
        ]

    def _outlier_rates(self, S: int) -> list[float]:
        bank = self.bank
        return outlier_rates(
            self.settings.outliers, bank.outliers[:S].tolist(), bank.seen[:S].tolist()
        )

    def _empty_rate(self) -> Array:
        """b_0 with which an empty slot expects the running variance of the target."""
        return WIDE_SHAPE * self.units.variance / (1.0 + _SIGNAL)

    def _empty_mean(self) -> Array:
        """w_0 of an empty slot: the running mean of the target."""
        coef = np.zeros(self.bank.prior_coef.shape[1:])
        if self.settings.intercept:
            coef[:, 0] = self.units.mean
        return coef

    def _empty_spread(self, row: Array) -> Array:
        """Squared scale of an empty slot's forecast."""
        return self._empty_rate() / WIDE_SHAPE * (1.0 + row @ (row / self.empty_precision))

    def _fresh(self, row: Array, target: Array) -> float:
        """Log density of the target under an empty slot."""
        error = target - self._empty_mean() @ row
        return wide_log_density(error.tolist(), self._empty_spread(row).tolist())

    def _start(self, slot: int) -> None:
        self.bank.start(slot, self.empty_precision, self._empty_mean(), self._empty_rate())
        self.noise = [*self.noise[:slot], self.bank.noise_variance(slot)]

    def _new_law(self, new: float, row: Array, target: Array, outer: Array) -> None:
        """Start, give up or promote the candidate."""
        K = self.n_slots
        if self.candidate:
            odds = self.advantage + math.log(self.settings.new)
            strong = odds > self.settings.evidence and self.probs[K] > 0.5
            if strong and self.settings.max_slots > K:
                self._promote()
            elif self.probs[K] < _HOPELESS:
                self._end_candidate()
        if new > _SURPRISE and new > sum(self.probs[self.n_slots :]):
            K = self.n_slots
            self.before = self.bank.get_state(K)
            self._start(K)
            said = self.bank.predict(row, K + 1)
            self._count(K, 1.0, row, outer, target - said.mean[K], said)
            self.candidate = True
            self.advantage = 0.0  # the row that gave rise to it is no evidence for it
            self.probs = [*self.probs[:K], new]
        total = sum(self.probs)
        self.probs = [p / total for p in self.probs]

    def _end_trial(self) -> None:
        self.candidate, self.before = False, None

    def _end_candidate(self) -> None:
        self._end_trial()
        del self.probs[self.n_slots :], self.noise[self.n_slots :]

    def _promote(self) -> None:
        """The law after the known ones becomes a slot of its own.

        All rows since its start were its own, so the others forget what they took of them.
        """
        if self.before is not None:
            self.bank.set_state(self.before)
            self.noise[: self.n_slots] = map(self.bank.noise_variance, range(self.n_slots))
        self._end_trial()
        self.events.append(Event(self.rows, "spawn", self.born, self.born))
        self.names.append(self.born)
        self.taken = [_PROBATION] * (self.n_slots + 1)
        self.saved = [None] * (self.n_slots + 1)
        self.born += 1
        self.n_slots += 1

    def _count_switches(self, view: Outlook, joint: list[float], total: float) -> None:
        """Expected changes between known slots, for the learned probability of leaving one."""
        for stayed, w, j in zip(view.stayed, view.slots, joint, strict=False):
            if w > 0.0:
                here = j / total * (stayed / w)
                self.stays += here
                self.switches += j / total - here

    def _tidy(self) -> None:
        """Merge the slot in force with one that is the same law, and measure the columns."""
        bank, K = self.bank, self.n_slots
        self.empty_precision = bank.typical_precision(K) * len(self.empty_precision) / _SIGNAL
        k = int(np.argmax(self.probs[:K]))
        gains = [-math.inf if i == k else bank.gain_of_merging(*sorted((i, k))) for i in range(K)]
        best = int(np.argmax(gains))
        if gains[best] > 0.0:
            self._merge(min(best, k), max(best, k))

    def _merge(self, first: int, second: int) -> None:
        self.bank.merge(first, second)
        self.before = None  # it knows both
        self.noise[first] = self.bank.noise_variance(first)
        self.events.append(Event(self.rows, "merge", self.names[second], self.names[first]))
        self.probs[first] += self.probs[second]
        for k in range(second, len(self.probs) - 1):
            self.bank.copy(k + 1, k)
        for values in (self.probs, self.noise, self.names, self.taken, self.saved):
            del values[second]
        self.saved[first] = None
        self.n_slots -= 1

    def components(self, view: Outlook) -> Components:
        """The forecast of one row, in units of y: a mixture of Student-t for each output."""
        S, units, bank = len(view.slots), self.units, self.bank
        mix, rates = bank.mix[:S], np.array(self._outlier_rates(S))
        p = len(units.mean)
        slots = np.array(view.slots)
        wide = np.array(self._widths()).reshape(S, p)
        centre = (mix[:, :, None] * view.said.mean).sum(1)
        spread = bank.rate[:S] / bank.shape[:S, :, None] * (1.0 + view.said.leverage)[:, :, None]
        fresh = self._empty_spread(view.row)
        weights = ((slots * (1.0 - rates))[:, None] * mix).ravel(), slots * rates, [view.new]
        means = view.said.mean.reshape(-1, p), centre, (self._empty_mean() @ view.row)[None]
        scales = np.sqrt(np.concatenate([spread.reshape(-1, p), wide, fresh[None]]))
        dof = 2.0 * bank.shape[:S].ravel(), np.full(S + 1, WIDE_DOF)
        return Components(
            np.concatenate(weights),
            units.y_shift + units.y_scale * np.concatenate(means),
            units.y_scale * scales,
            np.concatenate(dof),
        )

    def mean(self, view: Outlook) -> Array:
        """Mean of the forecast, (p,), without building it."""
        weights = self.bank.mix[: len(view.slots)] * np.array(view.slots)[:, None]
        mean = weights.ravel() @ view.said.mean.reshape(weights.size, -1)
        mean = mean + view.new * (self._empty_mean() @ view.row)
        return self.units.y_shift + self.units.y_scale * mean

    def get_state(self) -> dict[str, Any]:
        """Everything that a later step depends on, as arrays and plain values."""
        state = {name: copy(getattr(self, name)) for name in _STATE}
        state["events"] = [tuple(event) for event in self.events]
        state["noise"] = [list(noise) for noise in self.noise]
        state["early"] = [(x.copy(), y.copy()) for x, y in self.early]
        return {**state, "units": self.units.get_state(), "bank": self.bank.get_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what :meth:`get_state` gave."""
        for name in _STATE:
            setattr(self, name, copy(state[name]))
        self.events = [Event(*event) for event in state["events"]]
        self.noise = [list(noise) for noise in state["noise"]]
        self.early = list(state["early"])
        self.units.set_state(state["units"])
        self.bank.set_state(state["bank"])
