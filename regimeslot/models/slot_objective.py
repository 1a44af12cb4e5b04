"""Penalised likelihood of slots and its exact gradient: experts x selector x likelihood.

    sum_t omega_t log sum_k w_k(t) p_k(y_t | x_t)  -  penalty(theta)

Everything here lives in standardised units; :mod:`regimeslot.models.slot_forecaster` maps
them to the data's. Time is the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regimeslot.models.likelihoods import LIKELIHOODS, SlotDensity
from regimeslot.models.selectors import SELECTORS, Selection

__all__ = ["Parameters", "Penalty", "Rows", "SlotObjective", "SlotSpec"]

Array = NDArray[np.float64]
Strength = float | Array

_SCALE_LIMIT = 4.0  # standardised log scales are held within +-4: e^4 is 55 standard deviations
_RAW_SHAPE = 1.5  # raw degrees of freedom at rest: about 7.2


@dataclass(frozen=True)
class Penalty:
    """Strengths of the quadratic penalties on the summed negative log-likelihood.

    A feature's coefficients are shrunk in two steps: their mean over slots toward zero
    (``shared``), each slot toward that mean (``deviation``). ``memory`` pulls the rows of
    transition logits toward each other, ``transition`` their mean toward zero. Strengths of
    features may be one number or one per feature, (F,); of location slopes, (K, F).
    """

    shared: Strength = 100.0
    deviation: Strength = 400.0
    gate: Strength = 100.0
    gate_bias: float = 1.0
    transition: float = 0.1
    memory: Strength = 0.1
    location: float = 20.0
    location_slope: Strength = 5.0
    shape: float = 0.5


@dataclass(frozen=True)
class SlotSpec:
    """Which slots: how many, their selector and likelihood, and the number of features by role."""

    n_slots: int
    selector: str
    likelihood: str
    n_location: int
    n_scale: int
    n_gate: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each block of parameters, in the order of the packed vector."""
        slots = self.n_slots
        shapes: dict[str, tuple[int, ...]] = {
            "location_bias": (slots,),
            "location_slope": (slots, self.n_location),
            "scale_bias": (slots,),
            "scale_slope": (slots, self.n_scale),
            "shape": (slots * LIKELIHOODS[self.likelihood].n_shape,),
        }
        if slots > 1:
            shapes["bias"] = SELECTORS[self.selector].bias_shape(slots)
            shapes["slope"] = SELECTORS[self.selector].slope_shape(slots, self.n_gate)
        return shapes


Parameters = dict[str, Array]


@dataclass(frozen=True)
class Rows:
    """Rows in standardised units, features as (F, T); ``starts`` are first rows of chains."""

    y: Array
    offset: Array
    location: Array
    scale: Array
    gate: Array
    weights: Array
    starts: NDArray[np.intp] | None = None


