"""A record of several fields as one text, and back: the same map for private and synthetic records.

Fields are joined by one public separator, which stays within a line. What looks like it inside a field is replaced and
runs of white space (line ends among them) are folded, so joining is invertible. The text is a function of one record
alone; a record with an empty field has none. It does not know files, nor what the fields are called.
"""

import re
from collections.abc import Sequence

__all__ = ["DIVIDER", "divided", "joined", "plain_field", "spaced"]

DIVIDER = "=>"
"""Stands between two fields, with a space on either side."""
_INSIDE = "->"
_BETWEEN = f" {DIVIDER} "


def plain_field(value: str) -> str:
    """One field as it stands in a text: a single line without the divider.

    Example:
        >>> plain_field(" so it  follows => this")
        'so it follows -> this'
    """
    return " ".join(value.replace(DIVIDER, _INSIDE).split())


def joined(values: Sequence[str]) -> str | None:
    """The text of one record, or None when a field is empty; a record of one field is left as it is.

    Example:
        >>> joined(["What is owed?", "12 euros"])
        'What is owed? => 12 euros'
    """
    if len(values) == 1:
        return values[0] if values[0].strip() else None
    fields = [plain_field(value) for value in values]
    return _BETWEEN.join(fields) if all(fields) else None


def divided(text: str, count: int) -> tuple[str, ...] | None:
    """The `count` fields of a text, or None when it is not a text of so many: the inverse of `joined`.

    Example:
        >>> divided("What is owed? => 12 euros", 2)
        ('What is owed?', '12 euros')
    """
    if count == 1:
        return (text,) if text.strip() else None
    fields = tuple(text.split(_BETWEEN))
    return fields if len(fields) == count and joined(fields) == text else None


def spaced(text: str) -> str:
    """A text as a model wrote it, with one space on either side of each divider.

    Example:
        >>> spaced("What is owed?=>12 euros")
        'What is owed? => 12 euros'
    """
    return re.sub(rf"\s*{DIVIDER}\s*", _BETWEEN, text)
