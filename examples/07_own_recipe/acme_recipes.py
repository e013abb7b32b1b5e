"""Recipe `shares`: texts from prompts alone, as many of each class as the noised class counts say.

The smallest recipe that measures something: one Gaussian statistic with one cell a class. It does not know private
text.
"""

from collections.abc import Mapping

import numpy as np

from privdistill.mechanisms.release import ClassRule, CountBlock, StatisticRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task

_COUNTS = "counts"
_MAX_TOKENS = 24


class SharesRecipe:
    """Class shares, nothing else."""

    name = "shares"

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """Everything that will be asked for, with its share of the budget. A function of public facts only."""
        return (PlannedMechanism(_COUNTS, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Records per class below which a count is mostly noise."""
        return 5 * noise_multipliers[_COUNTS]

    def run(self, context: Context) -> RecipeRun:
        """Yield a request, receive its release, return exactly as many rows as asked for."""
        task, noise = context.task, context.noise_multipliers[_COUNTS]
        classes = task.labels or ("all",)
        release = yield StatisticRequest(_COUNTS, ClassRule(classes, other=task.other), (CountBlock(1.0),))
        counts = np.maximum(release.block("count"), 0.0)
        shares = counts / counts.sum() if counts.sum() else np.full(len(classes), 1 / len(classes))
        aims = [int(i) for i in context.rng.choice(len(classes), task.rows, p=shares)]
        print("what a recipe prints is kept away from the result")
        written = context.language_model.sample(
            [f"{task.describe or 'A short text'} ({classes[aim]}):\n\n-" for aim in aims],
            max_new_tokens=_MAX_TOKENS,
            temperature=1.0,
            top_p=0.95,
            rng=context.rng,
            progress=lambda done, total: context.progress("writing", done, total),
        )
        return Rows(
            texts=tuple(" ".join(text.split()) for text, _ in written),
            labels=tuple(classes[aim] for aim in aims),
            soft_labels=None,
            class_names=classes,
            below_noise=tuple(name for name, count in zip(classes, counts, strict=True) if count < 5 * noise),
            facts={"noised_counts": counts.round(1).tolist()},
        )
