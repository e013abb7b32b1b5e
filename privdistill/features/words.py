"""Words of a text: runs of letters and digits, and single letters of scripts that are written without spaces.

It does not know which text is private, nor what the words are for.
"""

import re

__all__ = ["TERM", "UNSPACED", "words_and_marks", "words_of"]

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Letters of Thai, Lao, Burmese, Khmer, Japanese and Chinese, as the inside of a character class."""
TERM = rf"[{UNSPACED}]|(?<![^\W{UNSPACED}])[^\W{UNSPACED}]{{2,}}"
"""Token pattern of a TF-IDF student: of other scripts, scikit-learn's own (runs of two and more)."""
_WORD = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+")
_WORD_OR_MARK = re.compile(rf"[{UNSPACED}]|[^\W{UNSPACED}]+|[^\w\s]")


def words_of(text: str) -> list[str]:
    """Case-folded words."""
    return _WORD.findall(text.casefold())


def words_and_marks(text: str) -> list[str]:
    """Case-folded words and marks."""
    return _WORD_OR_MARK.findall(text.casefold())
