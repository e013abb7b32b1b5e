"""PD301, membership inference. Threat model T1: the synthetic file, and a text whose membership is in question.

The attacker holds somebody's text and asks whether it was in the training data: he compares how well the synthetic
corpus predicts it with how well other texts of the same kind do. Fails when train units rank above holdout units,
significantly and by more than a fixed margin; differential privacy at a moderate epsilon allows a small advantage,
and an attack that is merely significant is printed, not failed. It bounds this attack, not every attack.
"""

import numpy as np

from audits.advantage import Ranking, Replay, judge_ranking, replace_scores
from audits.evidence import Evidence
from audits.features.tokens import join
from audits.registry import Outcome, check

__all__ = ["membership"]


@check(
    id="PD301",
    name="membership",
    title="Can it be told from the synthetic text whether a known text was in the training data?",
    threat_model="T1",
    tier="core",
)
def membership(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Rank units by how much better the synthetic corpus predicts them; compare train with holdout."""
    if not evidence.has_control:
        return Outcome("Without a holdout, members cannot be compared with non-members.", status="inconclusive")
    scores, train = evidence.likelihood, evidence.source.train
    count = max(20, round(evidence.settings.max_detectable * evidence.train_units))

    def prepare(drawn: np.random.Generator) -> Replay:
        units, records = evidence.some_train_records(drawn, count)
        planted = evidence.membership(join(evidence.synthetic_tokens, evidence.source_tokens.take(records)))
        base = np.where(np.isin(np.arange(len(train)), units), scores, planted)
        return replace_scores(base, planted[units], train)

    planted = f"{min(count, evidence.train_units)} train units planted in memory and rescored"
    return judge_ranking(
        evidence,
        Ranking(scores, train, prepare, planted),
        rng,
        shows="Membership of train units shows in the synthetic text",
        hidden="Membership is hardly visible in the text",
    )
