"""Markov-switching regressions and autoregressions: the specification and its fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.markov.emission import stack
from regimeslot.markov.estimate import Estimate, estimate
from regimeslot.markov.layout import Layout
from regimeslot.markov.natural import (
    from_natural,
    from_vector,
    parameter_names,
)
from regimeslot.markov.objective import Priors
from regimeslot.markov.prepare import (
    Design,
    canonical_order,
    check_rows,
    make_layout,
    to_table,
)
from regimeslot.markov.result import MarkovSwitchingResult

__all__ = ["MarkovSwitching"]

Array = NDArray[np.float64]

_BATCH_ROWS = 40_000  # rows of all chains of one batched call, so that buffers stay in cache
_FORMS, _TRENDS, _LIKELIHOODS = ("mean", "intercept"), ("n", "c", "t", "ct"), ("gaussian", "t")


class MarkovSwitching:
    """Regression or autoregression whose parameters switch with a hidden Markov chain.

    ``y_t = x_t' b(z_t) + e_t`` (order 0), with ``form="mean"`` Hamilton's
    ``y_t - m_t(z_t) = sum_i phi_i(z_t) (y_t-i - m_t-i(z_t-i)) + e_t``, with ``form="intercept"``
    ``y_t = x_t' b(z_t) + sum_i phi_i(z_t) y_t-i + e_t``; ``e_t`` Gaussian or Student-t with scale
    ``sigma(z_t)``; ``z`` a Markov chain with constant or, given ``exog_tvtp``, time-varying
    transition probabilities.

    Parameters
    ----------
    n_regimes : int
        K. Regimes come out ordered by scale, then by mean.
    order : int
        Autoregressive order p; the first p rows are only lags.
    form : "mean" or "intercept"
    trend : "n", "c", "t" or "ct"
        No trend, constant, linear trend (counting rows from 1), or both.
    switching_trend, switching_exog, switching_ar, switching_variance : bool
        Whether these parameters differ between regimes.
    likelihood : "gaussian" or "t"
        Student-t has one number of degrees of freedom, or with ``switching_dof`` one per regime.
    switching_dof : bool
    n_starts : int
        Starts taken to their optimum. A short series screens several candidates for each of them;
        of a long one (rows times regimes above 20,000) only the best few are finished.
    initial : "stationary", "estimated" or (K,) probabilities
        Distribution of the regime of the first row of the sample.
    sticky_prior : float
        Dirichlet pseudo-count of staying, added to each regime's diagonal.
    move_prior : float
        Dirichlet pseudo-count of each move; above 0 no transition ends on the boundary.
    variance_prior : float
        Pseudo-count of an inverse-gamma prior that draws each variance to that of one regime.
    random_state : int or None
        Seed of the starts; the same seed gives the same fit.

    References
    ----------
    Hamilton, J. D. (1989). A new approach to the economic analysis of nonstationary time series and
    the business cycle. Econometrica 57.
    Filardo, A. J. (1994). Business-cycle phases and their transitional dynamics. Journal of
    Business & Economic Statistics 12.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> calm, wild = 0.005 * rng.standard_normal(300), 0.02 * rng.standard_normal(100)
    >>> result = MarkovSwitching(2, switching_variance=True, random_state=0).fit(
    ...     np.concatenate([calm, wild]))
    >>> np.sqrt(result.params[["sigma2[0]", "sigma2[1]"]]).round(3).tolist()
    [0.005, 0.018]
    """

    def __init__(
        self,
        n_regimes: int = 2,
        *,
        order: int = 0,
        form: str = "mean",
        trend: str = "c",
        switching_trend: bool = True,
        switching_exog: bool = True,
        switching_ar: bool = False,
        switching_variance: bool = False,
        likelihood: str = "gaussian",
        switching_dof: bool = False,
        n_starts: int = 10,
        initial: str | Array = "stationary",
        sticky_prior: float = 0.0,
        move_prior: float = 0.0,
        variance_prior: float = 0.0,
        random_state: int | None = None,
    ) -> None:
        self.n_regimes = n_regimes
        self.order = order
        self.form = form
        self.trend = trend
        self.switching_trend = switching_trend
        self.switching_exog = switching_exog
        self.switching_ar = switching_ar
        self.switching_variance = switching_variance
        self.likelihood = likelihood
        self.switching_dof = switching_dof
        self.n_starts = n_starts
        self.initial = initial
        self.sticky_prior = sticky_prior
        self.move_prior = move_prior
        self.variance_prior = variance_prior
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Arguments of the constructor by name."""
        return dict(vars(self))

    def __repr__(self) -> str:
        default = vars(MarkovSwitching())
        shown = [
            f"{name}={value!r}"
            for name, value in vars(self).items()
            if name != "n_regimes" and not np.array_equal(value, default[name])
        ]
        return f"MarkovSwitching({', '.join([str(self.n_regimes), *shown])})"

    # -- fitting ----------------------------------------------------------------------------

    def fit(
        self,
        y: object,
        exog: object = None,
        exog_tvtp: object = None,
        *,
        start: MarkovSwitchingResult | Mapping[str, float] | None = None,
    ) -> MarkovSwitchingResult:
        """Maximum (penalised) likelihood.

        Parameters
        ----------
        y : (T,) Series or array
            Any unit. NaN is a missing observation; a row whose lag is missing counts as missing.
        exog : (T, J), optional
            Regressors known with y_t's row; must be complete.
        exog_tvtp : (T, Q), optional
            Regressors of the transition probabilities *into* each row. A constant is added unless
            the first column is one.
        start : result or mapping of parameters, optional
            Refit from here alone, which takes a few evaluations when the data are nearly those of
            ``start``.

        Returns
        -------
        MarkovSwitchingResult

        Raises
        ------
        InvalidInputError
            Wrong arguments; infinite y; missing, constant or collinear regressors.
        TooFewRowsError, DataError
            Fewer complete rows than parameters; a constant series.
        """
        design, index = self._design(y, exog, exog_tvtp)
        layout, scaling = design.layout, design.scaling()
        data = design.observations(scaling)
        theta = None
        if isinstance(start, MarkovSwitchingResult):
            theta = start.start_for(layout, scaling)
        elif start is not None:
            parts = from_natural(from_vector(self._vector(start, layout), layout), layout, scaling)
            theta = layout.pack(parts)[0]
        found = estimate(
            layout,
            data,
            n_starts=self.n_starts,
            priors=self._priors(),
            initial=self._given_initial(),
            seed=self.random_state,
            start=None if theta is None else theta[None],
        )[0]
        result = self._result(found, design, scaling, index)
        result.warn()
        return result

    def fit_many(self, ys: object, *, n_starts: int = 2) -> list[MarkovSwitchingResult]:
        """Fit many series of one length in batched calls, each as if alone.

        Parameters
        ----------
        ys : (S, T) array, or (T, S) DataFrame with one series per column
            NaN is a missing observation.
        n_starts : int
            Starts of each series, without further screening.

        Returns
        -------
        list of MarkovSwitchingResult
        """
        if isinstance(ys, pd.DataFrame):
            table, index = ys.to_numpy(dtype=float).T, ys.index
        else:
            table = np.asarray(ys, dtype=float)
            index = pd.RangeIndex(table.shape[-1])
        if table.ndim != 2:
            raise InvalidInputError(f"ys must be (S, T), got shape {table.shape}")
        designs = [self._design(pd.Series(row, index=index), None, None)[0] for row in table]
        scalings = [design.scaling() for design in designs]
        pieces = [d.observations(s) for d, s in zip(designs, scalings, strict=True)]
        size = max(1, _BATCH_ROWS // (table.shape[1] * n_starts))
        results = []
        for begin in range(0, len(pieces), size):
            group = slice(begin, begin + size)
            found = estimate(
                designs[0].layout,
                stack(pieces[group]),
                n_starts=n_starts,
                priors=self._priors(),
                initial=self._given_initial(),
                seed=self.random_state,
                candidates_per_start=1,
            )
            for one, design, scaling in zip(found, designs[group], scalings[group], strict=True):
                results.append(self._result(one, design, scaling, index))
        return results

    def evaluate(
        self,
        y: object,
        params: Mapping[str, float] | Array,
        exog: object = None,
        exog_tvtp: object = None,
    ) -> MarkovSwitchingResult:
        """The result at given parameters, without fitting.

        Parameters
        ----------
        y, exog, exog_tvtp
            As in :meth:`fit`.
        params : mapping by name, or array in the order of ``result.params``
            Names and order are those of statsmodels: ``p[0->0]``, ``const[0]``, ``x1``,
            ``sigma2``, ``ar.L1``, ``p[0->0].tvtp0``.
        """
        design, index = self._design(y, exog, exog_tvtp)
        layout, scaling = design.layout, design.scaling()
        vector = self._vector(params, layout)
        theta = layout.pack(from_natural(from_vector(vector, layout), layout, scaling))[0]
        nothing = np.empty(0)
        at = Estimate(theta, np.nan, 0.0, True, False, nothing, nothing.astype(bool), nothing)
        return self._result(at, design, scaling, index, canonical=False)

    # -- helpers ----------------------------------------------------------------------------

    def _check(self) -> None:
        for name, allowed in (("form", _FORMS), ("trend", _TRENDS), ("likelihood", _LIKELIHOODS)):
            if getattr(self, name) not in allowed:
                raise InvalidInputError(
                    f"{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}"
                )
        for name, least in (("n_regimes", 1), ("order", 0), ("n_starts", 1)):
            value = getattr(self, name)
            if not isinstance(value, int | np.integer) or value < least:
                raise InvalidInputError(f"{name} must be an integer >= {least}, got {value!r}")
        for name in ("sticky_prior", "move_prior", "variance_prior"):
            if not getattr(self, name) >= 0:
                raise InvalidInputError(f"{name} must be >= 0, got {getattr(self, name)!r}")
        if isinstance(self.initial, str):
            if self.initial not in ("stationary", "estimated"):
                raise InvalidInputError(
                    'initial must be "stationary", "estimated" or K probabilities, '
                    f"got {self.initial!r}"
                )
        else:
            given = np.asarray(self.initial, dtype=float)
            if given.shape != (self.n_regimes,) or abs(given.sum() - 1) > 1e-8 or given.min() < 0:
                raise InvalidInputError(
                    f"initial must be {self.n_regimes} probabilities that sum to 1, got {given!r}"
                )

    def _given_initial(self) -> Array | None:
        return None if isinstance(self.initial, str) else np.asarray(self.initial, dtype=float)

    def _priors(self) -> Priors:
        return Priors(self.sticky_prior, self.move_prior, self.variance_prior)

    def _design(self, y: object, exog: object, tvtp: object) -> tuple[Design, pd.Index]:
        self._check()
        values, index = check_rows(y)
        table = np.empty((0, values.size))
        names: tuple[str, ...] = ()
        if exog is not None:
            table, names = to_table(exog, "x", values.size)
        varying = np.empty((0, values.size))
        if tvtp is not None:
            varying, _ = to_table(tvtp, "tvtp", values.size)
            if np.ptp(varying[0]) > 0:
                varying = np.concatenate([np.ones((1, values.size)), varying])
            else:
                varying[0] = 1.0
        return Design(self._layout(names, len(varying)), values, table, varying, self.order), index

    def _layout(self, exog_names: tuple[str, ...], n_tvtp: int) -> Layout:
        several = self.n_regimes > 1
        return make_layout(
            self.n_regimes,
            order=self.order,
            form=self.form,
            trend=self.trend,
            switching_trend=self.switching_trend,
            switching_exog=self.switching_exog,
            switching_ar=self.switching_ar,
            switching_variance=self.switching_variance,
            student=self.likelihood == "t",
            switching_dof=self.switching_dof,
            estimated_initial=several
            and isinstance(self.initial, str)
            and self.initial == "estimated",
            exog_names=exog_names,
            n_tvtp=n_tvtp,
        )

    @staticmethod
    def _vector(params: Mapping[str, float] | Array, layout: Layout) -> Array:
        names = parameter_names(layout)
        if isinstance(params, Mapping | pd.Series):
            missing = [name for name in names if name not in params]
            if missing:
                raise InvalidInputError(
                    f"params lack {', '.join(missing)}: expected {', '.join(names)}"
                )
            return np.array([float(params[name]) for name in names])
        vector = np.asarray(params, dtype=float)
        if vector.shape != (len(names),):
            raise InvalidInputError(
                f"params must have {len(names)} entries ({', '.join(names)}), "
                f"got shape {vector.shape}"
            )
        return vector

    def _result(
        self,
        found: Estimate,
        design: Design,
        scaling: Any,
        index: pd.Index,
        *,
        canonical: bool = True,
    ) -> MarkovSwitchingResult:
        layout, theta = design.layout, found.theta
        information = found.information if found.information.size else None
        parts = layout.unpack(theta[None])
        if canonical and layout.n_regimes > 1:
            order = canonical_order(parts, design, scaling)
            if information is not None:
                if layout.estimated_initial:
                    information = None  # its logits are relative to the last regime
                else:
                    numbers = layout.unpack(np.arange(float(theta.size))[None]).permute(order)
                    moved = layout.pack(numbers)[0].astype(np.intp)
                    information = information[np.ix_(moved, moved)]
            theta = layout.pack(parts.permute(order))[0]
        return MarkovSwitchingResult(
            config=self.get_params(),
            design=design,
            scaling=scaling,
            theta=theta,
            own_index=index[self.order :],
            converged=found.converged,
            flat=found.flat,
            start_values=found.start_values,
            start_retired=found.start_retired,
            known_information=information,
        )
