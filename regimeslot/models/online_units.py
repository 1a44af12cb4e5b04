"""Units of a stream: fixed early, so that statistics keep their meaning for ever.

Slots hold statistics of z = (x - m) / s and v = (y - m_y) / s_y. The first rows set m and s;
afterwards they stay, because to change them would touch slots that must not be touched.
A column that had not varied by then gets its scale with its first other value: until then its z
was exactly zero in every row, so that no statistic depends on the choice.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["StreamUnits"]

Array = NDArray[np.float64]

_MEMORY = 500.0  # rows over which mean and variance of y are remembered
_SETTLED = 16  # rows after which scales are trusted
_FAR = 3.0  # before that no column counts as farther out than this
_ALIKE = 10.0  # columns whose scales differ by less share one scale at first
_WILD = 5.0  # standard deviations that a row may count for in mean and variance
_FLOOR = 1e-12  # least variance of v: a target that has not moved yet


class StreamUnits:
    """Affine maps to z and v, and running mean and variance of v."""

    def __init__(self, n_features: int, n_outputs: int, intercept: bool) -> None:
        self.intercept = intercept
        self.x_shift = np.zeros(n_features)
        self.x_factor = np.zeros(n_features)  # 1 / s, and 0 where the column has not varied
        self.y_shift = np.zeros(n_outputs)
        self.y_factor = np.zeros(n_outputs)
        self.mean = np.zeros(n_outputs)
        self.variance = np.ones(n_outputs)
        self.rows = 0
        self.limit = np.inf

    def set_from(self, X: Array, Y: Array, *, centred: bool) -> None:
        """Take scale, and shift where ``centred``, from rows (n, d), (n, p); forget the rest."""
        for rows, name in ((X, "x"), (Y, "y")):
            shift = rows.mean(0) if centred and self.intercept else np.zeros(rows.shape[1])
            # Equal values must give exactly zero, which their rounded mean does not promise.
            shift = np.where((np.ptp(rows, axis=0) == 0.0) & (shift != 0.0), rows[0], shift)
            scale = np.sqrt(np.mean((rows - shift) ** 2, axis=0))
            setattr(self, f"{name}_shift", shift)
            setattr(self, f"{name}_factor", np.divide(1.0, scale, where=scale > 0, out=scale * 0.0))
        if not centred and 0.0 < self.x_factor.max(initial=0.0) < _ALIKE * self.x_factor.min():
            # So few rows tell a column's scale badly; all of them together tell it better.
            self.x_factor[:] = 1.0 / np.sqrt(np.mean(self.x_factor**-2.0))
        self.limit = _FAR if len(X) < _SETTLED else np.inf
        self.mean = np.zeros_like(self.mean)
        self.variance = np.ones_like(self.variance)
        self.rows = 0

    def row(self, x: Array) -> Array:
        """Row z with its leading constant, if there is one."""
        z = (x - self.x_shift) * self.x_factor
        if self.limit < np.inf:
            z = np.minimum(np.maximum(z, -self.limit), self.limit)
        return np.concatenate(([1.0], z)) if self.intercept else z

    def target(self, y: Array) -> Array:
        """The target in units of the stream."""
        return np.asarray((y - self.y_shift) * self.y_factor)

    @property
    def y_scale(self) -> Array:
        """One unit of v in units of y; 1 while y has not varied."""
        return 1.0 / np.where(self.y_factor > 0, self.y_factor, 1.0)

    def notice(self, x: Array, y: Array) -> None:
        """Give columns that vary for the first time their scale."""
        for name, values in (("x", x), ("y", y)):
            factor = getattr(self, f"{name}_factor")
            if not factor.all():
                distance = np.abs(values - getattr(self, f"{name}_shift"))
                new = (factor == 0.0) & (distance > 0.0)
                factor[new] = 1.0 / distance[new]

    def follow(self, v: Array) -> None:
        """Move the running mean and variance past one target."""
        self.rows += 1
        gain = max(1.0 / self.rows, 1.0 / _MEMORY)
        if self.rows == 1:
            self.mean = v.copy()
            return
        change = v - self.mean
        if self.rows > _SETTLED:  # a single wild row must not set the scale of all that follows
            most = _WILD * np.sqrt(self.variance)
            change = np.minimum(np.maximum(change, -most), most)
        self.mean = self.mean + gain * change
        # Weight 1 of the prior variance fades with the first rows.
        self.variance = self.variance + gain * ((1.0 - gain) * change * change - self.variance)
        self.variance = np.maximum(self.variance, _FLOOR)

    def get_state(self) -> dict[str, object]:
        """Everything but the settings; a later step does not change what was handed out."""
        return {
            name: value.copy() if isinstance(value, np.ndarray) else value
            for name, value in vars(self).items()
            if name != "intercept"
        }

    def set_state(self, state: dict[str, object]) -> None:
        """Put back what :meth:`get_state` gave."""
        for name, value in state.items():
            setattr(self, name, value.copy() if isinstance(value, np.ndarray) else value)
