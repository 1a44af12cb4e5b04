"""What a panel found out: losses of several models on many series, and tables of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from regimeslot.errors import InvalidInputError
from regimeslot.evaluation.comparison import Difference, diebold_mariano, score_difference
from regimeslot.evaluation.comparison_checks import as_share
from regimeslot.evaluation.comparison_many import model_confidence_set
from regimeslot.evaluation.walk_forward import REFERENCES

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SCORES", "Panel"]

SCORES = ("log_score", "crps", "qlike")

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Panel:
    """Losses of several models on many series.

    Attributes
    ----------
    losses : dict of DataFrame
        By series: rows forecast, columns (score, model), smaller is better.
    horizons : dict of int
        By series: rows that a target covers.
    failures : dict of str
        Series that could not be run, and why.
    model_failures : dict of dict
        By series: models that could not be run on it, and why.
    uniforms : dict of DataFrame
        By series: probability integral transforms, columns model.
    states : dict of DataFrame
        By series: number of the regime that was predicted as the likeliest, from calm (0) to wild,
        columns the models that have regimes.
    seconds : dict of float
        By series: CPU seconds of its models.
    warnings : dict of list
        By series: what its fits warned about.
    """

    losses: dict[str, pd.DataFrame]
    horizons: dict[str, int]
    failures: dict[str, str] = field(default_factory=dict)
    model_failures: dict[str, dict[str, str]] = field(default_factory=dict)
    uniforms: dict[str, pd.DataFrame] = field(default_factory=dict)
    states: dict[str, pd.DataFrame] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """Models that were run on at least one series, in their order."""
        held = (name for losses in self.losses.values() for name in losses["log_score"].columns)
        return list(dict.fromkeys(str(name) for name in held))

    def only(self, names: Iterable[str]) -> Panel:
        """The panel of some of its series."""
        kept = [name for name in names if name in self.losses]
        parts = {
            part: {name: held[name] for name in kept if name in held}
            for part, held in vars(self).items()
        }
        return Panel(**parts)

    def differences(
        self, model: str, against: str, score: str = "log_score", *, relative: bool = False
    ) -> pd.DataFrame:
        """Row by row what a model gained over another (positive is better), one column a series.

        Parameters
        ----------
        model, against : str
        score : str
            As in :meth:`gains`.
        relative : bool
            As a share of the other model's mean loss on that series, so that series in different
            units can be averaged.

        Returns
        -------
        DataFrame
            Indexed by all labels of the series on which both were run without an infinite loss;
            NaN where a series has no such row.
        """
        import pandas as pd

        self._require_score(score)
        columns = {}
        for series, losses in self.losses.items():
            table = losses[score]
            if model not in table or against not in table:
                continue
            gain = table[against] - table[model]
            if np.isfinite(gain.to_numpy()).all():
                columns[series] = gain / abs(table[against].mean()) if relative else gain
        if not columns:
            return pd.DataFrame()
        return pd.concat(columns, axis=1).sort_index()

    def average(
        self,
        model: str,
        against: str,
        score: str = "log_score",
        *,
        relative: bool = False,
    ) -> Difference | None:
        """Average gain over all series, with the t of its daily averages.

        Series that move together are not independent witnesses: their differences are averaged by
        day first, and Newey-West is of that one series of averages. ``gain`` is the mean over
        series, each weighing the same; ``won`` the share of days. None where no series has both.
        """
        table = self.differences(model, against, score, relative=relative)
        if table.empty:
            return None
        by_day = table.mean(axis=1).to_numpy()
        horizon = max(self.horizons[str(name)] for name in table.columns)
        test = score_difference(
            by_day, np.zeros_like(by_day), horizon=horizon, names=(model, against)
        )
        shift = float(table.mean().mean()) - test.gain  # zero where all have the same days
        return Difference(
            model,
            against,
            test.gain + shift,
            test.low + shift,
            test.high + shift,
            test.t,
            test.p,
            test.won,
        )

    def gains(self, against: str, score: str = "log_score") -> pd.DataFrame:
        """Gain of each model over one reference, on each series where both were run.

        Parameters
        ----------
        against : str
            The reference model.
        score : str
            "log_score" (nats a row), "crps" (unit of the series) or "qlike".

        Returns
        -------
        DataFrame
            Columns series, model, gain (positive is better), t, p, n. Each p is of one comparison:
            Diebold-Mariano with the correction of Harvey, Leybourne and Newbold, Newey-West
            variance. NaN where a loss is infinite.
        """
        import pandas as pd

        self._require_score(score)
        records = []
        for series, losses in self.losses.items():
            table = losses[score]
            if against not in table:
                continue
            for model in table.columns.drop(against):
                pair = table[[model, against]].to_numpy()
                gain = t = p = float("nan")
                if np.isfinite(pair).all():
                    test = diebold_mariano(pair[:, 1], pair[:, 0], horizon=self.horizons[series])
                    gain, t, p = test.mean_difference, test.t, test.p
                records.append((series, model, gain, t, p, len(table)))
        return pd.DataFrame(records, columns=["series", "model", "gain", "t", "p", "n"])

    def confidence_sets(
        self, level: float = 0.9, score: str = "log_score", draws: int = 1000
    ) -> pd.DataFrame:
        """Whether each model (columns) is in the confidence set of each series (rows).

        A multiple comparison over all models of a series. A model with an infinite loss is out.
        """
        import pandas as pd

        self._require_score(score)
        rows = {}
        for series, losses in self.losses.items():
            table = pd.DataFrame(losses[score])
            finite = table.loc[:, np.isfinite(table.to_numpy()).all(axis=0)]
            if table.shape[1] < 2 or finite.shape[1] < 1:
                continue
            inside = pd.Series(False, index=table.columns)
            inside[finite.columns] = True
            if finite.shape[1] > 1:
                found = model_confidence_set(finite, level=level, draws=draws)["included"]
                inside[found.index] = found
            rows[series] = inside
        return pd.DataFrame(rows).T.rename_axis(index="series", columns="model")

    def table(
        self,
        against: Sequence[str] | None = None,
        *,
        score: str = "log_score",
        size: float = 0.05,
    ) -> pd.DataFrame:
        """One row per model and reference, over all series.

        Parameters
        ----------
        against : sequence of str, optional
            References; default those of a study that were run.
        score : str
            As in :meth:`gains`.
        size : float
            p below which a series counts as significant. Each is of one comparison: of equally good
            models, half of this share of the series comes out as better by chance.

        Returns
        -------
        DataFrame
            Indexed by model and against: ``series``, ``mean_gain`` (all series weigh the same),
            ``won``, ``significant`` and ``significantly_worse`` (numbers of series).
        """
        import pandas as pd

        level = as_share(size, "size")
        held = {model for losses in self.losses.values() for model in losses[score].columns}
        wanted = [name for name in (against or REFERENCES) if name in held]
        records = []
        for reference in wanted:
            gains = self.gains(reference, score)
            for model, rows in gains.groupby("model", sort=False):
                told = rows["p"] < level
                records.append(
                    {
                        "model": model,
                        "against": reference,
                        "series": len(rows),
                        "mean_gain": rows["gain"].mean(),
                        "won": int((rows["gain"] > 0).sum()),
                        "significant": int((told & (rows["gain"] > 0)).sum()),
                        "significantly_worse": int((told & (rows["gain"] < 0)).sum()),
                    }
                )
        columns = ["series", "mean_gain", "won", "significant", "significantly_worse"]
        result = pd.DataFrame(records, columns=["model", "against", *columns])
        return result.set_index(["model", "against"])

    @staticmethod
    def _require_score(score: str) -> None:
        if score not in SCORES:
            raise InvalidInputError(f"score must be one of {', '.join(SCORES)}, got {score!r}")
