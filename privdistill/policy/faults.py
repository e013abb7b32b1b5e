"""One fault of a file or a flag in words: what was expected, what was found, which key was meant.

A file named by mistake may be a corpus. So of what was found only numbers and the one word that had to be of a list are
repeated, and an unknown key only where it looks like a key. It does not know files or flags.
"""

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

__all__ = ["sentence", "where"]

_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
_KINDS = {
    "model_type": "keys with values",
    "model_attributes_type": "keys with values",
    "dict_type": "keys with values",
    "tuple_type": "a list",
    "list_type": "a list",
    "string_type": "text",
}


def where(problem: Mapping[str, Any]) -> str:
    """Dotted place of a fault; empty for the whole."""
    parts = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden" and not _KEY.fullmatch(parts[-1]):
        parts[-1] = "(a key)"
    return ".".join(parts)


def sentence(problem: Mapping[str, Any], model: type[BaseModel]) -> str:
    """What is wrong, given what pydantic says of it.

    Args:
        problem: one of `ValidationError.errors()`, with its input.
        model: what was to be read, for the names of its keys.
    """
    kind, message, found = problem["type"], problem["msg"], problem.get("input")
    if kind == "extra_forbidden":
        *place, name = problem["loc"]
        meant = get_close_matches(str(name), _keys(model, place), n=1)
        return "unknown key" + (f"; did you mean {meant[0]}?" if meant else "")
    if kind == "missing":
        return "required and not set; add it"
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, found {_told(found)}"
    if message.startswith("Input should be"):
        expected = message.removeprefix("Input should be").removeprefix(" a valid").strip()
        word = isinstance(found, str) and kind == "literal_error" and _KEY.fullmatch(found)
        return f"expected {expected}, found {repr(found) if word else _told(found)}"
    return str(message.removeprefix("Value error, "))


def _keys(model: type[BaseModel], place: list[Any]) -> list[str]:
    for part in place:
        field = model.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return []
        model = field.annotation
    return list(model.model_fields)


def _told(found: object) -> str:
    if isinstance(found, bool) or found is None:
        return {True: "yes", False: "no", None: "nothing"}[found]
    if isinstance(found, int | float):
        return f"{found:g}"
    return "text" if isinstance(found, str) else "a list" if isinstance(found, list | tuple) else "keys with values"
