"""Public specs as JSON and arrays, and back: each kind is registered, each field has the type that it declares.

Reading is strict: only registered kinds, exactly their fields, finite numbers, arrays of the declared type. Nothing
else can be made of a message, so nothing in it can run. Whether shapes fit and numbers make sense is the door's to say
(`mechanisms.soundness`). It does not know what a spec is for.
"""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np

from privdistill.mechanisms.release import (
    Block,
    ClassRule,
    CountBlock,
    ExpertRequest,
    FloatArray,
    HeadGradientBlock,
    IntArray,
    LengthBlock,
    MechanismRecord,
    MomentBlock,
    OpeningBlock,
    Release,
    SecondMomentBlock,
    StatisticRequest,
    TokenBlock,
    VoteBlock,
)
from privdistill.models.loading import Located
from privdistill.recipes.base import Task

__all__ = ["REQUESTS", "SpecError", "read_spec", "write_spec"]

REQUESTS = (StatisticRequest, ExpertRequest)
"""The requests of a guest: what needs no live model and lets no record out."""
_BLOCKS = (
    CountBlock,
    HeadGradientBlock,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    TokenBlock,
    VoteBlock,
)
_KINDS: dict[str, Any] = {
    kind.__name__: kind for kind in (*REQUESTS, *_BLOCKS, ClassRule, Located, MechanismRecord, Release, Task)
}
_TYPES = {np.dtype(np.float64): FloatArray, np.dtype(np.int64): IntArray}


class SpecError(Exception):
    """What was read is no spec; the message names places, never values."""


def write_spec(value: object, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON; arrays go to `arrays` and are named in the JSON.

    Raises:
        SpecError: a kind that is not registered.
    """
    if isinstance(value, np.ndarray):
        name = f"a{len(arrays)}"
        arrays[name] = value.astype(np.int64 if value.dtype.kind in "iub" else np.float64, copy=False)
        return {"array": name}
    if is_dataclass(value) and not isinstance(value, type):
        kind = type(value).__name__
        if _KINDS.get(kind) is not type(value):
            raise SpecError(kind)
        return {"spec": kind, **{f.name: write_spec(getattr(value, f.name), arrays) for f in fields(value)}}
    if isinstance(value, Mapping):
        return {str(key): write_spec(one, arrays) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [write_spec(one, arrays) for one in value]
    if isinstance(value, np.generic):
        return value.item()
    return str(value) if isinstance(value, Path) else value


def read_spec(kind: Any, value: object, arrays: Mapping[str, np.ndarray], place: str = "message") -> Any:
    """What `write_spec` wrote, held to the type `kind`.

    Raises:
        SpecError: anything else.
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind in (FloatArray, IntArray):
        return _array(kind, value, arrays, place)
    if origin in (Union, UnionType):
        if value is None and NoneType in parts:
            return None
        (kind,) = (part for part in parts if part is not NoneType)
        return read_spec(kind, value, arrays, place)
    if origin is tuple:
        if not isinstance(value, list) or (parts[-1] is not Ellipsis and len(parts) != len(value)):
            raise SpecError(place)
        kinds = [parts[0]] * len(value) if parts[-1] is Ellipsis else parts
        return tuple(
            read_spec(part, one, arrays, f"{place}[{i}]")
            for i, (part, one) in enumerate(zip(kinds, value, strict=True))
        )
    if isinstance(kind, type) and is_dataclass(kind):
        return _dataclass(kind, value, arrays, place)
    return _scalar(kind, value, arrays, place)


def _scalar(kind: Any, value: object, arrays: Mapping[str, np.ndarray], place: str) -> Any:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is float and type(value) in (int, float):
        number = float(value) if abs(value) < 1e300 else math.inf  # type: ignore[arg-type]
        if math.isfinite(number):
            return number
    elif kind in (bool, int, str) and type(value) is kind:
        return value
    elif kind is Path and isinstance(value, str):
        return Path(value)
    elif origin is not None and isinstance(origin, type) and issubclass(origin, Mapping) and isinstance(value, dict):
        return {key: read_spec(parts[1], one, arrays, f"{place}.{key}") for key, one in value.items()}
    elif origin is Literal and value in parts:
        return value
    raise SpecError(place)


def _dataclass(kind: Any, value: object, arrays: Mapping[str, np.ndarray], place: str) -> Any:
    found = _KINDS.get(str(value.get("spec"))) if isinstance(value, dict) else None
    if found is None or not isinstance(value, dict) or not issubclass(found, kind) or found is Block:
        raise SpecError(place)
    hints = get_type_hints(found)
    wanted = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(found)}
    if not {name for name, needed in wanted.items() if needed} <= set(value) - {"spec"} <= set(wanted):
        raise SpecError(place)
    read = {name: read_spec(hints[name], value[name], arrays, f"{place}.{name}") for name in wanted if name in value}
    return found(**read)


def _array(kind: Any, value: object, arrays: Mapping[str, np.ndarray], place: str) -> np.ndarray:
    name = value.get("array") if isinstance(value, dict) and set(value) == {"array"} else None
    array = arrays.get(name) if isinstance(name, str) else None
    if array is None or _TYPES.get(array.dtype) != kind or not np.isfinite(array).all():
        raise SpecError(place)
    return array
