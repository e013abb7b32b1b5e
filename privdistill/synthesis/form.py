"""The form of one synthetic text: whole, plain, without the manners of a chat model.

Rules are about the shape of any text (cut off, preamble, echo of the prompt, list numbers, mark-up), never about a
domain. It does not know the model, the class, nor what the text says.
"""

import re
from collections.abc import Callable

from privdistill.features.fields import divided
from privdistill.features.words import UNSPACED

__all__ = ["SENTENCE_END", "ends_whole", "has_preamble", "tidy"]

SENTENCE_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*$")
_INNER_END = re.compile(r"[.!?…。！？]+[\"'”’)\]]*(?=\s)|[。！？]+[\"'”’)\]]*")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_PREAMBLE = re.compile(
    r"^\W*(here('s| is| are)\b|sure\b|certainly\b|examples?\b|of course[,!]|as an ai\b|i('m| am) (sorry|an ai)"
    r"|(sentence|original|original text|review|question|answer|note|text|title|category|topic|keyword"
    r"|output|input|user|assistant|positive|negative|summary|response|ex|q|a)\s*\d*\s*[:)\]]"
    r"|the (following|above|given|original) (is|are|text|sentence|list|review|question|example)\b)",
    re.IGNORECASE,
)
_MARKUP = re.compile(
    r"https?:|www\.|\*\*|```|<[a-z/|]|\|\s*\||__|\\[a-z]|#{2,}|\{|\}|^\W*\d+[.)]\s|\s\d+[.)]\s+\S|^\W*[-*•]\s"
)
_BULLET = re.compile(r"^\s*(?:[-*•]|\d+[.)])\s+")
_PAIRS = (('"', '"'), ("(", ")"), ("“", "”"), ("[", "]"))


def tidy(
    text: str, ended: bool, *, within: Callable[[str], bool], whole_sentences: bool, fields: int = 1
) -> str | None:
    """The text made plain, or None when it should not be kept.

    Args:
        text: what the model wrote.
        ended: whether the model ended it by itself; otherwise only its whole sentences are kept.
        within: whether a text is short enough; a longer one loses sentences from its end.
        whole_sentences: whether texts of this domain end with a sentence mark.
        fields: how many fields a text is made of (see `features.fields`).

    Returns:
        The kept text with white space folded, or None.
    """
    kept = _unwrap(" ".join(_BULLET.sub("", text, count=1).split()))
    if not ended or not within(kept):
        kept = _longest_whole(kept, within)
    if (
        (len(kept.split()) < 2 and len(_UNSPACED.findall(kept)) < 2)
        or has_preamble(kept)
        or _MARKUP.search(kept)
        or "\ufffd" in kept
    ):
        return None
    if whole_sentences and not ends_whole(kept):
        return None
    return kept if _balanced(kept) and divided(kept, fields) is not None else None


def ends_whole(text: str) -> bool:
    """Whether the text ends with a sentence mark."""
    return SENTENCE_END.search(text.strip()) is not None


def has_preamble(text: str) -> bool:
    """Whether the text starts the way a chat model introduces or labels an answer."""
    return _PREAMBLE.search(text) is not None


def _longest_whole(text: str, within: Callable[[str], bool]) -> str:
    """The longest run of whole sentences from the start that is short enough; empty when there is none."""
    ends = [match.end() for match in _INNER_END.finditer(text)]
    if ends_whole(text):
        ends.append(len(text))
    for end in reversed(ends):
        if within(text[:end]):
            return text[:end]
    return ""


def _unwrap(text: str) -> str:
    """Drop one pair of quotation marks around the whole text: models quote what they list."""
    for left, right in (('"', '"'), ("“", "”"), ("'", "'")):
        inner = text[1:-1]
        if len(text) > 2 and text[0] == left and text[-1] == right and left not in inner and right not in inner:
            return inner.strip()
    return text


def _balanced(text: str) -> bool:
    """Whether quotation marks and brackets come in pairs."""
    return all(
        text.count(left) % 2 == 0 if left == right else text.count(left) == text.count(right) for left, right in _PAIRS
    )
