"""What canaries are made of: openings that the public model writes, and its vocabulary.

Both come from declarations and a public model alone, so canaries are no function of the corpus and planting them
couples no units. It does not know which canaries will be planted, nor the key that decides it.
"""

import numpy as np

from privdistill.models.interface import GenerativeModel
from privdistill.recipes.base import Progress, Task
from privdistill.synthesis.pool import public_pool, public_words
from privdistill.synthesis.prompts import label_words

__all__ = ["canary_openings", "canary_words"]

_MOST = 256
_TOKENS = 12


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
    return [(draft.text, labels[draft.aim] if labels else None) for draft in drafts]


def canary_words(model: GenerativeModel) -> list[str]:
    """Whole words of the public model's vocabulary."""
    return sorted({model.pieces[i].strip().lower() for i in public_words(model.pieces)})
