"""JSON documents read strictly: one value for each key, and exactly the fields of the type.

Most readers keep the last of two equal keys and some keep the first, so a document with both says two things, and may
carry something that nobody meant to publish. It does not know which document it reads.
"""

import json
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from privdistill.errors import RefusedError

__all__ = ["read_document"]

_Model = TypeVar("_Model", bound=BaseModel)


def read_document(model: type[_Model], content: bytes, name: str) -> _Model:
    """Parse a document.

    Raises:
        RefusedError: not JSON, a key appears twice, or the fields are not those of `model`. Never quotes the content.
    """
    try:
        json.loads(content, object_pairs_hook=_once)
        return model.model_validate_json(content)
    except ValidationError as error:
        raise RefusedError(f"{name} is not a {model.__name__} ({error.error_count()} fault(s))") from None
    except (_Twice, ValueError, RecursionError) as error:
        reason = "a key appears twice" if isinstance(error, _Twice) else "not readable as JSON"
        raise RefusedError(f"{name} is not a {model.__name__} ({reason})") from None


class _Twice(Exception):
    pass


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found
