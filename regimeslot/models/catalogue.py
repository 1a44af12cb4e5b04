"""CATALOGUE: every model by name, with the settings it is compared under.

A model that enters here is taken up by the contract tests, the walk-forward, the report and the
command line. The settings were chosen on returns up to 2010; nothing is tuned afterwards.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from regimeslot.errors import InvalidInputError
from regimeslot.models.base import Forecaster
from regimeslot.models.baselines import LinearForecaster, MeanForecaster
from regimeslot.models.garch import GarchForecaster
from regimeslot.models.markov_forecaster import MarkovForecaster, StaticMixtureForecaster
from regimeslot.models.pool import Pool
from regimeslot.models.slot_forecaster import SlotForecaster
from regimeslot.models.slot_lstm_forecaster import SlotLSTMForecaster
from regimeslot.models.slot_weight_forecaster import SlotWeightForecaster

__all__ = ["CATALOGUE", "POOL_MEMBERS", "CatalogueEntry", "Setting", "make_forecaster"]

POOL_MEMBERS = ("slots-single", "slots-markov", "slots-sticky")

_AR_LAGS = 4  # of series that are not prices: four lags, as macro studies use


@dataclass(frozen=True)
class Setting:
    """What a catalogue model must know of the data it will see."""

    horizon: int = 1
    transform: str = "log-return"
    random_state: int | None = 0

    @property
    def predictable_mean(self) -> bool:
        """Whether the mean is worth modelling: rates and growth rates yes, returns no."""
        return self.transform != "log-return"


@dataclass(frozen=True)
class CatalogueEntry:
    """One model of the catalogue.

    Attributes
    ----------
    name : str
    build : callable, Setting -> Forecaster
    about : one line for people
    kind : "baseline" (what is to be beaten), "slots" or "pool"
    default : whether a run takes it up without being asked; networks take minutes, and wait for
        their names, and so does what a study of many series adds
    """

    name: str
    build: Callable[[Setting], Forecaster]
    about: str
    kind: str
    default: bool = True


def _slots(selector: str, n_slots: int = 2) -> Callable[[Setting], Forecaster]:
    def build(setting: Setting) -> Forecaster:
        return SlotForecaster(
            n_slots=n_slots,
            selector=selector,
            location="linear" if setting.predictable_mean else "constant",
            penalty=1.0,
            n_starts=1,
            horizon=setting.horizon,
            random_state=setting.random_state,
        )

    return build


def _garch(volatility: str, likelihood: str, lags: int = 1) -> Callable[[Setting], Forecaster]:
    def build(setting: Setting) -> Forecaster:
        return GarchForecaster(
            volatility=volatility,
            likelihood=likelihood,
            lags=lags,
            ar_lags=_AR_LAGS if setting.predictable_mean else 0,
            horizon=setting.horizon,
        )

    return build


def _markov(
    n_regimes: int, likelihood: str, kind: type[MarkovForecaster] = MarkovForecaster
) -> Callable[[Setting], Forecaster]:
    def build(setting: Setting) -> Forecaster:
        return kind(
            n_regimes=n_regimes,
            likelihood=likelihood,
            order=_AR_LAGS if setting.predictable_mean else 0,
            horizon=setting.horizon,
            random_state=setting.random_state,
        )

    return build


def _slot_lstm(cell: str) -> Callable[[Setting], Forecaster]:
    def build(setting: Setting) -> Forecaster:
        return SlotLSTMForecaster(
            cell=cell,
            location="linear" if setting.predictable_mean else "constant",
            horizon=setting.horizon,
            random_state=setting.random_state,
        )

    return build


def _pool(setting: Setting) -> Forecaster:
    return Pool(members={name: CATALOGUE[name].build(setting) for name in POOL_MEMBERS})


_ENTRIES = (
    CatalogueEntry(
        "mean",
        lambda s: MeanForecaster(horizon=s.horizon),
        "expanding mean, constant Student-t",
        "baseline",
    ),
    CatalogueEntry(
        "linear",
        lambda s: LinearForecaster(horizon=s.horizon),
        "least squares on all features, constant Student-t",
        "baseline",
    ),
    CatalogueEntry(
        "markov",
        _markov(2, "gaussian"),
        "Markov switching, two Gaussian regimes, no features",
        "baseline",
    ),
    CatalogueEntry(
        "markov-t",
        _markov(3, "t"),
        "Markov switching, three Student-t regimes, no features",
        "baseline",
    ),
    CatalogueEntry(
        "mixture-t",
        _markov(3, "t", StaticMixtureForecaster),
        "three Student-t experts, constant weights, no features (the control of markov-t)",
        "baseline",
    ),
    CatalogueEntry("gjr-garch", _garch("gjr", "t"), "GJR-GARCH(1,1,1), Student-t", "baseline"),
    CatalogueEntry(  # what studies of many series are compared with; fit has the two around it
        "egarch-t",
        _garch("egarch", "t"),
        "EGARCH(1,1,1), Student-t",
        "baseline",
        default=False,
    ),
    CatalogueEntry(  # two lags beat one on the index up to 2010 and cost nothing on stocks
        "egarch-skewt",
        _garch("egarch", "skewt", lags=2),
        "EGARCH(2,2,2), skewed Student-t",
        "baseline",
    ),
    CatalogueEntry(
        "slot-weight",
        lambda s: SlotWeightForecaster(horizon=s.horizon, random_state=s.random_state),
        "two slots of weights mixed by a softmax gate, squared error",
        "slots",
    ),
    CatalogueEntry(
        "slots-single", _slots("static", 1), "one expert: log-scale linear in features", "slots"
    ),
    CatalogueEntry(
        "slots-static", _slots("static"), "two experts, constant weights (the control)", "slots"
    ),
    CatalogueEntry(
        "slots-softmax",
        _slots("softmax"),
        "two experts, weights gated by features, no memory",
        "slots",
    ),
    CatalogueEntry("slots-markov", _slots("markov"), "two experts, Markov chain", "slots"),
    CatalogueEntry(
        "slots-sticky", _slots("sticky"), "two experts, Markov chain gated by features", "slots"
    ),
    CatalogueEntry("pool", _pool, f"equal pool of {', '.join(POOL_MEMBERS)}", "pool"),
    CatalogueEntry(
        "lstm",
        _slot_lstm("lstm"),
        "two experts moved by an ordinary LSTM (the control of slot-lstm)",
        "baseline",
        default=False,
    ),
    CatalogueEntry(
        "slot-lstm",
        _slot_lstm("slots"),
        "two experts moved by an LSTM with four memory slots",
        "slots",
        default=False,
    ),
)

CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType({e.name: e for e in _ENTRIES})


def make_forecaster(name: str, setting: Setting | None = None) -> Forecaster:
    """Build the catalogue's model of this name.

    Parameters
    ----------
    name : str
        A key of ``CATALOGUE``.
    setting : Setting, optional
        Horizon, transform and seed; default one step ahead on log returns.

    Raises
    ------
    InvalidInputError
        If there is no such model; near names are suggested.

    Examples
    --------
    >>> make_forecaster("slots-sticky").selector
    'sticky'
    """
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InvalidInputError(
            f"there is no model {name!r}: {hint}the catalogue has {', '.join(CATALOGUE)}"
        )
    return CATALOGUE[name].build(setting or Setting())
