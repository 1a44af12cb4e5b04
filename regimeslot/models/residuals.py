"""Distribution of what a location model leaves over: a Gaussian or Student-t of constant scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.models.likelihoods import LIKELIHOODS
from regimeslot.models.slot_objective import Penalty, Rows, SlotObjective, SlotSpec
from regimeslot.solvers.bfgs import minimize_bfgs

__all__ = ["fit_residuals"]

Array = NDArray[np.float64]

# The location is pinned at zero; a nearly flat likelihood in the degrees of freedom gets a weak
# pull, so that Gaussian residuals do not send it to infinity.
_PINNED = Penalty(location=1e12, shape=1e-2)


def fit_residuals(residuals: Array, likelihood: str) -> tuple[float, float]:
    """Maximum-likelihood standard deviation and degrees of freedom of centred residuals.

    Parameters
    ----------
    residuals : (n,)
        In the data's units; their location is taken as zero.
    likelihood : {"t", "gaussian"}

    Returns
    -------
    (float, float)
        Standard deviation and degrees of freedom (infinite for a Gaussian).

    Examples
    --------
    >>> import numpy as np
    >>> std, dof = fit_residuals(np.random.default_rng(0).standard_normal(2000), "gaussian")
    >>> round(std, 2), dof
    (1.0, inf)
    """
    if likelihood not in LIKELIHOODS:
        raise InvalidInputError(
            f"likelihood must be one of {', '.join(LIKELIHOODS)}, got {likelihood!r}"
        )
    spread = float(np.sqrt(np.mean(residuals**2)))
    if not spread > 0.0:
        raise InvalidInputError("the residuals are all zero: there is no distribution to fit")
    if likelihood == "gaussian":
        return spread, float("inf")
    n_rows = len(residuals)
    nothing = np.zeros((0, n_rows))
    rows = Rows(residuals / spread, np.zeros(n_rows), *(nothing,) * 3, np.ones(n_rows))
    spec = SlotSpec(1, "static", likelihood, n_location=0, n_scale=0, n_gate=0)
    objective = SlotObjective(spec, _PINNED, rows)
    start = objective.pack(objective.start())
    metric = objective.inverse_information(start)
    parameters = objective.unpack(minimize_bfgs(objective, start, metric, tolerance=1e-10).x)
    std = spread * float(np.exp(parameters["scale_bias"][0]))
    return std, LIKELIHOODS[likelihood].dof(float(parameters["shape"][0]))
