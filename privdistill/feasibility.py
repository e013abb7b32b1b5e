"""What a plan warns of, and what it refuses: sentences about declared numbers, before anything is read or spent.

It does not know the corpus, the ledger, the models or how noise is calibrated.
"""

import math
from collections.abc import Iterator

from privdistill.accounting.budget import MAX_CELLS, Budget
from privdistill.config import RunConfig
from privdistill.errors import ConfigError
from privdistill.recipes.auto import Machine
from privdistill.recipes.base import Recipe, Task
from privdistill.recipes.forecast import Forecast

__all__ = ["refusal", "unheeded", "warnings"]

_EMBEDDED_LAYERS = 30
_OF_A_RECIPE = (
    "class_shares",
    "teachers",
    "soft_label_temperature",
    "matcher",
    "tuned_weights",
    "tuned_layers",
    "vocabulary_shortlist",
)
"""Synthesis settings that some recipes heed and others would ignore."""
_LOUD = 1.0
"""A block whose noise is longer than its signal can be tells next to nothing. Teachers of TREC questions (epsilon 8,
subsets of the train side, 2 or 3 draws each) answered 26 % right, as by chance, where the moments' noise was 3 and 1.5
times their signal at best; 39 % at .74, 48 % at .37, 67 % at .18, 74 % at .09; 82 % with all 3,006 records."""
_HOPELESS = 1.5
_WEAK, _OF_TEACHERS = 0.2, "48 % right instead of 82 % where this was .37, 67 % where it was .18"
_MANY_CANARIES = 0.05
_COMMON_DELTA = 1e-5


def unheeded(config: RunConfig, name: str, recipe: Recipe) -> str | None:
    """Why a setting cannot be heeded by this recipe, or None: whoever pays would believe it applied.

    Raises:
        ConfigError: the recipe cannot refine so.
    """
    synthesis, heeded = config.synthesis, getattr(recipe, "options", None)
    stood_for = f"{name!r}, which auto stands for here," if synthesis.recipe == "auto" else f"{name!r}"
    if synthesis.refinement != "none" and "refinement" not in (heeded or ()):
        refined = f"refine by {synthesis.refinement!r}"
        raise ConfigError(f"recipe {stood_for} cannot {refined}; use --recipe gradient, or none")
    for option in _OF_A_RECIPE if heeded is not None else ():
        default = type(synthesis).model_fields[option].default
        if option not in (heeded or ()) and getattr(synthesis, option) != default:
            flag = "--" + option.replace("_", "-")
            return f"recipe {stood_for} does nothing with {flag}; leave it out, or choose another --recipe"
    layers = synthesis.tuned_layers
    if layers is not None and synthesis.model == "embedded" and layers > _EMBEDDED_LAYERS:
        return f"expected at most {_EMBEDDED_LAYERS} --tuned-layers (the embedded model), found {layers}"
    return None


def warnings(
    config: RunConfig, task: Task, budget: Budget, forecast: Forecast | None, floor: float, per_class: float | None
) -> Iterator[str]:
    """Sentences for the operator.

    Args:
        config: what is declared.
        task: the same, as a recipe sees it.
        budget: calibrated.
        forecast: of the recipe, if it has one.
        floor: records a class below which its count drowns.
        per_class: records in the average class of the train side, where it is known.
    """
    yield from _of_size(config, task, budget, forecast, floor)
    loud = _loud(forecast, per_class)
    if loud:
        yield (
            f"noise is longer than signal can be, so next to nothing will be learnt from: {_named(loud)}; "
            f"{_remedy(forecast)}"
        )
    moments = forecast.ratios(per_class, None).get("moment") if forecast else None
    if moments is not None and _WEAK < moments <= _LOUD:
        yield (
            f"few records for this epsilon: the moments' noise is {moments:.2g} of their signal at best; teachers of a "
            f"public corpus of questions answered {_OF_TEACHERS}"
        )
    if budget.epsilon > 10:
        yield f"epsilon {budget.epsilon:.4g} bounds next to nothing for a mechanism chosen by an adversary; see mu"
    yield from _of_kind(config, task)


def refusal(
    config: RunConfig,
    recipe: Recipe,
    task: Task,
    budget: Budget,
    cells: int | None,
    forecast: Forecast | None,
    floor: float,
    per_class: float | None,
    machine: Machine,
) -> str | None:
    """Why the plan cannot work, or None.

    Args:
        config: what is declared.
        recipe: that was chosen.
        task: what is declared, as a recipe sees it.
        budget: calibrated.
        cells: of the largest release, where they are known.
        forecast: of the recipe, if it has one.
        floor: records a class below which its count drowns.
        per_class: records in the average class of the train side, where it is known.
        machine: what it would run on.
    """
    most = getattr(recipe, "most_records_a_unit", None)
    bound = config.source.contribution_bound or 1
    if most is not None and bound > most:
        return (
            f"recipe {recipe.name!r} clips a unit's gradient as a whole, so its records pass together: expected a "
            f"contribution bound of at most {most}, found {bound}; lower --contribution-bound. Nothing was spent"
        )
    if cells is not None and cells > MAX_CELLS:  # here what the mechanism would refuse later
        return (
            f"{len(task.labels or ())} classes make a release of about {cells:,} cells, and {MAX_CELLS:,} are reserved "
            f"for; merge classes. Nothing was spent"
        )
    too_large = _too_large(config, recipe, task, machine)
    if too_large is not None:
        return f"{too_large}. Nothing was spent"
    if forecast is not None and forecast.hopeless is not None and config.synthesis.model == "embedded":
        return f"{forecast.hopeless}. Nothing was spent"
    if per_class is None:
        return None
    if per_class >= _least(forecast, floor, _HOPELESS):
        return None
    why = (
        f"below the noise floor of about {math.ceil(floor)}"
        if per_class < floor
        else f"where noise drowns what tells classes apart: {_named(_loud(forecast, per_class))}"
    )
    return (
        f"too small for epsilon {budget.epsilon:.3g}: {task.size} declared records leave about {per_class:.0f} a "
        f"class, {why}; {_remedy(forecast)}. Nothing was spent"
    )


