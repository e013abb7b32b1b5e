"""Everything a check may look at, and features computed once for all of them.

A check gets this and a random generator, nothing else. Features are computed from texts alone; sides are in `source`.
It decides nothing.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from audits.canaries.envelope import Opened
from audits.canaries.scores import CanaryFeatures
from audits.features.distinguishing import side_scores
from audits.features.embedding import Encoder
from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import Rarity, rarity
from audits.features.runs import SharedRuns, shared_runs
from audits.features.tokens import Tokens, Vocabulary, join
from audits.findings import Claim, Estimate, WorstCase
from audits.inputs.claims import ReadClaim
from audits.inputs.units import Source, Synthetic, redact
from audits.split import SplitEvidence
from audits.statistics.ranking import area_interval

__all__ = ["MARGIN", "SHARED", "Evidence", "Settings"]

MARGIN = 0.05
"""The equivalence margin: a word classifier may tell the sides apart by no more than this AUC above chance."""
SHARED = 0.05
"""Largest share of holdout texts that may also stand in the source."""
_FOLDS = 5

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Settings:
    """Pre-registered levels of an audit.

    Attributes:
        alpha: family-wise level of the memorisation checks, and level of the claim test.
        power: probability with which a planted leak must be found.
        max_detectable: largest share of train units that may be needed for that; above it a check cannot pass.
    """

    alpha: float = 0.05
    power: float = 0.8
    max_detectable: float = 0.05


class Evidence:
    """The inputs of one audit, with cached features.

    Attributes:
        source: train and holdout units.
        synthetic: distinct synthetic texts.
        synthetic_sha256: digest of the synthetic file.
        read_claim: the claim file as read, or None.
        split: who drew the sides, and whether that was verified.
        settings: levels.
        reference: public texts, or None.
        canaries: an opened envelope, or None.
        encoder: a sentence encoder, or None.
    """

    def __init__(
        self,
        *,
        source: Source,
        synthetic: Synthetic,
        synthetic_sha256: str,
        read_claim: ReadClaim | None,
        split: SplitEvidence,
        settings: Settings,
        key: bytes,
        reference: list[str] | None = None,
        canaries: Opened | None = None,
        encoder: Encoder | None = None,
    ) -> None:
        self.source = source
        self.synthetic = synthetic
        self.synthetic_sha256 = synthetic_sha256
        self.read_claim = read_claim
        self.split = split
        self.settings = settings
        self.reference = reference
        self.canaries = canaries
        self.encoder = encoder
        self._key = key

    @property
    def claim(self) -> Claim | None:
        """The claim, if one was given and fits the schema."""
        return self.read_claim.claim if self.read_claim is not None else None

    @property
    def has_control(self) -> bool:
        """Whether there are units on both sides."""
        return bool(self.source.train.any()) and not bool(self.source.train.all())

    @property
    def train_units(self) -> int:
        """Number of units on the train side."""
        return int(self.source.train.sum())

    @property
    def holdout_units(self) -> int:
        """Number of units on the holdout side."""
        return int((~self.source.train).sum())

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Token numbers, shared by all corpora of the audit."""
        return Vocabulary()

    @cached_property
    def source_tokens(self) -> Tokens:
        """Tokens of the source records."""
        return self.vocabulary.encode(self.source.texts)

    @cached_property
    def synthetic_tokens(self) -> Tokens:
        """Tokens of the distinct synthetic texts."""
        return self.vocabulary.encode(self.synthetic.texts)

    @cached_property
    def reference_tokens(self) -> Tokens | None:
        """Tokens of the public reference."""
        return self.vocabulary.encode(self.reference) if self.reference else None

    @cached_property
    def rarity(self) -> Rarity:
        """Surprisal of every source token to everybody else's texts."""
        return rarity(self.source_tokens, self.source.unit_of, self.reference_tokens)

    @cached_property
    def runs(self) -> SharedRuns:
        """Longest shared runs of every record."""
        return shared_runs(self.source_tokens, self.synthetic_tokens, self.rarity.bits)

    @cached_property
    def likelihood(self) -> FloatArray:
        """Membership score of every unit, from the synthetic text alone: the largest of its records."""
        return self.membership(self.synthetic_tokens)

    def membership(self, synthetic: Tokens) -> FloatArray:
        """Return the membership score of every unit against some synthetic corpus."""
        return np.asarray(self.by_unit(likelihood_ratio(self.source_tokens, synthetic, self.rarity)), np.float64)

    @cached_property
    def canary_features(self) -> CanaryFeatures:
        """What canaries look like to everybody else; only where an envelope was given."""
        tokens = self.vocabulary.encode(self.canaries.texts if self.canaries is not None else ())
        public = self.reference_tokens
        return CanaryFeatures.of(tokens, self.source_tokens if public is None else join(self.source_tokens, public))

    @property
    def bound_alpha(self) -> float:
        """Level of each bound on epsilon: all that this audit may report share the level of the audit."""
        return self.settings.alpha / max(1, (self.split.kind == "own") + (self.canaries is not None))

    @cached_property
    def text_only(self) -> Estimate:
        """How well the words alone, without any synthetic text, tell train from holdout (AUC, 90 % interval)."""
        rng = np.random.default_rng(int.from_bytes(self._key, "big"))
        tokens, train = self.source_tokens, self.source.train
        fold = rng.permutation(self.source.units) % _FOLDS
        scores = side_scores(tokens.ids, np.repeat(self.source.unit_of, tokens.lengths), train, fold)
        return area_interval(scores, train, rng, confidence=0.9)

    @cached_property
    def control_doubt(self) -> str:
        """Why the holdout is not known to be a fair control, so that nothing can pass; empty when it is."""
        if not self.has_control:
            return "there is no holdout"
        if self.split.kind == "own":
            return ""
        if self.source.both_sides > SHARED * self.holdout_units:
            return f"{self.source.both_sides} holdout texts also stand in the source, so they were read"
        found = self.text_only
        if found.low > 0.5 - MARGIN and found.high < 0.5 + MARGIN:
            return ""
        differ = "differ" if self.control_broken else "are not shown to be alike"
        interval = f"text-only AUC {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), not inside 0.5 +- {MARGIN}"
        return f"train and holdout {differ} without any generator: {interval}"

    @cached_property
    def control_broken(self) -> bool:
        """Whether the holdout is known to be no control, so that no difference of the sides is evidence of anything."""
        if not self.has_control or self.split.kind == "own":
            return not self.has_control
        if self.source.both_sides > SHARED * self.holdout_units:
            return True
        return self.text_only.low > 0.5 and self.text_only.high >= 0.5 + MARGIN

    def by_unit(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Return, per unit, the largest value (or any flag) of its records."""
        starts = np.flatnonzero(np.diff(self.source.unit_of, prepend=-1))
        operation = np.logical_or if values.dtype == np.bool_ else np.maximum
        return np.asarray(operation.reduceat(values, starts, axis=0))

    def some_train_records(self, rng: np.random.Generator, most: int) -> tuple[IntArray, IntArray]:
        """Draw train units, and one record of each: what a self-test plants. Returns (units, records)."""
        units = np.flatnonzero(self.source.train)
        chosen = np.sort(rng.choice(units, min(most, len(units)), replace=False))
        first = np.searchsorted(self.source.unit_of, chosen, side="left")
        last = np.searchsorted(self.source.unit_of, chosen, side="right")
        return chosen, first + rng.integers(0, last - first)

    def pointer(self, unit: int) -> str:
        """Return the keyed hash under which a unit may appear in a report."""
        return redact(self.source.names[unit], self._key)

    def worst(
        self, scores: FloatArray, rows: IntArray, spans: tuple[IntArray, IntArray] | None = None, most: int = 5
    ) -> tuple[WorstCase, ...]:
        """Return redacted pointers to the records with the largest positive scores.

        Args:
            scores: per record.
            rows: per record, a distinct synthetic text that it resembles, or -1.
            spans: per record, first word and number of words of the match in that text.
            most: how many.
        """
        order = np.argsort(-scores, kind="stable")[:most]
        cases = []
        for record in order[scores[order] > 0]:
            unit, placed = int(self.source.unit_of[record]), rows[record] >= 0
            cases.append(
                WorstCase(
                    unit=self.pointer(unit),
                    side="train" if self.source.train[unit] else "holdout",
                    synthetic_row=int(self.synthetic.row[rows[record]]) if placed else None,
                    score=round(float(scores[record]), 4),
                    offset=int(spans[0][record]) if spans is not None and placed else None,
                    length=int(spans[1][record]) if spans is not None and placed else None,
                )
            )
        return tuple(cases)
