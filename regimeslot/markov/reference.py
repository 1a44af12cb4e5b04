"""Published Markov-switching results and how this package reproduces them.

The series are those of statsmodels' regime-switching tests (BSD-3), read from the installed
package; nothing of statsmodels is run. Published values are Stata's, EViews' and the authors'.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regimeslot.errors import BadFileError
from regimeslot.markov.result import MarkovSwitchingResult
from regimeslot.markov.switching import MarkovSwitching

__all__ = ["CASES", "Case", "reference_table", "statsmodels_data"]

Array = NDArray[np.float64]

_FOLDER = Path("tsa", "regime_switching", "tests")
_SERIES = {
    "test_markov_autoregression.py": ("rgnp", "rec"),
    "test_markov_regression.py": ("fedfunds", "ogap", "inf", "areturns", "mumpspc"),
}


@dataclass(frozen=True)
class Case:
    """One published result.

    Attributes
    ----------
    name, source : str
    log_likelihood : float
    model : dict
        Arguments of :class:`MarkovSwitching`.
    series : str
        Which data, see :func:`case_data`.
    parameters : dict
        Published estimates by name, in our order of regimes.
    at_least : bool
        Whether a higher log-likelihood than the published one is also right (the published
        estimation stayed in a local optimum).
    """

    name: str
    source: str
    log_likelihood: float
    model: dict[str, Any]
    series: str
    parameters: dict[str, float]
    at_least: bool = False


CASES = (
    Case(
        "GNP growth, AR(4), switching mean",
        "Hamilton (1989)",
        -181.26339,
        {"n_regimes": 2, "order": 4},
        "rgnp",
        {
            "p[0->0]": 0.754673,
            "p[1->0]": 0.095915,
            "const[0]": -0.358811,
            "const[1]": 1.163516,
            "sigma2": 0.591364,
            "ar.L1": 0.013486,
            "ar.L2": -0.057521,
            "ar.L3": -0.246983,
            "ar.L4": -0.212923,
        },
    ),
    Case(
        "GNP growth, AR(2), switching mean and AR",
        "Stata 14 manual",
        -179.32354,
        {"n_regimes": 2, "order": 2, "switching_ar": True},
        "rgnp",
        {"const[0]": -0.0055216, "const[1]": 1.195482, "sigma2": 0.6677098**2},
    ),
    Case(
        "GNP growth, AR(1), switching mean and AR",
        "EViews",
        -186.7575,
        {"n_regimes": 2, "order": 1, "switching_ar": True},
        "rgnp",
        {},
    ),
    Case(
        "industrial production, AR(4), time-varying transitions",
        "Filardo (1994)",
        -586.5718,
        {"n_regimes": 2, "order": 4},
        "filardo",
        {
            "const[0]": -0.865888,
            "const[1]": 0.517298,
            "ar.L1": 0.189474,
            "ar.L2": 0.079344,
            "ar.L3": 0.110944,
            "ar.L4": 0.122251,
        },
    ),
    Case(
        "Fed funds, constant",
        "Stata 14 manual",
        -508.63592,
        {"n_regimes": 2},
        "fedfunds",
        {
            "p[0->0]": 0.9820939,
            "p[1->0]": 0.0503587,
            "const[0]": 3.70877,
            "const[1]": 9.556793,
            "sigma2": 2.107562**2,
        },
    ),
    Case(
        "Fed funds, lag",
        "Stata 14 manual",
        -264.71069,
        {"n_regimes": 2},
        "fedfunds lag",
        {"sigma2": 0.6915759**2},
    ),
    Case(
        "Fed funds, lag, output gap, inflation",
        "Stata 14 manual",
        -229.25614,
        {"n_regimes": 2},
        "fedfunds lag ogap inf",
        {"sigma2": 0.5764495**2},
    ),
    Case(
        "the same, K = 3",
        "statsmodels' test (Stata -189.89493)",
        -182.27188,
        {"n_regimes": 3},
        "fedfunds lag ogap inf",
        {},
        at_least=True,
    ),
    Case(
        "S&P 500 absolute returns, lag, switching variance",
        "Stata 14 manual",
        -745.7977,
        {"n_regimes": 2, "switching_variance": True},
        "areturns",
        {
            "p[0->0]": 0.7530865,
            "p[1->0]": 0.6825357,
            "const[0]": 0.7641424,
            "const[1]": 1.972771,
            "x1[0]": 0.0790744,
            "x1[1]": 0.527953,
            "sigma2[0]": 0.5895792**2,
            "sigma2[1]": 1.605333**2,
        },
    ),
    Case(
        "mumps per capita, lag, no constant, switching variance",
        "Stata 14 manual",
        131.7225,
        {"n_regimes": 2, "trend": "n", "switching_variance": True},
        "mumps",
        {
            "p[0->0]": 0.762733,
            "p[1->0]": 0.1473767,
            "x1[0]": 0.420275,
            "x1[1]": 0.9847369,
            "sigma2[0]": 0.0562405**2,
            "sigma2[1]": 0.2611362**2,
        },
    ),
)


def _statsmodels_tests() -> Path:
    spec = importlib.util.find_spec("statsmodels")
    folder = Path(spec.origin).parent / _FOLDER if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        raise BadFileError(
            "the reference series lie in statsmodels' tests, which this installation of "
            "statsmodels lacks: reinstall statsmodels from its wheel"
        )
    return folder


def _number(node: ast.expr) -> float:
    return np.nan if isinstance(node, ast.Attribute) else float(ast.literal_eval(node))


def statsmodels_data() -> dict[str, Array]:
    """The series of statsmodels' regime-switching tests by name, read without importing it.

    Raises
    ------
    BadFileError
        The installed statsmodels has no tests, or they have changed.
    """
    folder, found = _statsmodels_tests(), {}
    for file, names in _SERIES.items():
        try:
            tree = ast.parse((folder / file).read_text(encoding="utf-8"))
        except OSError as error:
            raise BadFileError(f"cannot read {folder / file}: reinstall statsmodels") from error
        for node in tree.body:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if name in names and isinstance(node.value, ast.List):
                    found[name] = np.array([_number(entry) for entry in node.value.elts])
        missing = set(names) - set(found)
        if missing:
            raise BadFileError(
                f"statsmodels' {file} no longer holds {', '.join(sorted(missing))}: "
                "use statsmodels 0.14 to 0.15"
            )
    table = pd.read_csv(folder / "results" / "mar_filardo.csv")
    found["dlip"] = table["dlip"].to_numpy(dtype=float)
    found["dmdlleading"] = table["dmdlleading"].to_numpy(dtype=float)
    return found


def case_data(case: Case, data: dict[str, Array]) -> tuple[Array, Array | None, Array | None]:
    """Series, regressors and transition regressors of a case."""
    funds = data["fedfunds"]
    if case.series == "rgnp":
        return data["rgnp"], None, None
    if case.series == "filardo":
        return data["dlip"][1:], None, data["dmdlleading"][:-1, None]
    if case.series == "fedfunds":
        return funds, None, None
    if case.series == "fedfunds lag":
        return funds[1:], funds[:-1, None], None
    if case.series == "fedfunds lag ogap inf":
        return funds[4:], np.column_stack([funds[3:-1], data["ogap"][4:], data["inf"][4:]]), None
    name = "areturns" if case.series == "areturns" else "mumpspc"
    return data[name][1:], data[name][:-1, None], None


def fit_case(case: Case, data: dict[str, Array], seed: int = 0) -> MarkovSwitchingResult:
    """Our fit of one case, from random starts."""
    y, exog, tvtp = case_data(case, data)
    return MarkovSwitching(**case.model, random_state=seed).fit(y, exog, tvtp)


def reference_table(seed: int = 0) -> pd.DataFrame:
    """Every published case: its log-likelihood, ours, the difference and the worst parameter.

    Parameters
    ----------
    seed : int
        Of the random starts.

    Returns
    -------
    DataFrame
        Columns case, source, published, ours, difference (ours minus published), parameters
        (largest absolute difference from the published estimates, NaN when none are published),
        ok, and notes.
    """
    data, rows = statsmodels_data(), []
    for case in CASES:
        found = fit_case(case, data, seed)
        gap = found.loglikelihood - case.log_likelihood
        apart = [abs(found.params[name] - value) for name, value in case.parameters.items()]
        ok = gap > -1e-4 and (case.at_least or gap < 1e-4)
        rows.append(
            {
                "case": case.name,
                "source": case.source,
                "published": case.log_likelihood,
                "ours": found.loglikelihood,
                "difference": gap,
                "parameters": max(apart, default=np.nan),
                "ok": ok,
                "notes": "; ".join(found.notes),
            }
        )
    return pd.DataFrame(rows)
