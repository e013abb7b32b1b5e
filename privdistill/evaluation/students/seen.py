"""Which students a recipe could have pleased on purpose: those whose very features its selection looks at.

A student that was simulated while rows were chosen is no independent witness of what the rows are worth. It does not
know what a recipe does: the table is held to the recipes by tests, and of a recipe that is not in it, as one of another
package, everything is believed.
"""

from collections.abc import Iterable, Mapping

from privdistill.config import Synthesis

__all__ = ["SEEN", "seen_students"]

_POINTS = frozenset({"encoder", "finetuned"})
_BOTH = _POINTS | {"words"}
_ALL = _BOTH | {"static", "transformer", "other"}

SEEN: Mapping[str, frozenset[str]] = {
    "distribution": _BOTH,
    "evolution": _POINTS,
    "finetune": _BOTH,
    "gradient": _POINTS,
    "metamodel": _POINTS,
    "passthrough": frozenset(),
    "trajectory": _POINTS,
}
"""Recipe -> students whose features its rows are chosen by. `words` is simulated by `matching.student_weights`."""
_DIVIDES = frozenset({"distribution", "finetune", "gradient", "metamodel", "trajectory"})
"""Recipes that try out class shares on students of words and of embeddings (`synthesis.selection.rehearsal`)."""


def seen_students(recipes: Iterable[str], synthesis: Synthesis, *, same_encoder: bool = False) -> frozenset[str]:
    """Students that one of the recipes may have pleased on purpose, in runs with these settings.

    Args:
        recipes: of the runs.
        synthesis: their settings.
        same_encoder: whether the encoder that student `other` stands on is the runs' own.
    """
    found: frozenset[str] = frozenset()
    for recipe in recipes:
        found |= SEEN.get(recipe, _ALL)
        if recipe in _DIVIDES and synthesis.class_shares == "tempered":
            found |= _BOTH
    return found | {"other"} if same_encoder and "encoder" in found else found
