"""The first arrow: from a configuration to a plan, before a private record is read or anything is spent.

A plan is a function of declared numbers and, for `auto`, time and memory, of the machine. It does not know the
corpus, the ledger or the models.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from privdistill.accounting.accountant import mu_for
from privdistill.accounting.budget import Budget, Sampling, calibrate
from privdistill.config import RunConfig
from privdistill.errors import ConfigError, PrivacyError
from privdistill.feasibility import refusal, unheeded, warnings
from privdistill.mechanisms.labels import LABELS
from privdistill.mechanisms.release import MechanismRequest, Reservation, unit_parts
from privdistill.models.loading import Models
from privdistill.recipes.auto import Machine, choose, this_machine
from privdistill.recipes.base import Foreseeing, Recipe, Task
from privdistill.recipes.forecast import Forecast, Forecasting, bytes_for
from privdistill.recipes.guest.host import GuestRecipe
from privdistill.recipes.registry import find_recipe

__all__ = ["Plan", "make_plan"]

_LABEL_SHARE = 0.1
_EMBEDDED_VOCABULARY = 49_152
_EIGHT_BIT = (
    "linear maps in 8 bits take about half of what they take in bfloat16 once they are loaded; how long writing takes "
    "with them, and what the rounding does to the texts, was not measured"
)
OTHER = "other"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    Attributes:
        recipe: the recipe that `auto` stands for.
        task: what is declared.
        budget: calibrated noise, or None when the recipe claims nothing.
        mechanisms: everything that will be charged.
        warnings: sentences for the operator.
        refusal: why this cannot work, or None.
        why: reasons for the recipe when `auto` chose it.
        shares: name -> part of mu squared, of everything that will be charged.
        forecast: what the recipe expects, if it can say.
        machine: what it would run on.
    """

    config: RunConfig
    recipe: Recipe
    task: Task
    budget: Budget | None
    mechanisms: tuple[Reservation, ...]
    warnings: tuple[str, ...]
    refusal: str | None
    why: tuple[str, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    forecast: Forecast | None = None
    machine: Machine = field(default_factory=this_machine)

    @property
    def per_class(self) -> float | None:
        """Declared records in the average class on the train side, or None."""
        return _per_class(self.task, self.forecast)

    @property
    def vocabulary(self) -> int | None:
        """Tokens of the language model: only the embedded one's are known before a model is loaded."""
        return _vocabulary(self.config)

    @property
    def cells(self) -> int | None:
        """Cells of the largest release; None while its vocabulary or its labels are not known."""
        return self.forecast.cells(self.vocabulary) if self.forecast is not None else None

    @property
    def releases_labels(self) -> bool:
        """Whether the label list is the first thing to be measured."""
        return any(planned.name == LABELS for planned in self.mechanisms)

    def feasible(self, *, charged: bool = False) -> "Plan":
        """The plan itself; a run that was charged already may go on, whatever is refused now.

        Raises:
            PrivacyError: it is refused.
        """
        if self.refusal is not None and not charged:
            raise PrivacyError(self.refusal)
        return self

    def foreseen(self, models: Models) -> tuple[MechanismRequest, ...]:
        """Requests that can be refused before anything is charged, as far as the recipe can tell them."""
        return self.recipe.foreseen(self.task, models) if isinstance(self.recipe, Foreseeing) else ()

    def with_labels(self, released: Sequence[str]) -> Task:
        """The task once the label list is known; every label outside it is `other`, record by record."""
        names = (*(name for name in released if name != OTHER), OTHER)
        return replace(self.task, labels=names, other=len(names) - 1)

    def as_dict(self) -> dict[str, Any]:
        """The plan as JSON."""
        budget, forecast, cells = self.budget, self.forecast, self.cells
        ratios = forecast.ratios(self.per_class, self.vocabulary) if forecast else {}
        return {
            "recipe": self.recipe.name,
            "plug_in": self.recipe.plug_in.model_dump() if isinstance(self.recipe, GuestRecipe) else None,
            "rows": self.task.rows,
            "epsilon": budget.epsilon if budget else None,
            "delta": budget.delta if budget else None,
            "mu": budget.mu if budget else None,
            "privacy_unit": self.config.source.unit,
            "canaries": self.config.source.canaries,
            "adjacency": "add-or-remove-one-unit" if budget else None,
            "mechanisms": [planned._asdict() for planned in self.mechanisms],
            "delta_parts": {
                "composition": budget.delta_composition,
                "discretisation": math.fsum(budget.delta_discretisation.values()),
                "thresholds": budget.delta_threshold,
            }
            if budget
            else None,
            "accountants": {o.name: o.epsilon for o in (budget.first, budget.second)} if budget else {},
            "why": list(self.why),
            "shares": dict(self.shares),
            "forecast": {
                "texts": forecast.texts,
                "classes": forecast.classes,
                "seconds": forecast.seconds(self.machine),
                "cores": self.machine.cores,
                "cells": cells,
                "bytes_of_cells": bytes_for(cells) if cells is not None else None,
                "remarks": list(forecast.remarks),
                "blocks": [
                    {"name": one.name, "deviation_in_records": one.deviation, "noise_to_signal": ratios[one.name]}
                    for one in forecast.blocks
                ],
            }
            if forecast
            else None,
            "warnings": list(self.warnings),
            "refusal": self.refusal,
        }

    def lines(self) -> Iterator[str]:
        """The plan in sentences."""
        yield f"recipe    {self.recipe.name}, {self.task.rows} rows"
        if isinstance(self.recipe, GuestRecipe):
            yield f"          {self.recipe.sentence}"
        for reason in self.why:
            yield f"          {reason}"
        if self.budget is None:
            yield "privacy   none: this recipe copies private records and claims nothing; no policy will release them"
        else:
            b = self.budget
            unit = self.config.source.unit
            bound = self.config.source.contribution_bound or 1
            yield (
                f"privacy   epsilon {b.epsilon:.6g} at delta {b.delta:.3g}, add or remove one "
                + ("record" if unit == "record" else f"value of {unit!r} (at most {bound} records each)")
            )
            same = f"the same as one Gaussian of mu {b.mu:.4g}" if b.mu is not None else f"by {b.first.name}"
            yield f"          {same}; {b.second.name} says {b.second.epsilon:.6g}"
            for name, kind, noise, sample_rate, steps in self.mechanisms:
                often = "once" if steps == 1 else f"{steps} steps at sample rate {sample_rate:.4g}"
                part = f"{self.shares[name]:.0%} of the budget"
                yield f"measure   {name}: {kind}, {often}, noise_multiplier {noise:.4g}, {part}"
            if self.forecast is not None:
                yield from self.forecast.lines(self.per_class, self.vocabulary, self.machine)
        if self.config.source.canaries:
            yield f"canaries  {self.config.source.canaries} issued, about half of them planted as records of their own"
        for warning in self.warnings:
            yield f"warning   {warning}"
        if self.refusal is not None:
            yield f"refused   {self.refusal}"


def make_plan(config: RunConfig) -> Plan:
    """Calibrate everything a run will draw.

    Raises:
        ConfigError: unknown recipe.
        PrivacyError: epsilon is missing, or cannot be calibrated.
    """
    source, synthesis, privacy = config.source, config.synthesis, config.privacy
    task = Task(
        labelled=source.label_column is not None,
        labels=source.labels,
        other=source.labels.index(OTHER) if source.labels and OTHER in source.labels else None,
        label_descriptions=source.label_descriptions,
        describe=synthesis.describe,
        rows=synthesis.rows,
        size=source.size,
        epsilon=privacy.epsilon,
        delta=privacy.delta,
        class_shares=synthesis.class_shares,
        refinement=synthesis.refinement,
        matcher=synthesis.matcher,
        tuned_weights=synthesis.tuned_weights,
        tuned_layers=synthesis.tuned_layers,
        vocabulary_shortlist=synthesis.vocabulary_shortlist,
        recompute=config.performance.gradient_checkpointing,
        pool_factor=config.performance.pool_factor,
        teachers=synthesis.teachers,
        fields=source.fields,
        rationales=synthesis.rationales,
        holdout=source.holdout,
    )
    unknown = sorted(set(source.label_descriptions) - set(source.labels or source.label_descriptions))
    if unknown:
        raise ConfigError(f"label_descriptions names {unknown[0]!r}, which is not in labels; add it or drop it")
    machine = this_machine()
    if config.performance.device_map == "cpu":  # an accelerator that the run may not use does nothing for it
        machine = replace(machine, accelerator=False)
    if config.performance.threads is not None:
        machine = replace(machine, cores=min(machine.cores, config.performance.threads))
    name, why = synthesis.recipe, tuple[str, ...]()
    if name == "auto":
        name, why = choose(task, mu_for(_epsilon(config), privacy.delta), machine)
    recipe = find_recipe(name)
    ignored = unheeded(config, name, recipe)
    planned = recipe.mechanisms(task)
    if all(mechanism.kind == "none" for mechanism in planned):
        return Plan(config, recipe, task, None, tuple(Reservation(m.name, m.kind, None) for m in planned), (), ignored)
    threshold = task.labelled and task.labels is None
    left = 1 - _LABEL_SHARE if threshold else 1.0
    shares = {m.name: m.share * left for m in planned} | ({LABELS: _LABEL_SHARE} if threshold else {})
    sampling = {m.name: Sampling(m.sample_rate, m.steps) for m in planned if m.kind == "sampled-gaussian"}
    budget = calibrate(_epsilon(config), privacy.delta, shares, sampling=sampling, threshold=threshold)
    kinds = {m.name: m.kind for m in planned} | {LABELS: "gaussian-threshold"}
    mechanisms = tuple(
        Reservation(name, kinds[name], noise, *sampling.get(name, Sampling()))
        for name, noise in budget.noise_multipliers.items()
    )
    # One unit of several records moves a sum by more than a record does, and noise is as much larger.
    stretch = math.hypot(*unit_parts({"record": 1.0}, source.contribution_bound or 1).values())
    forecast = recipe.forecast(task, budget.noise_multipliers) if isinstance(recipe, Forecasting) else None
    if forecast is not None:
        forecast = replace(
            forecast.stretched(stretch), remarks=(*forecast.remarks, *_remarks(config, trained=bool(sampling)))
        )
    cells = forecast.cells(_vocabulary(config)) if forecast is not None else None
    floor, per_class = recipe.noise_floor(task, budget.noise_multipliers) * stretch, _per_class(task, forecast)
    said = tuple(warnings(config, task, budget, forecast, floor, per_class))
    said += recipe.warnings if isinstance(recipe, GuestRecipe) else ()
    refused = ignored or refusal(config, recipe, task, budget, cells, forecast, floor, per_class, machine)
    return Plan(config, recipe, task, budget, mechanisms, said, refused, why, shares, forecast, machine)


def _epsilon(config: RunConfig) -> float:
    if config.privacy.epsilon is None:
        raise PrivacyError("epsilon is not set; say how much privacy loss is allowed, for example --epsilon 8")
    return config.privacy.epsilon


def _per_class(task: Task, forecast: Forecast | None) -> float | None:
    """The most that a class can hold on average when every declared record counts."""
    if task.train_size is None:
        return None
    # Labels that are not known yet make at least one class.
    return task.train_size / ((forecast.classes if forecast else None) or len(task.labels or ()) or 1)


def _vocabulary(config: RunConfig) -> int | None:
    return _EMBEDDED_VOCABULARY if config.synthesis.model == "embedded" else None


def _remarks(config: RunConfig, *, trained: bool) -> Iterator[str]:
    """What the forecast does not hold."""
    if config.synthesis.base_weights == "8-bit":
        yield _EIGHT_BIT
    if config.synthesis.rationales:
        yield "writing rationales is not in that time"
    if config.synthesis.model != "embedded":
        yield f"model {config.synthesis.model!r} was not timed; times and layers are said of the embedded one"
    bound = config.source.contribution_bound or 1
    if bound > 1:
        yield (
            f"a unit's records count together as {math.sqrt(bound):.2g} at most: where units hold {bound} of one kind, "
            f"noise beside signal is up to {math.sqrt(bound):.2g} times what is said here"
        )
    if bound > 1 and trained:
        yield (
            f"a unit of up to {bound} records is drawn and clipped as one, so beside the gradient noise may be up to "
            f"{bound} times what is said for records"
        )
