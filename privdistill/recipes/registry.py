"""Recipes by name: what is built in runs here, what another package brings is a guest in a process of its own.

Code of another package is never imported here: its entry point is read, not loaded. A built-in name cannot be taken.
It does not know what a recipe does.
"""

import re
from importlib.metadata import EntryPoint, entry_points

from privdistill.errors import ConfigError
from privdistill.recipes.base import Recipe
from privdistill.recipes.guest.host import invite

__all__ = ["find_recipe", "recipe_names"]

_BUILT_IN = {
    "distribution": "privdistill.recipes.distribution:DistributionRecipe",
    "evolution": "privdistill.recipes.evolution:EvolutionRecipe",
    "finetune": "privdistill.recipes.finetune:FinetuneRecipe",
    "gradient": "privdistill.recipes.gradient:GradientRecipe",
    "metamodel": "privdistill.recipes.metamodel:MetamodelRecipe",
    "passthrough": "privdistill.recipes.passthrough:PassthroughRecipe",
    "trajectory": "privdistill.recipes.trajectory:TrajectoryRecipe",
}
_GROUP = "privdistill.recipes"


def recipe_names() -> tuple[str, ...]:
    """Names of the built-in and installed recipes, sorted."""
    return tuple(sorted({*_BUILT_IN, *(entry.name for entry in _guests())}))


def find_recipe(name: str) -> Recipe:
    """Load a recipe by name (what `auto` stands for is `recipes.auto`'s to say).

    Raises:
        ConfigError: no recipe of that name, or several.
        RecipeError: a guest does not start, or is no recipe.
    """
    from pydoc import locate

    if name in _BUILT_IN:
        found = locate(_BUILT_IN[name].replace(":", "."))
        if not callable(found):
            raise ConfigError(f"recipe {name!r} cannot be loaded; reinstall privdistill")
        recipe = found()
        if not isinstance(recipe, Recipe):
            raise ConfigError(f"recipe {name!r} does not follow the Recipe protocol (name, mechanisms, run)")
        return recipe
    entries = [entry for entry in _guests() if entry.name == name]
    if not entries:
        raise ConfigError(f"unknown recipe {name!r}; expected one of: auto, {', '.join(recipe_names())}")
    if len({entry.value for entry in entries}) > 1:
        raise ConfigError(f"recipe {name!r} is offered by {len(entries)} packages; uninstall all but one")
    return invite(entries[0])


def _guests() -> list[EntryPoint]:
    """Entry points of other packages with a name and a value that can be read (names reach a terminal)."""
    return [
        entry
        for entry in entry_points(group=_GROUP)
        if re.fullmatch(r"[\w.-]{1,80}", entry.name, re.ASCII) and EntryPoint.pattern.match(entry.value)
    ]
