"""PD303, combined attack. Threat model T1: membership inference by somebody who uses every trace at once.

The attacker weighs copied runs, equal records, surviving n-grams, near-copies, identifiers and the likelihood ratio
together, with weights learnt on people whose membership he knows. Units are split once, at random: a logistic
regression is fitted on one half, and the other half is ranked and tested, so that nothing is scored by a model that
saw its side. It halves the units, hence its power, and finds what no single trace shows strongly.
"""

import numpy as np
import numpy.typing as npt

from audits.advantage import Ranking, Replay, judge_ranking, replace_scores
from audits.evidence import Evidence
from audits.features.alignment import nearest, spell
from audits.features.identifiers import identifiers
from audits.features.runs import shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Tokens, join
from audits.registry import Outcome, check
from audits.statistics.logistic import fit_logistic

__all__ = ["combined"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_LEAST = 200
_PLANTED = 300
_ORDERS, _FREQUENCIES = (3, 4, 5), (1, 2)


@check(
    id="PD303",
    name="combined",
    title="Do all traces together tell whether a known text was in the training data?",
    threat_model="T1",
    tier="model",
    on_request=True,
)
def combined(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Learn weights on one random half of the units and test the other half."""
    if not evidence.has_control:
        return Outcome("Without a holdout, members cannot be compared with non-members.", status="inconclusive")
    train = evidence.source.train
    if min(evidence.train_units, evidence.holdout_units) < _LEAST:
        return Outcome(
            f"{evidence.train_units} train and {evidence.holdout_units} holdout units are too few to learn on half "
            f"of them ({_LEAST} a side are needed).",
            status="inconclusive",
        )
    learn = rng.permutation(len(train)) < len(train) // 2
    columns = _columns(evidence, evidence.synthetic_tokens, evidence.synthetic.texts)
    ranking = Ranking(
        scores=_scores(columns, train, learn),
        train=train[~learn],
        prepare=lambda drawn: _replay(evidence, columns, learn, drawn),
        planted=f"{min(_PLANTED, evidence.train_units)} train units planted in memory, every trace measured again and "
        "the weights learnt again",
    )
    note = f"weights learnt on {int(learn.sum())} units, {int((~learn).sum())} others tested; one random split"
    return judge_ranking(
        evidence,
        ranking,
        rng,
        shows="All traces together show the membership of train units",
        hidden="All traces together hardly show membership",
        notes=(note,),
    )


def _scores(columns: FloatArray, train: BoolArray, learn: BoolArray) -> FloatArray:
    """Scores of the units that were not learnt from."""
    spread = columns.std(axis=0)
    scaled = (columns - columns.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    weights = fit_logistic(scaled[learn], train[learn])
    return np.asarray(scaled[~learn] @ weights[:-1] + weights[-1], np.float64)


def _columns(evidence: Evidence, synthetic: Tokens, texts: list[str]) -> FloatArray:
    """Every trace of every unit, (units, traces); sides do not enter."""
    source, vocabulary = evidence.source, evidence.vocabulary
    runs = shared_runs(evidence.source_tokens, synthetic, evidence.rarity.bits)
    near = nearest(spell(vocabulary.spell(evidence.source_tokens)), spell(vocabulary.spell(synthetic))).similarity
    rare = surviving(
        evidence.source_tokens, source.unit_of, synthetic, evidence.reference_tokens, _ORDERS, _FREQUENCIES
    ).flags
    shown = {found for text in texts for found in identifiers(text)}
    held = np.array([any(found in shown for found in identifiers(text)) for text in source.texts])
    by_record = [np.log1p(runs.bits), np.log1p(runs.length), runs.equal.astype(float), near, held.astype(float)]
    by_unit = [np.asarray(evidence.by_unit(column), np.float64) for column in by_record]
    likelihood = evidence.membership(synthetic)
    return np.stack([*by_unit, rare.sum(axis=1).astype(np.float64), likelihood], axis=1)


def _replay(evidence: Evidence, columns: FloatArray, learn: BoolArray, rng: np.random.Generator) -> Replay:
    units, records = evidence.some_train_records(rng, _PLANTED)
    texts = evidence.synthetic.texts + [evidence.source.texts[record] for record in records]
    leaked = _columns(evidence, join(evidence.synthetic_tokens, evidence.source_tokens.take(records)), texts)[units]
    train = evidence.source.train
    plant = replace_scores(columns, leaked, train)
    return lambda share, drawn: _scores(plant(share, drawn), train, learn)