class SlotObjective:
    """Penalised negative log-likelihood of one set of rows, as a function of the packed vector."""

    def __init__(self, spec: SlotSpec, penalty: Penalty, rows: Rows) -> None:
        self.spec = spec
        self.rows = rows
        self.likelihood = LIKELIHOODS[spec.likelihood]
        self.selector = SELECTORS[spec.selector]
        self._slices: dict[str, slice] = {}
        size = 0
        for name, shape in spec.shapes.items():
            self._slices[name] = slice(size, size := size + int(np.prod(shape)))
        self.size = size
        self.penalty = penalty

    # ------------------------------------------------------------------ parameters
    def unpack(self, theta: Array) -> Parameters:
        """Named blocks, as views of the packed vector."""
        return {n: theta[self._slices[n]].reshape(s) for n, s in self.spec.shapes.items()}

    @cached_property
    def positions(self) -> dict[str, NDArray[np.intp]]:
        """Where each block's entries stand in the packed vector."""
        return {
            n: np.arange(self._slices[n].start, self._slices[n].stop).reshape(s)
            for n, s in self.spec.shapes.items()
        }

    def pack(self, parameters: Parameters) -> Array:
        """One vector of all blocks."""
        return np.concatenate([parameters[name].ravel() for name in self.spec.shapes])

    def _rest(self) -> Parameters:
        rest = {name: np.zeros(shape) for name, shape in self.spec.shapes.items()}
        rest["shape"] += _RAW_SHAPE
        return rest

    def start(self) -> Parameters:
        """Slots side by side in scale, equal in everything else; chains that stay."""
        start = self._rest()
        slots = self.spec.n_slots
        if slots > 1:
            start["scale_bias"] = np.linspace(-0.5, 0.5, slots)
            start["bias"] = self.selector.start(slots)
        return start

    def reordering(self, order: NDArray[np.intp]) -> Array:
        """Matrix that maps a packed vector to the same model with its slots in another order.

        Selector logits are relative to slot 0, so that a new slot 0 is subtracted from the others.
        """
        matrix = np.zeros((self.size, self.size))
        where = self.positions
        for name in ("location_bias", "location_slope", "scale_bias", "scale_slope", "shape"):
            if where[name].size:
                matrix[where[name].ravel(), where[name][order].ravel()] = 1.0
        for name, rows in (("bias", len(where.get("bias", ()))), ("slope", 0)):
            if name not in where or not where[name].size:
                continue
            for new, old in enumerate(order[1:]):
                for slot, sign in ((old, 1.0), (order[0], -1.0)):
                    if not slot:
                        continue
                    if name == "slope":
                        matrix[where[name][new], where[name][slot - 1]] += sign
                        continue
                    for row in range(rows):
                        source = order[row] if rows > 1 else row
                        matrix[where[name][row, new], where[name][source, slot - 1]] += sign
        return matrix

    @cached_property
    def _center(self) -> Array:
        return self.pack(self._rest())

    @cached_property
    def _penalty(self) -> Array:
        """Q of the penalty ``(theta - center)' Q (theta - center)``.

        Gate slopes and biases are relative to slot 0; the quadratic form is the one of the full,
        redundant logits at their smallest (centred) representation.
        """
        penalty, slots, spec = self.penalty, self.spec.n_slots, self.spec
        mean = np.full((slots, slots), 1.0 / slots)
        apart = np.eye(slots) - mean

        def by_feature(form: Array, strength: Strength, n_features: int) -> Array:
            diagonal = np.diag(np.broadcast_to(strength, n_features))
            return np.asarray(np.kron(form, diagonal), float)

        slopes = np.broadcast_to(penalty.location_slope, (slots, spec.n_location))
        blocks = {
            "location_bias": penalty.location * np.eye(slots),
            "location_slope": np.diag(slopes.ravel()),
            "scale_bias": np.zeros((slots, slots)),
            "scale_slope": by_feature(mean / slots, penalty.shared, spec.n_scale)
            + by_feature(apart, penalty.deviation, spec.n_scale),
            "shape": penalty.shape * np.eye(spec.shapes["shape"][0]),
        }
        if slots > 1:
            relative = apart[1:, 1:]
            blocks["slope"] = by_feature(relative, penalty.gate, spec.n_gate)
            blocks["bias"] = penalty.gate_bias * relative
            if self.selector.memory:
                common = own = slots * penalty.transition
                if self.selector.gate:  # a common logit may also be carried by the gate's bias
                    common = own * penalty.gate_bias / max(own + penalty.gate_bias, 1e-300)
                rows = penalty.memory * apart + common / slots * mean
                blocks["bias"] = np.kron(rows, relative)
        matrix = np.zeros((self.size, self.size))
        for name, where in self._slices.items():
            matrix[where, where] = blocks[name]
        return matrix

    # ------------------------------------------------------------------ densities
    def locations(self, parameters: Parameters) -> list[Array | float]:
        """Location of each slot: a number, or (T,) where it depends on features."""
        bias, slope = parameters["location_bias"], parameters["location_slope"]
        if not self.spec.n_location:
            return list(bias)
        return list(bias[:, None] + slope @ self.rows.location)

    def log_scales(self, parameters: Parameters) -> Array:
        """Log standard deviation (K, T), before it is held within its limits."""
        log_scale = self.rows.offset + parameters["scale_bias"][:, None]
        if self.spec.n_scale:
            log_scale += parameters["scale_slope"] @ self.rows.scale
        return log_scale

    def held_log_scales(self, parameters: Parameters) -> Array:
        """Log standard deviation (K, T) as the densities use it."""
        return np.clip(self.log_scales(parameters), -_SCALE_LIMIT, _SCALE_LIMIT)

    def densities(
        self, parameters: Parameters
    ) -> tuple[list[SlotDensity], NDArray[np.bool_] | None]:
        """Density of each slot, and where a log scale hit its limit (K, T), if any did."""
        log_scale = self.log_scales(parameters)
        outside = None
        if log_scale.max() > _SCALE_LIMIT or log_scale.min() < -_SCALE_LIMIT:
            outside = np.abs(log_scale) > _SCALE_LIMIT
            np.clip(log_scale, -_SCALE_LIMIT, _SCALE_LIMIT, out=log_scale)
        raw = self._raw(parameters)
        return [
            self.likelihood.density(self.rows.y, location, log_scale[k], raw[k])
            for k, location in enumerate(self.locations(parameters))
        ], outside

    def _raw(self, parameters: Parameters) -> list[float]:
        return parameters["shape"].tolist() or [0.0] * self.spec.n_slots

    def transition(self, parameters: Parameters) -> Array:
        """Transition probabilities of the selector; one row without memory."""
        if self.spec.n_slots == 1:
            return np.ones((1, 1))
        return self.selector.transition(parameters["bias"], parameters["slope"], self.rows.gate)

    def _select(self, parameters: Parameters, densities: list[SlotDensity]) -> Selection:
        weights = self.rows.weights
        if self.spec.n_slots == 1:
            nothing = np.zeros((0, 0))
            return Selection(densities[0].log_density, weights[None], nothing, nothing)
        starts = np.zeros(1, np.intp) if self.rows.starts is None else self.rows.starts
        return self.selector.select(
            np.stack([d.log_density for d in densities]),
            parameters["bias"],
            parameters["slope"],
            self.rows.gate,
            weights,
            starts,
        )

    # ------------------------------------------------------------------ objective
    def __call__(self, theta: Array) -> tuple[float, Array]:
        """Value and gradient."""
        if not np.abs(theta).max() < 40.0:  # far outside: let the line search step back
            return np.inf, np.zeros_like(theta)
        parameters = self.unpack(theta)
        densities, outside = self.densities(parameters)
        selection = self._select(parameters, densities)
        away = theta - self._center
        pull = self._penalty @ away
        value = float(away @ pull - self.rows.weights @ selection.log_likelihood)
        gradient = 2.0 * pull
        by = self.unpack(gradient)
        raw = self._raw(parameters)
        by_scale = np.empty((len(densities), len(self.rows.y)))
        for k, density in enumerate(densities):
            weights = selection.responsibility[k]
            np.multiply(weights, density.by_log_scale, out=by_scale[k])
            by["location_bias"][k] -= weights @ density.by_location
            if self.spec.n_location:
                by["location_slope"][k] -= self.rows.location @ (weights * density.by_location)
            if len(by["shape"]):
                by["shape"][k] -= self.likelihood.by_raw(weights, density, raw[k])
        if outside is not None:
            by_scale[outside] = 0.0
        by["scale_bias"] -= by_scale.sum(axis=1)
        if self.spec.n_scale:
            by["scale_slope"] -= by_scale @ self.rows.scale.T
        if self.spec.n_slots > 1:
            by["bias"] -= selection.by_bias
            by["slope"] -= selection.by_slope
        return value, gradient

    def inverse_information(self, theta: Array) -> Array:
        """Inverse of the complete-data information plus penalty: where a quasi-Newton fit starts.

        Each slot's rows count by their responsibility, as if the labels were known; selector
        logits count half, because the labels are not.
        """
        parameters = self.unpack(theta)
        densities, _ = self.densities(parameters)
        responsibility = np.maximum(self._select(parameters, densities).responsibility, 0.0)
        log_scale = self.held_log_scales(parameters)
        information = 2.0 * self._penalty
        raw = self._raw(parameters)
        index = self.positions

        def add(where: NDArray[np.intp], design: Array, weights: Array) -> None:
            information[np.ix_(where, where)] += (design * weights) @ design.T

        ones = np.ones((1, len(self.rows.y)))
        location_design = np.vstack([ones, self.rows.location])
        scale_design = np.vstack([ones, self.rows.scale])
        for k, weights in enumerate(responsibility):
            by_scale, by_location, by_shape = self.likelihood.information(raw[k])
            add(
                np.append(index["location_bias"][k], index["location_slope"][k]),
                location_design,
                weights * (by_location * np.exp(-2.0 * log_scale[k])),
            )
            add(
                np.append(index["scale_bias"][k], index["scale_slope"][k]),
                scale_design,
                weights * by_scale,
            )
            if len(index["shape"]):
                where = index["shape"][k]
                information[where, where] += weights.sum() * by_shape
        if self.spec.n_slots > 1:
            self._add_selector_information(information, index, parameters, responsibility)
        return np.asarray(np.linalg.inv(information), float)

    def _add_selector_information(
        self,
        information: Array,
        index: dict[str, NDArray[np.intp]],
        parameters: Parameters,
        responsibility: Array,
    ) -> None:
        transition = self.transition(parameters)
        leaving = responsibility if self.selector.memory else self.rows.weights[None]
        design = np.vstack([np.ones((1, len(self.rows.y))), self.rows.gate])
        slots = range(1, self.spec.n_slots)
        where = {
            (i, j): np.append(index["bias"][i, j - 1], index["slope"][j - 1 : j])
            for i in range(len(leaving))
            for j in slots
        }
        for i, weights in enumerate(leaving):
            chance = transition[i]
            for j in slots:
                for other in slots:
                    curvature = 0.5 * weights * chance[j] * ((j == other) - chance[other])
                    information[np.ix_(where[i, j], where[i, other])] += (
                        design * curvature
                    ) @ design.T
