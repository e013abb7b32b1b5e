"""Public prompts from what is declared: a description of the texts, label names and their descriptions.

A prompt is the head of a list, so that a small model continues it with one item and ends with the line. It does not
know private text, releases, or the model.
"""

import re
from collections.abc import Mapping, Sequence

from privdistill.features.fields import DIVIDER

__all__ = ["item_prompts", "label_words", "spoken"]

_UNSPOKEN = re.compile(r"^\W*(label|class|category|cluster|y)?[\W_]*\d*\W*$", re.IGNORECASE)
_DEFAULT = "short texts"


def label_words(labels: Sequence[str], descriptions: Mapping[str, str], other: int | None = None) -> list[str | None]:
    """Words that describe each label, or None where its name says nothing (`0`, `class_1`, the label for all others).

    Example:
        >>> label_words(["0", "love_song", "x"], {"x": "praise"})
        [None, 'love song', 'praise']
    """
    out: list[str | None] = []
    for i, label in enumerate(labels):
        words = descriptions.get(label) or (
            "" if i == other or _UNSPOKEN.match(label) else re.sub(r"[_\-]+", " ", label)
        )
        out.append(" ".join(words.split())[:200] or None)
    return out


def item_prompts(describe: str | None, words: str | None, fields: Sequence[str] = ()) -> tuple[str, ...]:
    """Heads of lists of the described texts, in several wordings; each ends right before an item.

    Args:
        describe: what the texts are, e.g. `short movie reviews`.
        words: what sets this class apart, e.g. `positive`, or None.
        fields: names of what an item is made of, e.g. `question` and `answer`.
    """
    what = " ".join((describe or _DEFAULT).split())[:400]
    what += f", each as {f' {DIVIDER} '.join(spoken(field) for field in fields)}" if fields else ""
    title = what[0].upper() + what[1:]
    if words is None:
        return (f"{title}:\n\n-", f"{title}, one per line:\n\n-", f"A collection of {what}.\n\n*")
    return (f"{title} ({words}):\n\n-", f"{title} ({words}), one per line:\n\n-", f"Category: {words}\n{title}:\n*")


def spoken(field: str) -> str:
    """The name of a field in words.

    Example:
        >>> spoken("agent_reply")
        'agent reply'
    """
    return " ".join(re.sub(r"[_\-]+", " ", field).split())[:60]
