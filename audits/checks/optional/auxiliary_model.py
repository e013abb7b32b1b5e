"""PD304, auxiliary model. Threat model T1: membership inference with a language model trained on the synthetic file.

The attacker trains a model of his own on the released text and asks how much better it predicts somebody's record than
everybody else's texts do. Fails when train units rank above holdout units, significantly and by more than the margin.
The model is small, recurrent and trained from nothing: it learns copied wording and habits, not meaning, and a larger
one may do better; the stated power is this model's.
"""

import numpy as np
import numpy.typing as npt

from audits.advantage import Ranking, Replay, judge_ranking, replace_scores
from audits.evidence import Evidence
from audits.features.recurrent import TRAINING_TOKENS, log_probabilities
from audits.features.tokens import Tokens, join
from audits.registry import Outcome, check

__all__ = ["auxiliary_model"]

FloatArray = npt.NDArray[np.float64]

_LEAST_TOKENS = 1_000


@check(
    id="PD304",
    name="auxiliary-model",
    title="Does a language model trained on the synthetic corpus know training texts better than others?",
    threat_model="T1",
    tier="model",
    on_request=True,
)
def auxiliary_model(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Train on the synthetic corpus, score units, compare train with holdout."""
    if not evidence.has_control:
        return Outcome("Without a holdout, members cannot be compared with non-members.", status="inconclusive")
    size = len(evidence.synthetic_tokens.ids)
    if size < _LEAST_TOKENS:
        return Outcome(f"{size} words are too few to train a model on.", status="inconclusive")
    seed = int(rng.integers(2**31))
    scores = _scores(evidence, evidence.synthetic_tokens, seed)
    count = max(20, round(evidence.settings.max_detectable * evidence.train_units))

    def prepare(drawn: np.random.Generator) -> Replay:
        units, records = evidence.some_train_records(drawn, count)
        again = _scores(evidence, join(evidence.synthetic_tokens, evidence.source_tokens.take(records)), seed)
        base = np.where(np.isin(np.arange(len(scores)), units), scores, again)
        return replace_scores(base, again[units], evidence.source.train)

    planted = f"{min(count, evidence.train_units)} train units planted in memory, a second model trained, all rescored"
    return judge_ranking(
        evidence,
        Ranking(scores, evidence.source.train, prepare, planted),
        rng,
        shows="A model trained on the synthetic text knows train units better",
        hidden="A model trained on the synthetic text hardly tells members",
        notes=(f"{size} synthetic words, at most {TRAINING_TOKENS} seen in training; texts are read up to 128 words",),
    )


def _scores(evidence: Evidence, synthetic: Tokens, seed: int) -> FloatArray:
    """Log-ratio bits against everybody else over the root of the length; words that the model lacks count nothing."""
    tokens = evidence.source_tokens
    own = log_probabilities(synthetic, tokens, seed)
    ratio = np.where(own != 0, own + evidence.rarity.bits, 0.0)
    summed = np.concatenate([np.zeros(1), np.cumsum(ratio)])
    by_record = (summed[tokens.starts[1:]] - summed[tokens.starts[:-1]]) / np.sqrt(np.maximum(tokens.lengths, 1))
    return np.asarray(evidence.by_unit(by_record), np.float64)
