"""The model tier: checks that learn, run on request only, and are fair to both sides."""

from pathlib import Path

import numpy as np
import pytest

from audits.features.recurrent import log_probabilities
from audits.features.tokens import Vocabulary
from audits.statistics.families import maximum
from audits.statistics.intervals import clopper_pearson
from audits.statistics.logistic import fit_logistic
from audits.statistics.tops import ranked, tops
from tests.audits.conftest import Audit, Corpora, finding
from tests.leaky_generators import passthrough, sentences, write_jsonl


@pytest.mark.parametrize("id", ["PD303", "PD304"])
def test_they_run_on_request_only(audit_only: Audit, id: str) -> None:
    found = finding(audit_only((id,)), id)
    assert found.status == "skipped"
    assert f"--include {id}" in found.summary


def test_the_combined_attack_finds_a_leak_and_passes_a_clean_file(audit_only: Audit, corpora: Corpora) -> None:
    rows = passthrough(corpora.train, corpora.rows, np.random.default_rng(1))
    leaky = finding(audit_only(("PD303",), rows, include=("PD303",)), "PD303")
    assert leaky.status == "fail", leaky.summary
    clean = finding(audit_only(("PD303",), include=("PD303",)), "PD303")
    assert clean.status == "pass", clean.summary
    assert clean.power is not None
    assert 0 < (clean.power.detectable or 1) <= 0.25
    assert clean.estimates["auc"].n == (len(corpora.train) + len(corpora.holdout) + 1) // 2, "half of the units"


def test_an_auxiliary_model_finds_a_leak_and_clears_a_clean_file(audit_only: Audit, tmp_path: Path) -> None:
    """Small: 500 units and a few words, because a model is trained three times."""
    private = sentences(500, seed=501, vocabulary=120)
    sides = {
        "source": write_jsonl(tmp_path / "t.jsonl", private[:300]),
        "holdout": write_jsonl(tmp_path / "h.jsonl", private[300:]),
        "include": ("PD304",),
    }
    unrelated = sentences(150, seed=502, vocabulary=120)
    rows = passthrough(private[:300], unrelated, np.random.default_rng(1))
    leaky = finding(audit_only(("PD304",), rows, **sides), "PD304")
    assert leaky.status == "fail", leaky.summary
    clean = finding(audit_only(("PD304",), unrelated, **sides), "PD304")
    assert clean.status in ("pass", "inconclusive"), clean.summary
    assert clean.p_value > 0.05
    assert clean.power is not None
    assert "second model" in clean.power.method


def test_learning_on_one_half_keeps_the_level_on_the_other() -> None:
    """Traces that know nothing: weights learnt from the sides of one half do not help on the other."""
    rng, alarms = np.random.default_rng(4), 0
    test = maximum(tops(150), 150, 75, rng, redraws=399)
    for _ in range(300):
        columns, train = rng.normal(size=(300, 5)), rng.permutation(np.arange(300) < 150)
        learn = rng.permutation(300) < 150
        weights = fit_logistic(columns[learn], train[learn])
        side = train[~learn]
        half = maximum(tops(150), 150, int(side.sum()), rng, redraws=199) if side.sum() != 75 else test
        alarms += half.p_value(side[ranked(columns[~learn] @ weights[:-1], rng)]) <= 0.05
    assert clopper_pearson(alarms, 300)[0] <= 0.05
    assert alarms > 2


def test_logistic_regression_is_that_of_a_general_optimiser(rng: np.random.Generator) -> None:
    from scipy import optimize
    from scipy.special import expit

    columns = rng.normal(size=(200, 3))
    members = rng.random(200) < expit(columns @ np.array([1.0, -0.5, 0.0]))
    weight = np.where(members, 0.5 / members.sum(), 0.5 / (~members).sum()) * 200
    design = np.concatenate([columns, np.ones((200, 1))], axis=1)

    def loss(found: np.ndarray) -> float:
        score = np.where(members, design @ found, -(design @ found))
        return float((weight * np.logaddexp(0, -score)).sum() + 0.5 * (found[:-1] ** 2).sum())

    naive = optimize.minimize(loss, np.zeros(4), method="BFGS").x
    np.testing.assert_allclose(fit_logistic(columns, members), naive, atol=1e-3)


def test_a_recurrent_model_learns_order_and_skips_unknown_words() -> None:
    import torch

    vocabulary = Vocabulary()
    synthetic = vocabulary.encode(["one two three four five"] * 200)
    source = vocabulary.encode(["one two three four five", "five four three two one", "one stranger three"])
    before = torch.random.get_rng_state()
    found = log_probabilities(synthetic, source, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before), "no global state is touched"
    assert found[:5].sum() > -3 > found[5:10].sum()
    assert found[11] == 0.0
    np.testing.assert_array_equal(found, log_probabilities(synthetic, source, seed=1))
