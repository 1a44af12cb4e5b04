"""Save and load fitted models: one safetensors file with a JSON header, never a pickle.

The header is one metadata key with one JSON string, so that equal models give equal bytes.
It names the class, its parameters and its state; arrays stand in it by the name of their tensor,
with shape and type, and a digest over all of them. Loading names what does not fit.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

import regimeslot.models as models
from regimeslot.errors import BadFileError, InvalidInputError, NotFittedError

__all__ = ["Saveable", "load", "save"]

_KEY = "regimeslot"
_FORMAT = 2  # raised whenever a model keeps other attributes than before

Tensors = dict[str, NDArray[Any]]


@runtime_checkable
class Saveable(Protocol):
    """A model that can be made again from its parameters and its state.

    Forecasters and the online slots are. Only public classes of ``regimeslot.models`` are loaded.
    """

    def get_params(self) -> dict[str, Any]:
        """Arguments of the constructor."""

    def get_state(self) -> dict[str, Any]:
        """What was learned, empty before a fit.

        Arrays, numbers, strings, models, and dicts, lists and tuples of those.
        """

    def set_state(self, state: dict[str, Any]) -> Self:
        """Put back what ``get_state`` gave."""


def save(model: Saveable, path: str | os.PathLike[str]) -> Path:
    """Write a fitted model to one file, replacing it only when the new one is complete.

    Parameters
    ----------
    model : Saveable
        Fitted forecaster or online slots.
    path : path-like
        Usually with the suffix ``.safetensors``.

    Returns
    -------
    Path

    Raises
    ------
    NotFittedError
        If there is nothing to save yet.
    InvalidInputError
        If the folder cannot be written.

    Examples
    --------
    >>> import numpy as np, tempfile, os
    >>> from regimeslot.models import MeanForecaster
    >>> model = MeanForecaster().fit(np.zeros((50, 1)), np.arange(50.0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = save(model, os.path.join(folder, "mean.safetensors"))
    ...     load(file).predict(np.zeros((1, 1))).mean().tolist()
    [24.5]
    """
    from safetensors.numpy import save as to_bytes

    if not isinstance(model, Saveable):
        raise InvalidInputError(
            f"save takes a forecaster or online slots of regimeslot, got {type(model).__name__}"
        )
    if not model.get_state():
        raise NotFittedError(f"this {type(model).__name__} is not fitted yet: nothing to save")
    tensors: Tensors = {}
    body = _encode(model, tensors, "model")
    header = {"format": _FORMAT, "model": body, "digest": _digest(body, tensors)}
    payload = to_bytes(tensors, metadata={_KEY: json.dumps(header)})
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(payload)
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise InvalidInputError(f"cannot write {target}: {error.strerror or error}") from error
    return target


def load(path: str | os.PathLike[str]) -> Any:
    """Read a model that :func:`save` wrote; it forecasts, and learns on, as it would have.

    Raises
    ------
    BadFileError
        If the file is missing, damaged, from another version, or not a model of regimeslot.

    Examples
    --------
    >>> import tempfile, os
    >>> from regimeslot import OnlineSlotRegressor
    >>> model = OnlineSlotRegressor().partial_fit([[0.0], [1.0], [2.0]], [1.0, 2.0, 3.0])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     again = load(save(model, os.path.join(folder, "online.safetensors")))
    >>> again.n_rows_, bool(again.predict([[3.0]]) == model.predict([[3.0]]))
    (3, True)
    """
    from safetensors import SafetensorError, safe_open

    source = Path(path)
    if not source.is_file():
        raise BadFileError(f"there is no model file {source}")
    try:
        with safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _KEY not in metadata:
            raise BadFileError(f"{source} is no model of regimeslot: it lacks the header {_KEY!r}")
        header = json.loads(metadata[_KEY])
        if header["format"] != _FORMAT:
            raise BadFileError(
                f"{source} was saved by another version of regimeslot (it has format "
                f"{header['format']}, this version reads {_FORMAT}): fit again"
            )
        if header["digest"] != _digest(header["model"], tensors):
            raise BadFileError(f"{source} is damaged: its contents do not match its digest")
        model = _decode(header["model"], tensors)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadFileError):
            raise
        raise BadFileError(f"{source} is damaged or no model file: {error}") from error
    if not isinstance(model, Saveable):
        raise BadFileError(f"{source} holds no model")
    return model


def _digest(body: Any, tensors: Tensors) -> str:
    digest = hashlib.sha256(json.dumps(body).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(tensors[name]).tobytes())
    return digest.hexdigest()


def _encode(value: Any, tensors: Tensors, name: str) -> Any:
    """JSON value of a parameter or state; arrays go to ``tensors`` under ``name``."""
    if isinstance(value, Saveable):
        return {
            "$model": type(value).__name__,
            "params": _encode(value.get_params(), tensors, f"{name}.params"),
            "state": _encode(value.get_state(), tensors, f"{name}.state"),
        }
    if isinstance(value, np.ndarray):
        tensors[name] = np.ascontiguousarray(value)
        return {"$array": name, "shape": list(value.shape), "dtype": str(value.dtype)}
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return {"$float": repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): _encode(v, tensors, f"{name}.{k}") for k, v in value.items()}
    if isinstance(value, tuple):
        return {"$tuple": [_encode(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]}
    if isinstance(value, list):
        return [_encode(v, tensors, f"{name}.{i}") for i, v in enumerate(value)]
    raise InvalidInputError(
        f"cannot save {name}: a {type(value).__name__} has no place in the file"
    )


def _decode(value: Any, tensors: Tensors) -> Any:
    if isinstance(value, list):
        return [_decode(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    if "$array" in value:
        name = value["$array"]
        if name not in tensors:
            raise BadFileError(f"the tensor {name} is missing")
        array = tensors[name]
        if list(array.shape) != value["shape"] or str(array.dtype) != value["dtype"]:
            raise BadFileError(
                f"the tensor {name} has shape {list(array.shape)} and type {array.dtype}, "
                f"expected {value['shape']} and {value['dtype']}"
            )
        return array.copy()
    if "$float" in value:
        return float(value["$float"])
    if "$tuple" in value:
        return tuple(_decode(v, tensors) for v in value["$tuple"])
    if "$model" in value:
        kind = getattr(models, value["$model"]) if value["$model"] in models.__all__ else None
        if not (isinstance(kind, type) and issubclass(kind, Saveable)):
            raise BadFileError(f"there is no model {value['$model']!r} in this version")
        return kind(**_decode(value["params"], tensors)).set_state(_decode(value["state"], tensors))
    return {k: _decode(v, tensors) for k, v in value.items()}
