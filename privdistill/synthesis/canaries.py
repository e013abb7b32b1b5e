"""What canaries are made of: openings that the public model writes, and its vocabulary.

Both come from declarations and a public model alone, so canaries are no function of the corpus and planting them
couples no units. It does not know which canaries will be planted, nor the key that decides it.
"""

import numpy as np

from privdistill.features.fields import DIVIDER
from privdistill.models.interface import GenerativeModel
from privdistill.recipes.base import Progress, Task
from privdistill.synthesis.pool import public_pool, public_words
from privdistill.synthesis.prompts import label_words

__all__ = ["canary_openings", "canary_words"]

_MOST = 256
_TOKENS = 12
_OPENING = 8
"""Words of an opening that the examiner takes, dividers among them."""


def canary_openings(model: GenerativeModel, task: Task, count: int, progress: Progress) -> list[tuple[str, str | None]]:
    """Starts of zero-shot texts and the declared label each was written for (None when unlabelled)."""
    labels = task.labels or ()
    drafts = public_pool(
        model,
        task.describe,
        label_words(labels, task.label_descriptions, task.other) or [None],
        min(count, _MOST),
        max_tokens=_TOKENS,
        rng=np.random.default_rng(),
        progress=lambda done, total: progress("writing canaries", done, total),
    )
    return [(_opened(draft.text, len(task.fields)), labels[draft.aim] if labels else None) for draft in drafts]


def _opened(text: str, fields: int) -> str:
    """An opening of all fields but the last, which is what will be put behind it: a canary is a record of that form."""
    if fields < 2:
        return text
    words = [word for word in text.split() if DIVIDER not in word] or ["text"]
    words = (words * fields)[: max(min(len(words), _OPENING - fields), fields - 1)]
    return " ".join(f"{' '.join(part)} {DIVIDER}" for part in np.array_split(words, fields - 1))


def canary_words(model: GenerativeModel) -> list[str]:
    """Whole words of the public model's vocabulary."""
    return sorted({model.pieces[i].strip().lower() for i in public_words(model.pieces)})