def _too_large(config: RunConfig, recipe: Recipe, task: Task, machine: Machine) -> str | None:
    """Why activations would not fit, should records be as long as they may; prompts, and other models, come later."""
    width, size = getattr(recipe, "kept_width", None), task.train_size
    if task.tuned_weights == "full" and task.tuned_layers is None:
        return None  # nothing is cut off, so token ids are kept and no activations
    if width is None or size is None or machine.memory is None or config.synthesis.model != "embedded":
        return None
    tokens = config.synthesis.max_tokens
    needed = size * tokens * width * (4 if config.performance.dtype == "float32" else 2)
    if needed <= machine.memory:
        return None
    return (
        f"about {size:,.0f} declared records of up to {tokens} tokens may need {needed / 1e9:.3g} GB for activations, "
        f"and this machine or container has {machine.memory / 1e9:.3g}; lower --max-tokens, or choose another --recipe"
    )


def _least(forecast: Forecast | None, floor: float, loud: float) -> float:
    """Records a class below which its count drowns, or noise is so loud in all of its blocks that are read whole."""
    blocks = forecast.blocks if forecast else ()
    own = [one for one in blocks if one.whole and one.cells is not None and not one.shared and one.name != "count"]
    drowned = min((one.deviation * math.sqrt(one.cells or 0) / loud for one in own), default=0.0)
    return max(floor, drowned)


def _remedy(forecast: Forecast | None) -> str:
    merge = ", merge classes" if forecast is not None and (forecast.classes or 0) > 1 else ""
    return f"raise epsilon{merge}, or bring more records"


def _loud(forecast: Forecast | None, per_class: float | None) -> dict[str, float]:
    """Block name -> noise over signal at best, where that is too much for what is read as a whole."""
    ratios = forecast.ratios(per_class, None) if forecast else {}
    whole = {block.name for block in forecast.blocks if block.whole} if forecast else set()
    return {name: ratio for name, ratio in ratios.items() if name in whole and ratio is not None and ratio > _LOUD}


def _named(loud: dict[str, float]) -> str:
    return ", ".join(f"{name} ({ratio:.2g} times)" for name, ratio in loud.items())


def _of_size(config: RunConfig, task: Task, budget: Budget, forecast: Forecast | None, floor: float) -> Iterator[str]:
    size = task.size
    if size is None:
        whole = ((forecast.classes if forecast else None) or 1) / (1 - task.holdout)
        least, few = (math.ceil(_least(forecast, floor, loud) * whole) for loud in (_HOPELESS, _WEAK))
        yield (
            "the corpus size is not declared (--size), so nothing can be said about whether it is large enough; with "
            f"fewer than about {least:,} records this would be refused"
            + (f", and fewer than about {few:,} are few" if few > least else "")
        )
        if budget.delta > _COMMON_DELTA:
            yield (
                f"delta {budget.delta:.3g} is meant for fewer than {math.ceil(1 / (10 * budget.delta)):,} units; with "
                "more of them a mechanism may expose some outright, and policies will refuse it"
            )
    elif budget.delta > 1 / (10 * size):
        yield (
            f"delta {budget.delta:.3g} is above 1 / (10 x {size}); with so many units a mechanism may expose "
            f"some of them outright, and policies will refuse it"
        )
    canaries = config.source.canaries
    if size is not None and canaries / 2 > _MANY_CANARIES * size:
        yield (
            f"about {canaries // 2} canaries would be planted among {size} declared records; rows will speak of them. "
            "Fewer serve as well"
        )


def _of_kind(config: RunConfig, task: Task) -> Iterator[str]:
    """What this kind of corpus cannot give."""
    if not task.labelled:
        yield (
            "no label column: rows are named after clusters of public texts, which are no classes; whether anything "
            "can be learnt from these names is not known"
        )
    elif task.labels is not None and len(task.labels) == 1:
        yield "one class: a student of these rows alone can only answer its name"
    elif task.labels is not None and len(task.labels) > task.rows:
        yield f"{task.rows} rows are fewer than {len(task.labels)} classes, so some classes get no row; raise --rows"
    words = (task.describe or "", *(task.labels or ()), *task.label_descriptions.values())
    if config.synthesis.model == "embedded" and any(c.isalpha() and not c.isascii() for word in words for c in word):
        yield (
            "the declared words are not all English, and the embedded model hardly writes anything else: rows in "
            "another language will be poor, or English; name a --model, and an --encoder, that knows the language"
        )
