"""Candidates in waves: write under the steering, look at what came out, correct the steering, write again.

A bias on one token shifts its neighbours too, so one correction is not enough: each wave compares what the last one
wrote for a class with the noised target of that class. All of it looks at synthetic text and one release, hence costs
nothing.

It does not know private text, and does not choose rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from privdistill.features.encoded import Encoded
from privdistill.matching.target import NoisyTarget, distinct, exaggerated
from privdistill.mechanisms.release import FloatArray, Release
from privdistill.models.interface import TunableModel
from privdistill.recipes.base import Context
from privdistill.synthesis.form import ends_whole
from privdistill.synthesis.measurement import PublicMap
from privdistill.synthesis.panel import Panel
from privdistill.synthesis.pool import Draft, Form, public_words, steered_drafts
from privdistill.synthesis.prompts import item_prompts
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.steering import Steering, corrected, make_steering
from privdistill.synthesis.teacher import Teacher, projected

__all__ = ["Author", "Waves", "read_form"]

IntArray = npt.NDArray[np.int64]

_WAVES = 4
_EXTRA_WAVES = 4
_SURPLUS = 1.15
"""A class is complete when the teacher sees so many candidates of it per wanted row."""
_LENGTH_QUANTILE = 0.97
_LEAST_WAVE = 32
_LEAST_VOCABULARY = 100
_WORDS_READ = 4096
_TELLING_SHARE = 20
"""One in so many of the words that are read counts as telling for a class."""


@dataclass(frozen=True, slots=True, eq=False)
class Author:
    """A model that writes candidates beside the public one, and what it wrote from prompts alone.

    Attributes:
        model: the same vocabulary, other weights.
        drafts: of the prompts.
        encoded: the same, encoded.
    """

    model: TunableModel
    drafts: list[Draft]
    encoded: Encoded


class Waves:
    """Writes and scores candidates; keeps count of what it wrote."""

    def __init__(
        self,
        context: Context,
        map_: PublicMap,
        release: Release,
        target: NoisyTarget,
        teacher: Teacher | Panel,
        words: list[str | None],
    ) -> None:
        """Set up.

        Args:
            context: models and randomness.
            map_: what was measured.
            release: the noised statistic.
            target: the same, read.
            teacher: labels candidates.
            words: what each class is called in a prompt, or None.
        """
        self._context, self._map, self._release = context, map_, release
        self._target, self._teacher, self._words = target, teacher, words
        sums, counts = release.block("tokens"), target.counts
        believed = distinct(sums, counts, release.noise["tokens"])
        self._aims = exaggerated(sums / counts[:, None], counts, believed) * counts[:, None]  # (K, V)
        self._form = read_form(context, map_, release, target)
        public = public_words(context.language_model.pieces)
        spoken_here = np.intersect1d(public, target.columns)  # words that stand above noise in this corpus
        self._vocabularies = (public, spoken_here) if spoken_here.size >= _LEAST_VOCABULARY else (public,)
        self._telling = self._telling_words(public)
        self._seen: set[str] = set()
        self._steerings: list[Steering] = []
        self.sampled = 0
        self.kept = 0
        self.count = 0

    def write(
        self,
        wanted: list[int],
        factor: float,
        public: list[Draft],
        encoded: Encoded,
        author: Author | None = None,
    ) -> Candidates:
        """Write about `factor` candidates per wanted row, and more where classes lack any.

        Args:
            wanted: rows of each class.
            factor: candidates sampled per row.
            public: the zero-shot pool; its well-formed texts are candidates too.
            encoded: the same, encoded.
            author: writes the second half of the candidates, and what classes lack.
        """
        pool = self._public_candidates(public, encoded)
        halves = 1 if author is None else 2
        sizes = np.ceil(np.asarray(wanted) * factor / (_WAVES * halves)).astype(int)
        total = int(sizes.sum()) * _WAVES * halves
        for half in range(halves):
            if half and author is not None:
                encoded = author.encoded
                pool += self._by(author.model)._public_candidates(author.drafts, encoded)
            steerings, first = self.begin(encoded), _openings(encoded, self._map)  # (P, V)
            for _ in range(_WAVES):
                pool = self._wave(pool, sizes, steerings, first, total)
        for left in reversed(range(_EXTRA_WAVES)):
            have = np.bincount(pool.labels, minlength=len(wanted))
            lack = np.ceil(np.asarray(wanted) * _SURPLUS) - have
            if (lack <= 0).all():
                break
            worth = max(0.1, self.kept / max(self.sampled, 1))
            sizes = np.where(lack > 0, np.maximum(lack / worth, _LEAST_WAVE), 0).astype(int)
            total += int(sizes.sum())
            if not left and len(pool.texts) < sum(wanted):
                self._form = replace(self._form, whole_sentences=False, may_end=None, strict=False)
            pool = self._wave(pool, sizes, steerings, first, total)
        return pool

    def _wave(
        self, pool: Candidates, sizes: IntArray, steerings: list[Steering], first: FloatArray, total: int
    ) -> Candidates:
        """The pool with one more wave, after which the steerings are corrected by what it wrote."""
        drafts = self._drafts(sizes, steerings, total)
        if not drafts:
            return pool
        fresh = self._context.encoder.encode([draft.text for draft in drafts])
        self.count += 1
        aims = np.array([draft.aim for draft in drafts])
        for k in range(len(sizes)):
            own = np.flatnonzero(aims == k)
            if own.size >= _LEAST_WAVE:
                part = _subset(fresh, own)
                damped = 0.5 * (_openings(part, self._map) + first)
                again = self._steering(k, _presence(part, self._map), damped)
                steerings[k] = corrected(steerings[k], again)
        return pool + self.score(drafts, fresh)

    def begin(self, encoded: Encoded) -> list[Steering]:
        """The steering of every class before anything was written under it: against the encoded public pool."""
        usual, first = _presence(encoded, self._map), _openings(encoded, self._map)  # (V,), (P, V)
        self._steerings = [self._steering(k, usual, first) for k in range(len(self._target.counts))]
        return self._steerings

    def again(self, model: TunableModel, sizes: IntArray) -> Candidates:
        """One more wave, written by another model under the steering that the last wave left.

        Args:
            model: the same vocabulary, other weights.
            sizes: texts to sample of each class.
        """
        drafts = self._by(model)._drafts(sizes, self._steerings, self.sampled + int(sizes.sum()))
        self.count += 1
        return self.score(drafts, self._context.encoder.encode([draft.text for draft in drafts]))

    def proposed(self, texts: Sequence[str], aim: int) -> list[Draft]:
        """Those of some texts that are well formed and new, plain, as drafts for a class."""
        drafts = []
        for text in texts:
            plain = self._form.tidy(text, True)
            if plain is not None and plain.casefold() not in self._seen:
                self._seen.add(plain.casefold())
                drafts.append(Draft(plain, aim))
        return drafts

    def _by(self, model: TunableModel) -> "Waves":
        """From here on another model writes, and nothing twice."""
        self._context = replace(self._context, language_model=model)
        return self

    def _drafts(self, sizes: IntArray, steerings: list[Steering], total: int) -> list[Draft]:
        """New texts of every class."""
        context, before = self._context, self.sampled
        wordings = [item_prompts(context.task.describe, word, context.task.fields) for word in self._words]
        written = steered_drafts(
            context.language_model,
            [options[self.count % len(options)] for options in wordings],
            steerings,
            [int(size) for size in sizes],
            vocabularies=self._vocabularies,
            form=self._form,
            rng=context.rng,
            progress=lambda done, _: context.progress("writing candidates", before + done, total),
        )
        self.sampled += int(sizes.sum())
        new = []
        for draft in written:
            key = draft.text.casefold()
            if key not in self._seen:
                self._seen.add(key)
                new.append(draft)
        self.kept += len(new)
        return new

    def _public_candidates(self, public: list[Draft], encoded: Encoded) -> Candidates:
        """Zero-shot texts of the right form; where a prompt said nothing about the class, the teacher's word counts."""
        kept, where = [], []
        for i, draft in enumerate(public):
            text = self._form.tidy(draft.text, True)
            if text == draft.text and text.casefold() not in self._seen:
                self._seen.add(text.casefold())
                kept.append(draft)
                where.append(i)
        pool = self.score(kept, _subset(encoded, np.array(where, dtype=np.int64)))
        if any(word is None for word in self._words):
            pool = replace(pool, aims=pool.labels)
        return pool

    def score(self, drafts: list[Draft], encoded: Encoded) -> Candidates:
        """Texts as candidates: what the teacher and the target see of each."""
        columns = self._target.columns
        tokens = np.zeros((len(drafts), columns.size))  # (n, G)
        lengths = np.zeros((len(drafts), len(self._map.length.edges) + 1))  # (n, L)
        for i, ids in enumerate(encoded.tokens):
            present = np.unique(ids)
            tokens[i] = np.isin(columns, present) / np.sqrt(max(present.size, 1))
            lengths[i, np.searchsorted(self._map.length.edges, ids.size, side="right")] = 1.0
        return Candidates(
            [draft.text for draft in drafts],
            np.array([draft.aim for draft in drafts], dtype=np.int64),
            self._teacher.probabilities(encoded),
            projected(encoded, self._map.moment),
            tokens,
            lengths,
            self._teacher.disputed(encoded),
            self._context.task.teachers == "drop",
        )

    def _telling_words(self, public: IntArray) -> list[IntArray]:
        """For each class, the public words that the teacher's embedding view reads as this class rather than others."""
        count, rng = len(self._target.counts), self._context.rng
        none = np.zeros(0, dtype=np.int64)
        if count < 2 or not public.size:
            return [none] * count
        words = rng.choice(public, min(_WORDS_READ, public.size), replace=False)
        pieces = self._context.language_model.pieces
        reading = self._teacher.reading(self._context.encoder.encode([pieces[i].strip() for i in words]))  # (n, K)
        most = max(1, len(words) // _TELLING_SHARE)
        return [words[np.argsort(-reading[:, k])[:most]] for k in range(count)]

    def _steering(self, k: int, usual: FloatArray, first: FloatArray) -> Steering:
        return make_steering(
            self._aims[k],
            self._release.block("opening")[k],
            float(self._target.counts[k]),
            token_noise=self._release.noise["tokens"],
            opening_noise=self._release.noise["opening"],
            pool_tokens=usual,
            pool_opening=first,
            telling=self._telling[k],
        )


def read_form(context: Context, map_: PublicMap, release: Release, target: NoisyTarget) -> Form:
    """Length limit and sentence ends, from the noised statistic.

    Texts of this domain end in sentence marks when the noised presence of such marks is more than half of what one
    mark in every record would give. Where a text has several fields, that says nothing about its end.
    """
    edges = map_.length.edges
    bucket = int(np.searchsorted(np.cumsum(target.lengths), _LENGTH_QUANTILE))
    limit = min(edges[bucket] if bucket < len(edges) else 2 * edges[-1], context.encoder.max_tokens)
    pieces = context.language_model.pieces[: map_.tokens.width]
    marks = [i for i, piece in enumerate(pieces) if ends_whole(piece) and not any(c.isalnum() for c in piece)]
    middles = (np.array([0, *edges]) + np.array([*edges, edges[-1]])) / 2  # (L,)
    if_all = target.counts.sum() * float(target.lengths @ (1 / np.sqrt(np.maximum(middles, 1.0))))
    marked = float(release.block("tokens")[:, marks].sum())
    tokenizer = context.encoder.tokenizer
    whole = marked > 0.5 * if_all and not context.task.fields
    return Form(
        max_tokens=limit,
        within=lambda text: len(tokenizer.ids([text])[0]) <= limit,
        whole_sentences=whole,
        may_end=np.array([ends_whole(piece) for piece in context.language_model.pieces]) if whole else None,
        fields=context.task.fields,
    )


def _presence(texts: Encoded, map_: PublicMap) -> FloatArray:
    """Mean unit-norm token presence, (V,)."""
    total = np.zeros(map_.tokens.width)
    for ids in texts.tokens:
        present = np.unique(ids)
        total[present] += 1 / np.sqrt(max(present.size, 1))
    return total / max(len(texts), 1)


def _openings(texts: Encoded, map_: PublicMap) -> FloatArray:
    """Share of texts with each token at each of the first positions, (P, V)."""
    out = np.zeros((map_.opening.positions, map_.opening.width))
    for ids in texts.tokens:
        for position, token in enumerate(ids[: len(out)]):
            out[position, token] += 1
    return out / max(len(texts), 1)


def _subset(texts: Encoded, where: np.ndarray) -> Encoded:
    return Encoded(texts.embeddings[where], tuple(texts.tokens[i] for i in where), texts.truncated[where])
