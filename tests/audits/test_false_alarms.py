"""Family-wise false alarms of the memorisation checks on unrelated text: re-drawn sides over fixed features.

A moderate simulation; `make bench-audit` runs the long one.
"""

import numpy as np

from audits.features.alignment import nearest, spell
from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import rarity
from audits.features.runs import shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Vocabulary
from audits.statistics.families import concentration, maximum
from audits.statistics.holm import holm
from audits.statistics.intervals import clopper_pearson
from audits.statistics.tops import ranked, tops
from tests.leaky_generators import sentences

SPLITS = 250


def test_family_wise_false_alarms_stay_near_five_percent() -> None:
    private = sentences(700, seed=91, vocabulary=300)
    vocabulary = Vocabulary()
    source, synthetic = vocabulary.encode(private), vocabulary.encode(sentences(300, seed=92, vocabulary=300))
    rare = rarity(source, np.arange(700), None)
    runs = shared_runs(source, synthetic, rare.bits)
    close = nearest(spell(vocabulary.spell(source)), spell(vocabulary.spell(synthetic))).similarity
    flags = {
        "PD201": runs.bits[:, None] >= np.array([20.0, 40.0, 60.0])[None, :],
        "PD202": surviving(source, np.arange(700), synthetic, None, (3, 4), (1, 2, 5)).flags,
        "PD203": close[:, None] >= np.array([0.5, 0.6, 0.7])[None, :],
    }
    assert all(found.any() for found in flags.values()), "phantoms are there to be mistaken for leaks"
    scores = likelihood_ratio(source, synthetic, rare)
    rng = np.random.default_rng(0)
    tests = maximum(tops(700), 700, 420, rng)
    base = np.arange(700) < 420
    alarms = 0
    for _ in range(SPLITS):
        train = rng.permutation(base)
        p_values = {name: concentration(found, train, rng, redraws=399).p_value for name, found in flags.items()}
        p_values["PD301"] = tests.p_value(train[ranked(scores, rng)])
        alarms += min(holm(p_values).values()) <= 0.05
    low, _ = clopper_pearson(alarms, SPLITS, confidence=0.9)
    assert low <= 0.05, f"{alarms} alarms on {SPLITS} random splits"
