"""The door: answers the requests of one run, each planned mechanism once, out of a reserved budget.

It joins private units, public encoder, budget and charge. A release is on disk before the recipe sees it, so that a
resumed run reads it instead of drawing again. It does not know recipes, or what becomes of a release.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from privdistill.accounting.budget import Budget
from privdistill.errors import PrivacyError
from privdistill.features.encoded import Encoded, TextEncoder
from privdistill.mechanisms.disclosure import disclose
from privdistill.mechanisms.kept import Kept
from privdistill.mechanisms.labels import LABELS, release_labels
from privdistill.mechanisms.release import (
    DisclosureRequest,
    ExpertRequest,
    FinetuneRequest,
    MechanismRecord,
    MechanismRequest,
    PrivateUnits,
    Release,
    StatisticRequest,
)
from privdistill.mechanisms.soundness import require_sound
from privdistill.mechanisms.statistic import release_statistic
from privdistill.models.interface import TunableModel

__all__ = ["Door"]


class Door:
    """Answers requests about `units`.

    Guarantee: the releases of one door together are (budget.epsilon, budget.delta)-DP, for a budget; none without one.
    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: each mechanism's own; every one is answered at most once (`charge` refuses a second time).
    """

    def __init__(
        self,
        units: PrivateUnits,
        encoder: TextEncoder,
        budget: Budget | None,
        charge: Callable[[MechanismRecord], None],
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
        *,
        model: TunableModel | None = None,
        private: Path | None = None,
        kept: Callable[[MechanismRecord], None] = lambda record: None,
    ) -> None:
        """Join them; nothing is read yet.

        Args:
            units: the train side.
            encoder: public maps.
            budget: None for a recipe that claims nothing.
            charge: marks one reservation as drawn, before its noise.
            progress: (stage, done, total).
            model: the public language model, for recipes that train it.
            private: folder of the run for what never leaves: releases, and mechanisms of many steps.
            kept: told of each release once it lies there, before it is handed out.
        """
        self._units, self._encoder, self._budget, self._charge = units, encoder, budget, charge
        self._progress, self._model, self._private = progress, model, private
        self._encoded: Encoded | None = None
        self._kept = Kept(private) if private is not None else None
        self._note_kept = kept
        self._answered: set[str] = set()

    def require_possible(self, requests: Iterable[MechanismRequest], records: float | None = None) -> None:
        """Refuse by public facts, before anything is charged, what would be refused or killed after a part of it was.

        Args:
            requests: that will come.
            records: about how many were declared to be read; the number of private units decides nothing here.

        Raises:
            PrivdistillError: see `finetuning.require_trainable`.
        """
        for request in requests:
            if isinstance(request, FinetuneRequest) and self._model is not None:
                from privdistill.mechanisms.finetuning import require_trainable

                require_trainable(request, self._model, self._units.contribution_bound, records)

    def labels(self) -> Release:
        """Release the label list by threshold.

        Raises:
            PrivacyError: no label threshold was planned.
        """
        budget, noise_multiplier = self._planned(LABELS)
        measure = partial(
            release_labels,
            self._units,
            noise_multiplier=noise_multiplier,
            grid_steps=budget.grid_steps,
            delta_discretisation=budget.delta_discretisation[LABELS],
            delta_threshold=budget.delta_threshold,
            charge=self._charge,
        )
        return self._once(LABELS, None, measure)

    def answer(self, request: MechanismRequest) -> Release:
        """Answer one request of the plan.

        Raises:
            PrivacyError: the request is outside the plan, or has no meaning.
            MechanismError: it was answered before.
        """
        require_sound(request, width=self._encoder.width)
        match request:
            case DisclosureRequest():
                if self._budget is not None:
                    raise PrivacyError("records were asked for as they are in a run that claims an epsilon; refused")
                return disclose(self._units, request, charge=self._charge)
            case StatisticRequest():
                budget, noise_multiplier = self._planned(request.name)
                statistic = partial(
                    release_statistic,
                    request=request,
                    noise_multiplier=noise_multiplier,
                    grid_steps=budget.grid_steps,
                    delta_discretisation=budget.delta_discretisation[request.name],
                    charge=self._charge,
                )
                return self._once(request.name, request, lambda: statistic(self._units, self._records()))
            case ExpertRequest():
                from privdistill.mechanisms.expert import release_expert  # torch and Opacus, only when trained

                budget, noise_multiplier = self._planned(request.name, sampled=True)
                expert = partial(
                    release_expert,
                    request=request,
                    noise_multiplier=noise_multiplier,
                    sampling=budget.sampling[request.name],
                    charge=self._charge,
                )
                return self._once(request.name, request, lambda: expert(self._units, self._records()))
            case FinetuneRequest():
                from privdistill.mechanisms.checkpoints import Checkpoints
                from privdistill.mechanisms.finetuning import release_adapter

                budget, noise_multiplier = self._planned(request.name, sampled=True)
                if self._model is None or self._private is None:
                    raise PrivacyError("no language model was declared that could be trained; nothing is drawn")
                return release_adapter(
                    self._units,
                    self._records(),
                    request,
                    self._model,
                    noise_multiplier=noise_multiplier,
                    sampling=budget.sampling[request.name],
                    charge=self._charge,
                    kept=self._note_kept,
                    checkpoints=Checkpoints(self._private),
                    progress=self._progress,
                )

    def _once(self, name: str, asked: object, measure: Callable[[], Release]) -> Release:
        """Measure and keep; in a resumed run, read what was kept. A second question in one run is a second draw."""
        fresh = self._kept is not None and name not in self._answered
        self._answered.add(name)
        found = self._kept.find(name, asked) if self._kept is not None and fresh else None
        if found is not None:
            self._note_kept(found.record)  # what is not charged in the ledger is not handed out
            return found
        release = measure()
        if self._kept is not None and fresh:
            self._kept.keep(name, asked, release)
            self._note_kept(release.record)
        return release

    def _records(self) -> Encoded:
        if self._encoded is None:
            self._encoded = self._encoder.encode(self._units.texts, partial(self._progress, "encoding records"))
        return self._encoded

    def _planned(self, name: str, *, sampled: bool = False) -> tuple[Budget, float]:
        planned = self._budget is not None and name in self._budget.noise_multipliers
        # A noise multiplier that was calibrated for sampled steps must never serve a full batch, nor the reverse.
        if self._budget is None or not planned or (self._budget.sampling[name].sample_rate < 1) != sampled:
            raise PrivacyError(f"mechanism {name!r} is not in the reserved plan; plan it before anything is spent")
        return self._budget, self._budget.noise_multipliers[name]
