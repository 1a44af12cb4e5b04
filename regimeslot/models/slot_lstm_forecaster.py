"""SlotLSTMForecaster: slot memory over windows of features moves a mixture of linear experts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from regimeslot.errors import InvalidInputError, TooFewRowsError
from regimeslot.features import OFFSET, RETURN
from regimeslot.forecast import MixtureForecast
from regimeslot.models.base import Features, Forecaster, check_rows, check_target
from regimeslot.models.slot_forecaster import FEATURE_LIMIT, SlotForecaster
from regimeslot.windows import rolling_windows

if TYPE_CHECKING:
    from regimeslot.models.slot_lstm_training import TrainingRows

__all__ = ["SlotLSTMForecaster", "SlotMemory"]

Array = NDArray[np.float64]
Progress = Callable[[int, int, str], None]

_CELLS = ("slots", "lstm")


@dataclass(frozen=True, eq=False)
class SlotMemory:
    """Which memory slot is read and written at each row.

    Attributes
    ----------
    read, write : DataFrame (n, S)
        Shares that sum to one at every row.
    in_use : bool
        Whether forecasts depend on it: early stopping may have found no use for it.
    """

    read: pd.DataFrame
    write: pd.DataFrame
    in_use: bool = True


class SlotLSTMForecaster(Forecaster):
    r"""Mixture of Student-t experts that an LSTM with several memory slots moves.

    .. math::
        p(y_t \mid \text{past}) = \sum_k w_k(t)\, t_{\nu_k}(y_t;\, m_k(t), s_k(t)), \qquad
        (w, m, s)(t) = \text{experts}(x_t) + V h_t

    where h_t is the output of a :class:`regimeslot.SlotLSTM` that has read the rows t - window + 1
    to t, from an empty memory. The experts are a :class:`SlotForecaster` with constant weights,
    linear in the features of row t; V starts at zero, so that training starts at a good forecast,
    ends where the last rows say that more of it no longer helps, and leaves the experts alone where
    they do not show that the memory helps at all. The head is
    :class:`regimeslot.models.slot_lstm_network.RecurrentHead`.

    Only features enter the memory, so that a forecast depends on X alone; a target's own past
    enters as columns of X, which :func:`regimeslot.make_dataset` makes.

    Parameters
    ----------
    n_slots : int
        Experts K of the mixture, whose weights the memory moves.
    memory_slots : int
        Memory slots S of the LSTM; one is an ordinary LSTM.
    hidden_size : int
        Units of the LSTM.
    window : int
        Rows that a forecast looks back over.
    cell : {"slots", "lstm"}
        ``"lstm"`` is the control: ``torch.nn.LSTM`` under the same head, with the number of units
        that comes nearest to the parameters of ``"slots"``.
    location, scale : {"constant", "linear"}
        Experts, as in :class:`SlotForecaster`; the memory moves both in any case.
    n_seeds : int
        Networks trained from different starts; their forecasts are pooled with equal weights.
    validation : float
        Share of the training rows, at their end, that decides when to stop.
    epochs, refit_epochs : int
        Most passes over the rows, at a first fit and at a refit with ``warm_start``.
    patience : int
        Passes without improvement after which to stop.
    batches : int
        Steps of the optimiser a pass.
    learning_rate : float
        Of Adam.
    cell_penalty, output_penalty : float
        On the sum of squared weights of the LSTM and of V, against the summed log-likelihood.
    half_life : float, optional
        Age in rows at which a row counts half; None: all rows count alike.
    horizon : int
        y of row s is known ``horizon`` rows later.
    warm_start : bool
        A second ``fit`` starts from the last solution.
    random_state : int, optional
        Seed of the networks' starts and of the order of rows.

    Attributes
    ----------
    base_ : SlotForecaster
        The experts, fitted on all training rows.
    networks_ : list of dict of float32 arrays
        Weights of each network by name.
    training_ : list of dict
        Of each network: ``scores`` on the last rows before and after each pass (nats a row),
        ``best`` the pass that was kept, 0 for the start, and whether it is ``in_use``: one that
        does not beat the experts alone by a standard error is silenced.
    hidden_size_ : units that were used
    interrupted_ : whether Ctrl-C ended the fit

    References
    ----------
    Hochreiter and Schmidhuber (1997), Neural Computation 9; Bishop (1994), Mixture density
    networks, Aston University; Prechelt (1998), Early stopping, but when?

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 2))
    >>> y = np.exp(0.5 * X[:, 0]) * rng.standard_normal(400)
    >>> model = SlotLSTMForecaster(window=8, hidden_size=4, n_seeds=1, epochs=2, random_state=0)
    >>> model.fit(X[:300], y[:300]).predict(X[300:]).std().shape
    (100,)
    >>> model.memory(X).write.shape
    (393, 4)
    """

    requires = ("regimeslot.models.slot_lstm_training",)

    def __init__(
        self,
        *,
        n_slots: int = 2,
        memory_slots: int = 4,
        hidden_size: int = 8,
        window: int = 16,
        cell: str = "slots",
        location: str = "constant",
        scale: str = "linear",
        n_seeds: int = 3,
        validation: float = 0.2,
        epochs: int = 100,
        refit_epochs: int = 40,
        patience: int = 15,
        batches: int = 2,
        learning_rate: float = 0.003,
        cell_penalty: float = 3.0,
        output_penalty: float = 100.0,
        half_life: float | None = 2016.0,
        horizon: int = 1,
        warm_start: bool = False,
        random_state: int | None = None,
    ) -> None:
        self.n_slots = n_slots
        self.memory_slots = memory_slots
        self.hidden_size = hidden_size
        self.window = window
        self.cell = cell
        self.location = location
        self.scale = scale
        self.n_seeds = n_seeds
        self.validation = validation
        self.epochs = epochs
        self.refit_epochs = refit_epochs
        self.patience = patience
        self.batches = batches
        self.learning_rate = learning_rate
        self.cell_penalty = cell_penalty
        self.output_penalty = output_penalty
        self.half_life = half_life
        self.horizon = horizon
        self.warm_start = warm_start
        self.random_state = random_state

    # ------------------------------------------------------------------ fit
    def fit(self, X: Features, y: ArrayLike, *, progress: Progress | None = None) -> Self:
        """Estimate on training rows; with ``warm_start`` from the solution before.

        Parameters
        ----------
        X, y
            As in :meth:`Forecaster.fit`.
        progress : callable, optional
            Called with (passes done, passes in all at most, what is under way).

        Raises
        ------
        InvalidInputError, TooFewRowsError
            As in :meth:`Forecaster.fit`, and where the window is longer than the rows before those
            that decide when to stop.
        KeyboardInterrupt
            After Ctrl-C. One that comes during training ends it: the model is fitted all the same,
            with the best state so far. An earlier one leaves the model as it was.
        """
        self._progress = progress
        try:
            super().fit(X, y)
        finally:
            vars(self).pop("_progress", None)
        if self.interrupted_:
            raise KeyboardInterrupt
        return self

    def _check_parameters(self) -> None:
        if self.cell not in _CELLS:
            raise InvalidInputError(f"cell must be one of {', '.join(_CELLS)}, got {self.cell!r}")
        whole = ("n_slots", "memory_slots", "hidden_size", "window", "n_seeds")
        for name in (*whole, "epochs", "refit_epochs", "patience", "batches", "horizon"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise InvalidInputError(
                    f"{name} must be a whole number of at least 1, got {value!r}"
                )
        for name, most in (("validation", 1.0), ("learning_rate", math.inf)):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 < value < most):
                raise InvalidInputError(f"{name} must be a number in (0, {most:g}), got {value!r}")
        for name in ("cell_penalty", "output_penalty"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0.0 <= value < math.inf):
                raise InvalidInputError(f"{name} must be a number of at least 0, got {value!r}")

    def _fit(self, frame: pd.DataFrame, target: Array) -> None:
        from regimeslot.models.slot_lstm_training import TrainingRows

        state = self.get_state()
        columns = [str(name) for name in frame.columns]
        alike = self.warm_start and state.get("columns_") == columns
        previous = state if alike and state["sizes_"] == self._sizes(columns) else None
        check, stop = self._split(len(frame))
        self.columns_, self.sizes_ = columns, self._sizes(columns)
        self.features_ = [name for name in columns if name not in (OFFSET, RETURN)]
        if not self.features_:
            raise InvalidInputError(
                f"expected features for the memory to read, got {len(columns)} column(s) of which "
                f"none is left beside {OFFSET} and {RETURN}: add some"
            )
        values = frame[self.features_].to_numpy(float)
        self.feature_mean_, self.feature_std_ = values.mean(axis=0), values.std(axis=0) + 1e-12
        self.spread_ = float(target.std())
        self.hidden_size_ = self._units()

        # Rows that decide when to stop must be new to the experts too.
        early = self._base(previous).fit(frame[:stop], target[:stop])
        self.base_ = self._base({"base_": early}).fit(frame, target)
        inputs = self._inputs(frame)
        self.tail_ = inputs[len(inputs) - (self.window - 1) :]
        rows = TrainingRows.of(
            inputs, target / self.spread_, early.predict(frame), self.spread_,
            half_life=self.half_life, window=self.window, stop=stop, check=check,
        )  # fmt: skip
        self._train(rows, previous)

    def _train(self, rows: TrainingRows, previous: dict[str, Any] | None) -> None:
        """Train every network; after Ctrl-C those that were not begun stay as they were."""
        from regimeslot.models.slot_lstm_run import make_head, one_torch_thread
        from regimeslot.models.slot_lstm_training import Schedule, train

        schedule = Schedule(
            self.refit_epochs if previous else self.epochs, self.patience, self.batches,
            self.learning_rate, self.cell_penalty, self.output_penalty,
        )  # fmt: skip
        self.networks_ = list(previous["networks_"]) if previous else []
        self.training_ = list(previous["training_"]) if previous else []
        self.interrupted_ = False
        seeds = np.random.SeedSequence(self.random_state).spawn(self.n_seeds)
        for number, seed in enumerate(seeds):

            def step(epoch: int, number: int = number) -> None:
                if self._progress is not None:
                    done, total = number * schedule.epochs, self.n_seeds * schedule.epochs
                    self._progress(done + epoch - 1, total, f"network {number + 1}")

            here = slice(number, number + 1)
            try:
                head = make_head(
                    self._network,
                    seed=int(seed.generate_state(1)[0]),
                    weights=next(iter(self.networks_[here]), None),
                )
                with one_torch_thread():
                    result = train(head, rows, schedule, np.random.default_rng(seed), step)
            except KeyboardInterrupt:  # it came between two networks
                if not self.networks_:
                    raise
                self.interrupted_ = True
                return
            self.networks_[here] = [{n: v.numpy() for n, v in head.state_dict().items()}]
            self.training_[here] = [
                {"scores": list(result.scores), "best": result.best, "in_use": result.in_use}
            ]
            if result.interrupted:
                self.interrupted_ = True
                return

    def _sizes(self, columns: list[str]) -> list[Any]:
        """What two fits must share for one to start from the other."""
        base = (self.location, self.scale)
        network = (self.n_slots, self.memory_slots, self.hidden_size, self.cell, self.n_seeds)
        return [*base, *network, len(columns)]

    def _split(self, n_rows: int) -> tuple[int, int]:
        """First row that decides when to stop, and the row before which training rows end."""
        check = n_rows - max(1, round(self.validation * n_rows))
        stop = check - (self.horizon - 1)  # whole targets only
        if stop < max(self.window, 2):
            raise TooFewRowsError(
                f"a window of {self.window} rows does not fit into the {max(stop, 0)} of "
                f"{n_rows} rows that are left to train on beside {n_rows - check} to stop by: "
                "take a shorter window or a longer series"
            )
        return check, stop

    def _units(self) -> int:
        if self.cell == "slots":
            return self.hidden_size
        from regimeslot.models.slot_lstm_network import matched_hidden_size

        sizes = {"n_slots": self.n_slots, "memory_slots": self.memory_slots}
        return matched_hidden_size(len(self.features_), self.hidden_size, **sizes)

    def _base(self, previous: dict[str, Any] | None) -> SlotForecaster:
        """Experts with constant weights, to be fitted from those of the fit before."""
        base = SlotForecaster(
            n_slots=self.n_slots,
            selector="static",
            location=self.location,
            scale=self.scale,
            penalty=1.0,
            half_life=self.half_life,
            horizon=self.horizon,
            n_starts=1,
            warm_start=True,
            random_state=self.random_state,
        )
        return base if previous is None else base.set_state(previous["base_"].get_state())

    def _inputs(self, frame: pd.DataFrame) -> Array:
        """Standardised features (n, D) by the training rows' moments."""
        values = (frame[self.features_].to_numpy(float) - self.feature_mean_) / self.feature_std_
        return np.clip(values, -FEATURE_LIMIT, FEATURE_LIMIT)

    @property
    def _network(self) -> dict[str, int | None]:
        """Sizes of the network, as :class:`RecurrentHead` takes them."""
        return {
            "input_size": len(self.features_),
            "hidden_size": self.hidden_size_,
            "n_slots": self.n_slots,
            "memory_slots": self.memory_slots if self.cell == "slots" else None,
            "memory_span": self.window,
        }

    # ------------------------------------------------------------------ forecast
    def predict(self, X: Features, y: ArrayLike | None = None) -> MixtureForecast:
        """Forecast the rows that follow the last known one; see :mod:`regimeslot.models.base`."""
        from regimeslot.models.slot_lstm_run import make_head, moved_forecast

        frame, inputs = self._seen(X, y)
        experts = self.base_.predict(frame)
        windows = rolling_windows(inputs, self.window)
        forecasts = [
            moved_forecast(
                make_head(self._network, weights=weights), windows, experts, self.spread_
            )
            for weights in self.networks_
        ]
        return forecasts[0] if len(forecasts) == 1 else MixtureForecast.pool(forecasts)

    def update(self, X: Features, y: ArrayLike) -> Self:
        """Move the window past new rows whose target has become known."""
        inputs = self._seen(X, y)[1]
        self.tail_ = inputs[len(inputs) - (self.window - 1) :].copy()
        return self

    @property
    def networks_in_use(self) -> list[dict[str, NDArray[np.float32]]]:
        """Those of ``networks_`` that move the experts: early stopping silences the others."""
        self._require_fit()
        return [weights for weights in self.networks_ if weights["output.weight"].any()]

    def memory(self, X: Features) -> SlotMemory:
        """Which memory slot is read and written, for looking at.

        Of the first network that early stopping found a use for, else of the first.

        Parameters
        ----------
        X : (n, F)
            Rows of any time, in order; the first ``window - 1`` only fill the memory.

        Returns
        -------
        SlotMemory
            Of the n - window + 1 rows with a whole window.

        Raises
        ------
        InvalidInputError
            For the control, whose one memory leaves nothing to choose.
        TooFewRowsError
            If the window is longer than X.
        """
        from regimeslot.models.slot_lstm_run import make_head, slot_attention

        self._require_fit()
        frame = check_rows(X, self.columns_)
        in_use = self.networks_in_use
        head = make_head(self._network, weights=[*in_use, *self.networks_][0])
        windows = rolling_windows(self._inputs(frame), self.window)
        read, write = slot_attention(head, windows)
        index = frame.index[self.window - 1 :]
        names = [f"slot {number}" for number in range(1, self.memory_slots + 1)]
        return SlotMemory(
            pd.DataFrame(read, index, names), pd.DataFrame(write, index, names), bool(in_use)
        )

    def _seen(self, X: Features, y: ArrayLike | None) -> tuple[pd.DataFrame, Array]:
        """Checked rows, and their features behind those that their windows begin with."""
        self._require_fit()
        frame = check_rows(X, self.columns_)
        if not len(frame):
            raise InvalidInputError("X has no rows to forecast")
        if y is not None:
            check_target(y, X, missing=True)
        return frame, np.concatenate([self.tail_, self._inputs(frame)])
