"""Recipe `trajectory`: rows on which a classifier walks the way that a DP-SGD expert walked on the private records.

Part of the budget buys the statistic of `distribution`, which steers the language model and fixes the public map; the
rest trains one linear head on the mapped records with DP-SGD, every iterate of which comes out. Rows are chosen from
the candidates so that training on them follows the expert's segments; the expert also gives the soft labels.

It does not know private text: it sees releases.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from privdistill.matching.kernel_ridge import with_bias
from privdistill.matching.trajectories import follow, head_probabilities, read_segments, segment_distance
from privdistill.mechanisms.release import ExpertRequest, Release, StatisticRequest
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
from privdistill.synthesis.measurement import most_dimensions
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.selection import Candidates, filled

__all__ = ["EXPERT", "TrajectoryRecipe", "expert_request", "following"]

EXPERT = "expert"
_EXPERT_SHARE = 0.4
_STEPS = 100
_BATCH = 1024.0
_SAMPLE_RATES = (0.02, 0.3)
_UNKNOWN_SIZE_RATE = 0.1
_LEARNING_RATE = 4.0
"""Fast rather than safe. Features are clipped to the public map's R, about 1 (at most 2: a unit vector less a mean of
such), and private ones are not centred, so the curvature of the cross-entropy may reach (1 + R²) / 2: even without
noise only rates up to 4 / (1 + R²), about 2, are sure not to make the loss rise, and at 4 it can go to and fro where
all records lie on one side of the public centre. On the candidates of two corpora it does not. In any case a step is
short: at most the rate times the clipping norm times units drawn over units expected, and noise."""
_MAX_GRAD_NORM = 1.0
_SEGMENTS = 5


class TrajectoryRecipe:
    """One DP-SGD expert run, matched by segments."""

    name = "trajectory"
    options = OPTIONS

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """The statistic, and one DP-SGD run: about a thousand of the declared records a step, holdout included."""
        return (
            PlannedMechanism(STATISTIC, "gaussian", 1 - _EXPERT_SHARE),
            PlannedMechanism(EXPERT, "sampled-gaussian", _EXPERT_SHARE, _sample_rate(task), _STEPS),
        )

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """That of the statistic."""
        return DistributionRecipe().noise_floor(task, noise_multipliers)

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """That of the same statistic, and how loud the noise of the expert is over all of its steps."""
        expected = DistributionRecipe().forecast(task, noise_multipliers)
        classes, size = expected.classes, task.train_size
        if classes is None or size is None:
            return expected
        cells = classes * (most_dimensions(noise_multipliers[STATISTIC]) + 1)
        batch = _sample_rate(task) * size
        ratio = noise_multipliers[EXPERT] * math.sqrt(cells / _STEPS) / batch
        remark = (
            f"about {batch:.0f} records a step; over all {_STEPS} steps the expert's noise is {ratio:.2g} times as "
            "long as its gradient, were all records to agree"
        )
        return replace(expected, remarks=(remark,))

    def measure(self, ground: Ground) -> Measuring:
        """The statistic, then an expert whose batches are expected from it."""
        release = yield StatisticRequest(STATISTIC, ground.rule, ground.map_.blocks)
        expert = yield expert_request(ground, release)
        return Matching(release, partial(following, expert=expert))

    def run(self, context: Context) -> RecipeRun:
        """Measure, train the expert, then generate and follow it."""
        return (yield from measure_and_match(context, self))


def _sample_rate(task: Task) -> float:
    return float(np.clip(_BATCH / task.size, *_SAMPLE_RATES)) if task.size else _UNKNOWN_SIZE_RATE


def expert_request(ground: Ground, release: Release) -> ExpertRequest:
    """A head that starts at zero; batches are expected from the *noised* number of units."""
    moment, names = ground.map_.moment, ground.rule.names
    units = release.payload.get("units", release.block("count"))
    return ExpertRequest(
        EXPERT,
        ground.rule,
        moment.centre,
        moment.basis,
        moment.clip,
        np.zeros((len(names), moment.basis.shape[1] + 1)),
        _MAX_GRAD_NORM,
        max(1.0, float(units.sum())),
        _LEARNING_RATE,
    )


def following(candidates: Candidates, measured: Measured, *, expert: Release) -> Choice:
    """Trajectory matching."""
    iterates = expert.block("iterates")
    segments = read_segments(
        iterates,
        _SEGMENTS,
        rate=_LEARNING_RATE,
        bound=_MAX_GRAD_NORM,
        noise=expert.noise["iterates"],
    )
    features, seen = with_bias(candidates.means), NearDuplicates()
    chosen = follow(
        features, candidates.labels, segments, measured.wanted, accept=lambda i: seen.add(candidates.texts[i])
    )
    rows, owners = filled(candidates, measured.wanted, chosen, [int(candidates.labels[i]) for i in chosen], seen)
    facts = {
        "segment_distance": round(segment_distance(features[rows], owners, segments), 4),
        "segment_noise_share": [round(float(share), 4) for share in segments.noise_share],
    }
    return Choice(rows, owners, head_probabilities(features[rows], segments.middles[-1]), facts)
