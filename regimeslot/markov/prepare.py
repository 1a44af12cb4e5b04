"""From the user's series to standardised observations, and from estimates back to natural units.

Fitting on standardised data makes levels of 10^9 and returns of 10^-5 the same problem. The map
back is linear in the coefficients, so log-likelihood, parameters and standard errors are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import DataError, InvalidInputError, TooFewRowsError
from regimeslot.markov.emission import Observations
from regimeslot.markov.layout import Layout, Parts
from regimeslot.markov.natural import Scaling, to_natural
from regimeslot.markov.starts import pooled_regression

__all__ = ["Design", "canonical_order", "check_rows", "make_layout", "to_table"]

Array = NDArray[np.float64]

_COLLINEAR = 1e-8


def to_table(values: object, name: str, n_rows: int | None) -> tuple[Array, tuple[str, ...]]:
    """Regressors as a finite (J, T) array with their names."""
    if isinstance(values, pd.Series):
        values = values.to_frame(values.name if values.name is not None else f"{name}1")
    if isinstance(values, pd.DataFrame):
        names = tuple(str(column) for column in values.columns)
        table = values.to_numpy(dtype=float)
    else:
        table = np.asarray(values, dtype=float)
        table = table[:, None] if table.ndim == 1 else table
        names = tuple(f"{name}{j + 1}" for j in range(table.shape[-1]))
    if table.ndim != 2 or (n_rows is not None and table.shape[0] != n_rows):
        raise InvalidInputError(
            f"{name} must have one row per observation ({n_rows}), got shape {table.shape}"
        )
    if not np.isfinite(table).all():
        row = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        raise InvalidInputError(
            f"{name} must be finite, but row {row} is missing or infinite: fill or drop it (a "
            "missing y is allowed, a missing regressor is not)"
        )
    return table.T.copy(), names


def check_rows(y: object) -> tuple[Array, pd.Index]:
    """The series as floats with its index; NaN is a missing observation."""
    index = y.index if isinstance(y, pd.Series) else None
    values = np.asarray(y, dtype=float)
    if values.ndim == 2 and values.shape[1] == 1:
        index = y.index if isinstance(y, pd.DataFrame) else None
        values = values[:, 0]
    if values.ndim != 1:
        raise InvalidInputError(f"y must be one series of shape (T,), got shape {values.shape}")
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise InvalidInputError(
            f"y must not be infinite, but row {row} is: mark it missing (NaN) or correct it"
        )
    return values, pd.RangeIndex(values.size) if index is None else index


def make_layout(
    n_regimes: int,
    *,
    order: int,
    form: str,
    trend: str,
    switching_trend: bool,
    switching_exog: bool,
    switching_ar: bool,
    switching_variance: bool,
    student: bool,
    switching_dof: bool,
    estimated_initial: bool,
    exog_names: tuple[str, ...],
    n_tvtp: int,
) -> Layout:
    """Columns in the order trend, regressors, lags of the intercept form."""
    trends = {"n": (), "c": ("const",), "t": ("trend",), "ct": ("const", "trend")}[trend]
    lags = tuple(f"ar.L{lag}" for lag in range(1, order + 1)) if form == "intercept" else ()
    switching = (
        (switching_trend,) * len(trends)
        + (switching_exog,) * len(exog_names)
        + (switching_ar,) * len(lags)
    )
    return Layout(
        n_regimes,
        trends + exog_names + lags,
        switching,
        order if form == "mean" else 0,
        switching_ar,
        switching_variance,
        student,
        switching_dof,
        n_tvtp,
        estimated_initial,
    )


def _future(values: object, width: int, n_rows: int, name: str) -> Array:
    """Regressors (width, n_rows) of new rows."""
    if width == 0:
        if values is not None:
            raise InvalidInputError(f"the model has no {name}: leave it out")
        return np.empty((0, n_rows))
    if values is None:
        raise InvalidInputError(f"the model needs {name} with {n_rows} rows")
    table = to_table(values, name, None)[0]
    if n_rows == 1 and table.shape == (1, width):
        table = table.T
    if table.shape != (width, n_rows):
        raise InvalidInputError(f"{name} must be ({n_rows}, {width}), got {table.shape[::-1]}")
    return table


@dataclass(frozen=True)
class Design:
    """A series with its regressors in the user's units.

    Attributes
    ----------
    y : (T + p,) with NaN where missing
    exog : (J_exog, T + p)
    tvtp : (Q, T + p); empty when transitions are constant
    order : int, the p rows that are only lags
    first_row : int
        Number of the first row in the whole sample, from which a trend counts.
    """

    layout: Layout
    y: Array
    exog: Array
    tvtp: Array
    order: int
    first_row: int = 0

    def columns(self) -> Array:
        """All regression columns (J, T) of the scored rows, or (J, T + p) in the mean form."""
        table, n_rows = self.trend_and_exog(), self.y.size
        if not self.is_intercept_form:
            return table
        lags = [self.y[self.order - lag : n_rows - lag] for lag in range(1, self.order + 1)]
        return np.concatenate([table[:, self.order :], np.array(lags)])

    def extend(self, values: Array, exog: object, tvtp: object) -> Design:
        """The design of new rows, with the last p rows of this one as their lags."""
        p, width, varying = self.order, len(self.exog), len(self.tvtp)
        tail = slice(self.y.size - p, self.y.size)
        table = _future(exog, width, values.size, "exog")
        if varying and tvtp is not None:
            given = np.asarray(tvtp, dtype=float).reshape(values.size, -1)
            if given.shape[1] == varying - 1:  # the constant was added by the fit
                given = np.column_stack([np.ones(values.size), given])
            tvtp = given
        moves = _future(tvtp, varying, values.size, "exog_tvtp")
        return replace(
            self,
            y=np.concatenate([self.y[tail], values]),
            exog=np.concatenate([self.exog[:, tail], table], axis=1),
            tvtp=np.concatenate([self.tvtp[:, tail], moves], axis=1),
            first_row=self.first_row + self.y.size - p,
        )

    def append(self, later: list[Design]) -> Design:
        """The design with the new rows of later ones added."""
        p = self.order
        return replace(
            self,
            y=np.concatenate([self.y, *(d.y[p:] for d in later)]),
            exog=np.concatenate([self.exog, *(d.exog[:, p:] for d in later)], axis=1),
            tvtp=np.concatenate([self.tvtp, *(d.tvtp[:, p:] for d in later)], axis=1),
        )

    def trend_and_exog(self) -> Array:
        """Columns without lags, of all rows (J', T + p)."""
        names, n_rows = self.layout.columns, self.y.size
        parts = []
        if "const" in names:
            parts.append(np.ones((1, n_rows)))
        if "trend" in names:
            parts.append(self.first_row + np.arange(1.0, n_rows + 1)[None])
        return np.concatenate([*parts, self.exog])

    @property
    def is_intercept_form(self) -> bool:
        """Whether lags are regression columns."""
        return self.order > 0 and self.layout.n_ar == 0

    def usable(self) -> NDArray[np.bool_]:
        """Scored rows whose observation and lags are all there."""
        known = ~np.isnan(self.y)
        usable = known[self.order :].copy()
        for lag in range(1, self.order + 1):
            usable &= known[self.order - lag : known.size - lag]
        return usable

    def scaling(self) -> Scaling:
        """Centres and scales of this sample, after the checks that make a fit possible."""
        layout, usable = self.layout, self.usable()
        table = self.columns()
        rows = table[:, -usable.size :][:, usable] if usable.size else table[:, :0]
        y = self.y[self.order :][usable]
        if y.size < max(2, layout.n_params):
            raise TooFewRowsError(
                f"a model with {layout.n_params} parameters needs more than as many complete rows, "
                f"got {y.size}: use fewer regimes or a longer series"
            )
        names = layout.columns
        centre_all = "const" in names and layout.switching[names.index("const")]
        column_centre, column_scale = np.zeros(len(names)), np.ones(len(names))
        for j, name in enumerate(names):
            if name == "const":
                continue
            centred = rows[j] - rows[j].mean()
            if "const" in names and (centre_all or not layout.switching[j]):
                column_centre[j] = rows[j].mean()
                size = np.sqrt((centred**2).mean())
            else:
                size = np.sqrt((rows[j] ** 2).mean())
            spread = float(np.abs(centred).max() if "const" in names else size)
            if spread <= 1e-12 * max(float(np.abs(rows[j]).max()), 1e-300) and not name.startswith(
                "ar."
            ):
                raise InvalidInputError(
                    f"column {name!r} is constant and so collinear with the trend: drop it"
                )
            column_scale[j] = size if size > 0 else 1.0
        scaled = (rows - column_centre[:, None]) / column_scale[:, None]
        centre = float(y.mean()) if "const" in names else 0.0
        deviation = y - centre
        size = float(np.sqrt((deviation**2).mean()))
        if size <= 1e-13 * max(float(np.abs(y).max()), 1e-300):
            raise DataError(
                "y is constant, so there are no regimes to tell apart: check the series"
            )
        self._check_collinear(scaled)
        _, residual = pooled_regression((deviation / size)[None], scaled[None], None)
        spread = float(np.sqrt((residual**2).mean()))
        if spread < 1e-9:
            raise DataError(
                "the regressors explain y exactly, so there is no noise to model: drop a regressor"
            )
        return Scaling(centre, size * spread, column_centre, column_scale, *self._scale_tvtp())

    def _scale_tvtp(self) -> tuple[Array, Array]:
        centre, scale = np.zeros(len(self.tvtp)), np.ones(len(self.tvtp))
        for q, row in enumerate(self.tvtp[1:], start=1):
            centre[q], scale[q] = row.mean(), row.std()
            if scale[q] <= 1e-12 * max(float(np.abs(row).max()), 1e-300):
                raise InvalidInputError(
                    "exog_tvtp has more than one constant column: a constant is included already"
                )
        return centre, scale

    def _check_collinear(self, scaled: Array) -> None:
        basis = np.empty((scaled.shape[1], 0))
        for name, row in zip(self.layout.columns, scaled, strict=True):
            rest = row - basis @ (basis.T @ row)
            rest -= basis @ (basis.T @ rest)
            size = np.linalg.norm(rest)
            if size < _COLLINEAR * max(float(np.linalg.norm(row)), 1e-300):
                cure = "lower the order" if name.startswith("ar.L") else "drop it"
                raise InvalidInputError(
                    f"column {name!r} is a linear combination of the columns before it: {cure}"
                )
            basis = np.column_stack([basis, rest / size])

    def observations(self, scaling: Scaling) -> Observations:
        """Standardised data with missing rows masked."""
        usable = self.usable()
        y = (self.y - scaling.centre) / scaling.scale
        table = self.columns()
        table = (table - scaling.column_centre[:, None]) / scaling.column_scale[:, None]
        if self.is_intercept_form:
            y = y[self.order :]
        observed = None
        if not usable.all():
            observed = usable[None].astype(float)
            y = np.where(np.isnan(y), 0.0, y)
            table = np.where(np.isnan(table), 0.0, table)
        tvtp = None
        if len(self.tvtp):
            tvtp = self.tvtp - scaling.transition_centre[:, None]
            tvtp = tvtp / scaling.transition_scale[:, None]
            if self.is_intercept_form:
                tvtp = tvtp[:, self.order :]
        return Observations(y[None], table[None], observed, tvtp)


def canonical_order(parts: Parts, design: Design, scaling: Scaling) -> NDArray[np.intp]:
    """Regimes by standard deviation, then by the mean of their fitted locations.

    A Student-t regime without a variance comes last.
    """
    natural = to_natural(parts, design.layout, scaling)[0]
    table = np.nan_to_num(design.columns())
    location = natural.coef @ table.mean(axis=1)
    layout = design.layout
    scale = np.zeros(len(location))
    if layout.switching_variance or (layout.student and layout.switching_dof):
        scale = np.sqrt(natural.sigma2)
    if layout.student:
        finite = natural.dof > 2.0
        dof = np.where(finite, natural.dof, 4.0)
        scale = np.where(finite, scale * np.sqrt(dof / (dof - 2.0)), np.inf)
    return np.lexsort((location, scale))
