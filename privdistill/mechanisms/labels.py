"""The label list, released by a Gaussian threshold when it was not declared.

Each unit spreads a vector of norm 1 over the labels it carries; counts get discrete Gaussian noise; only labels whose
noised count exceeds a threshold come out. A label that only one unit carries passes with probability at most
`delta_threshold` (stability-based release; Wilkins, Kifer, Zhang & Karwa 2024, arXiv:2306.08745, for Gaussian noise).
Noise on labels that nobody carries would never be looked at, which is why delta_threshold is booked instead.

It does not know budgets, or what the labels mean.
"""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr

from privdistill.accounting.budget import MAX_CELLS
from privdistill.errors import CorpusError, MechanismError
from privdistill.mechanisms.noise import add_discrete_gaussian
from privdistill.mechanisms.release import MechanismRecord, PrivateUnits, Release

__all__ = ["LABELS", "clean_counts", "release_labels", "threshold_for"]

LABELS = "labels"
"""Plan name of this mechanism."""
MAX_LABELS = 1000


def threshold_for(noise_multiplier: float, delta_threshold: float, contribution_bound: int) -> float:
    """Smallest threshold (in units of one unit's norm) that new labels of one unit pass with at most `delta_threshold`.

    A unit with m new labels puts 1/sqrt(m) on each; the chance that any of them passes is
    1 - Phi((threshold - 1/sqrt(m)) / noise_multiplier)^m. The worst m up to the contribution bound counts.
    """

    def excess(threshold: float) -> float:
        worst = max(
            -math.expm1(m * float(log_ndtr((threshold - 1 / math.sqrt(m)) / noise_multiplier)))
            for m in range(1, contribution_bound + 1)
        )
        return worst - delta_threshold

    return float(brentq(excess, 0.0, 2 + 50 * noise_multiplier, xtol=1e-12)) * (1 + 1e-9) + 1e-9


def clean_counts(units: PrivateUnits, step: float) -> dict[str, int]:
    """Un-noised label weights in grid steps: private, for `release_labels` and tests only.

    Sensitivity: one unit moves the vector by at most 1 / step in L2.
    """
    counts: Counter[str] = Counter()
    for low, high in units.spans():
        carried = sorted(set((units.labels or ())[low:high]))
        for label in carried:
            counts[label] += math.trunc((1 - 1e-9) / math.sqrt(len(carried)) / step)
    return dict(counts)


def release_labels(
    units: PrivateUnits,
    *,
    noise_multiplier: float,
    grid_steps: float,
    delta_discretisation: float,
    delta_threshold: float,
    charge: Callable[[MechanismRecord], None],
) -> Release:
    """Release the labels that enough units share, most frequent first by noised count.

    Guarantee: (1 / noise_multiplier)-Gaussian-DP, plus delta_discretisation plus delta_threshold.
    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: 1, the norm of one unit's label vector.

    Raises:
        CorpusError: no label passes the threshold (said of noised counts only).
        MechanismError: the corpus is unlabelled, or the charge is refused.
    """
    if units.labels is None or delta_threshold <= 0:
        raise MechanismError("a label threshold needs a labelled corpus and a positive delta_threshold")
    step = noise_multiplier / grid_steps
    threshold = threshold_for(noise_multiplier, delta_threshold, units.contribution_bound)
    record = MechanismRecord(
        name=LABELS,
        kind="gaussian-threshold",
        noise_multiplier=noise_multiplier,
        sample_rate=1.0,
        steps=1,
        sensitivity=1.0,
        sensitivity_parts={"label": 1.0},
        sampler="full-batch",
        noise="discrete-gaussian",
        dimension=MAX_CELLS,  # how many labels were seen is private; the reservation covers this many
        noise_grid_steps=grid_steps,
        delta_discretisation=delta_discretisation,
        delta_threshold=delta_threshold,
    )
    charge(record)
    counts = clean_counts(units, step)
    names = sorted(counts)
    if len(names) > MAX_CELLS:
        raise MechanismError("more labels than the discretisation delta was reserved for; nothing is released")
    noised = add_discrete_gaussian(np.array([counts[name] for name in names], dtype=np.int64), grid_steps) * step
    passed = sorted(
        ((value, name) for name, value in zip(names, noised, strict=True) if value > threshold), reverse=True
    )
    passed = passed[:MAX_LABELS]
    if not passed:
        raise CorpusError(
            f"no label is shared by enough units to pass the threshold of about {math.ceil(threshold)}; declare "
            f"the list "
            "with --labels, or raise epsilon"
        )
    return Release(
        payload={"label": np.array([value for value, _ in passed])},
        noise={"label": noise_multiplier},
        record=record,
        classes=tuple(name for _, name in passed),
    )
