"""What synthetic rows are held against: prompts alone (epsilon 0), and real records.

`zero_shot` is public: a language model prompted with the declarations. Everything made of real records is a non-private
reference, kept in memory only. It does not know how the rows under test were made.
"""

from collections.abc import Sequence

import numpy as np

from privdistill.config import RunConfig
from privdistill.evaluation.subsets import SELECTIONS, Sample, proportional
from privdistill.models.assets import AssetProgress
from privdistill.models.interface import GenerativeModel
from privdistill.synthesis.form import tidy
from privdistill.synthesis.pool import public_pool
from privdistill.synthesis.prompts import label_words

__all__ = ["break_even", "real_references", "zero_shot"]

_TOKENS = 48
_ATTEMPTS = 6


def zero_shot(
    model: GenerativeModel,
    classes: Sequence[str],
    config: RunConfig,
    rows: int,
    rng: np.random.Generator,
    progress: AssetProgress,
) -> list[tuple[str, str]]:
    """Texts from prompts alone with the label of their prompt; at most `rows`, fewer when the model repeats itself."""
    words = label_words(classes, config.source.label_descriptions)
    found: dict[str, str] = {}
    count = max(len(config.source.fields), 1)
    for _ in range(_ATTEMPTS):
        drafts = public_pool(
            model,
            config.synthesis.describe,
            words,
            -(-rows // 2),
            max_tokens=_TOKENS,
            rng=rng,
            progress=lambda done, total: progress("writing the zero-shot pool", done, total),
            fields=config.source.fields,
        )
        for draft in drafts:
            text = tidy(draft.text, True, within=lambda _: True, whole_sentences=False, fields=count)
            if text is not None:
                found.setdefault(text, classes[draft.aim])
        if len(found) >= rows:
            break
    return list(found.items())[:rows]


def real_references(real: Sample, rows: int, rng: np.random.Generator) -> list[tuple[str, Sample]]:
    """All real training records, and as many of them as there are rows, chosen in four ways."""
    wanted = proportional(real, rows)
    parts = [(f"real, {name}", real.take(choose(real, wanted, rng))) for name, choose in SELECTIONS.items()]
    return [("real, all training records", real), *parts]


def break_even(distilling: float, training_synthetic: float, training_real: float) -> float | None:
    """Trainings k with distilling + k * synthetic = k * real; None when training on synthetic rows is not cheaper.

    Example:
        >>> break_even(100.0, 1.0, 3.0)
        50.0
    """
    saved = training_real - training_synthetic
    return distilling / saved if saved > 0 else None
