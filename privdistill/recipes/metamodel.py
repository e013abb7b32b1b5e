"""Recipe `metamodel`: rows on which ridge regression learns what it would learn on the private records.

Noised counts, first and second moments are measured once, beside the histograms that steer the language model (the
statistic of `distribution`). Rows are a kernel-ridge support set chosen from the candidates; their soft labels are the
closed form that makes the ridge solution on the rows the best one for the noised moments. The bi-level loss before and
after is reported.

It does not know private text: it sees a release.
"""

from collections.abc import Mapping

import numpy as np

from privdistill.matching.kernel_ridge import (
    Moments,
    closed_form_labels,
    outer_loss,
    read_moments,
    ridge_weights,
    select_support,
    with_bias,
)
from privdistill.mechanisms.release import FloatArray, IntArray, StatisticRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Task
from privdistill.recipes.distribution import (
    OPTIONS,
    STATISTIC,
    Choice,
    DistributionRecipe,
    Ground,
    Matching,
    Measured,
    Measuring,
    measure_and_match,
)
from privdistill.recipes.forecast import Forecast
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.selection import Candidates, filled

__all__ = ["MetamodelRecipe", "supporting"]


class MetamodelRecipe:
    """Noised moments, matched by kernel ridge regression."""

    name = "metamodel"
    options = OPTIONS

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One full-batch Gaussian statistic takes the whole budget."""
        return (PlannedMechanism(STATISTIC, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """That of the same statistic."""
        return DistributionRecipe().noise_floor(task, noise_multipliers)

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """That of the same statistic."""
        return DistributionRecipe().forecast(task, noise_multipliers)

    def measure(self, ground: Ground) -> Measuring:
        """The same statistic."""
        return Matching((yield StatisticRequest(STATISTIC, ground.rule, ground.map_.blocks)), supporting)

    def run(self, context: Context) -> RecipeRun:
        """Measure once, then generate and choose a support."""
        return (yield from measure_and_match(context, self))


def supporting(candidates: Candidates, measured: Measured) -> Choice:
    """Meta-model matching."""
    moments = read_moments(measured.release, measured.target)
    features = with_bias(candidates.means)
    seen = NearDuplicates()
    chosen = select_support(
        features,
        candidates.labels,
        moments,
        measured.wanted,
        accept=lambda i: seen.add(candidates.texts[i]),
    )
    labels = [int(candidates.labels[i]) for i in chosen]
    rows, owners = filled(candidates, measured.wanted, chosen, labels, seen)
    soft = closed_form_labels(features[rows], moments)
    shipped = _probabilities(soft)
    return Choice(rows, owners, shipped, {"bi_level_loss": _losses(features, owners, rows, soft, shipped, moments)})


def _probabilities(labels: FloatArray) -> FloatArray:
    """Labels (n, K) as what a soft label must be: clipped to [0, 1], adding up to 1."""
    clipped = np.clip(labels, 1e-6, 1.0)
    return np.asarray(clipped / clipped.sum(axis=1, keepdims=True))


def _losses(
    features: FloatArray, owners: IntArray, rows: list[int], soft: FloatArray, shipped: FloatArray, moments: Moments
) -> dict[str, float]:
    """The outer loss under several labels: estimated on the noised moments, so that 0 weights give 1."""
    x = features[rows]
    labels = {"hard_labels": np.eye(soft.shape[1])[owners], "closed_form_labels": soft, "soft_labels": shipped}
    found = {name: outer_loss(ridge_weights(x, y, moments.ridge), moments) for name, y in labels.items()}
    return {name: round(value, 5) for name, value in {**found, "least": outer_loss(moments.best, moments)}.items()}
