"""Recipe `passthrough`: private records as they are, claiming nothing (epsilon null).

It exists so that the examiner can be seen to find something and the gate to say no. Never use what it writes.
"""

from collections.abc import Mapping

from privdistill.mechanisms.release import DisclosureRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task

__all__ = ["PassthroughRecipe"]


class PassthroughRecipe:
    """Formats private records. Guarantee: none."""

    name = "passthrough"
    options: tuple[str, ...] = ()

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One disclosure, of kind `none`."""
        return (PlannedMechanism("disclosure", "none", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """No noise, no floor."""
        return 0.0

    def run(self, context: Context) -> RecipeRun:
        """Ask for as many records as rows and return them."""
        release = yield DisclosureRequest("disclosure", context.task.rows)
        texts = tuple(text for text, _ in release.rows)
        labels = tuple(label for _, label in release.rows)
        return Rows(texts, labels, None, tuple(sorted(set(labels))))
