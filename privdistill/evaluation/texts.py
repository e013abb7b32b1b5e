"""What the texts themselves are like: closeness to test records in embedding spaces, variety, form, likelihood.

Each number of the synthetic rows stands beside that of as many real training records, which nobody may publish either.
No labels are needed. It does not know how rows were made.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial

import numpy as np

from audits.findings import Estimate
from privdistill.evaluation.diversity import distinct, self_bleu, vendi, words_of
from privdistill.evaluation.fidelity import form_of, length_distance, near_duplicate_share, samples_apart
from privdistill.evaluation.fluency import CharacterModel, bits_per_character
from privdistill.evaluation.intervals import half_sampled, wilson
from privdistill.evaluation.schema import Closeness, Measure, Variety
from privdistill.evaluation.subsets import Sample

__all__ = ["closeness", "variety"]

_MEASURES: tuple[Measure, ...] = ("frechet", "mauve", "precision", "recall")
_WORDS = 5000
_LEARNT = 5000
"""Records that the character model learns from, at most."""

Judge = Callable[[Sequence[str]], Estimate]


def closeness(
    made: Sample, tested: Sample, known: Sample | None, seen: Container[str], rng: np.random.Generator
) -> Iterator[Closeness]:
    """Distances in every space, all at one size; `seen` names the spaces that the rows were chosen by."""
    size = min(len(sample) for sample in (made, tested, known) if sample is not None)

    def part(sample: Sample, space: str) -> np.ndarray:
        return sample.spaces[space][rng.permutation(len(sample))[:size]]

    for space in made.spaces if size >= 4 else ():
        rows = samples_apart(part(made, space), part(tested, space), rng)
        real = None if known is None else samples_apart(part(known, space), part(tested, space), rng)
        for measure in _MEASURES:
            yield Closeness(
                space=space,
                seen_by_generator=space in seen,
                measure=measure,
                synthetic=getattr(rows, measure),
                real=None if real is None else getattr(real, measure),
            )


def variety(
    made: Sample,
    tested: Sample,
    known: Sample | None,
    describe: str | None,
    judge: tuple[str, Judge] | None,
    rng: np.random.Generator,
) -> Iterator[Variety]:
    """Properties of the rows, beside as many real training records.

    Args:
        made: synthetic rows.
        tested: test records.
        known: real training records, or None.
        describe: what the texts were declared to be, for echoes of the prompt.
        judge: name and perplexity of a neural model, or None.
        rng: randomness of subsets.
    """
    real = None if known is None else known.take(rng.permutation(len(known))[: len(made)])

    def both(measure: str, of: Callable[[Sample], Estimate | None]) -> Iterator[Variety]:
        found = of(made)
        if found is not None:
            yield Variety(measure=measure, synthetic=found, real=None if real is None else of(real))

    words = min(_WORDS, *(sum(len(words_of(t)) for t in one.texts) // 2 for one in (made, real) if one is not None))
    for order in (1, 2, 3):
        name = f"distinct {order}-grams in {words} words"
        yield from both(name, partial(_distinct, order=order, words=words, rng=rng))
    yield from both("self-BLEU (less is more varied)", lambda one: self_bleu(one.texts))
    if "encoder" in made.spaces:
        yield from both("Vendi score, encoder space", lambda one: _vendi(one, rng))
    yield from both("near-duplicates", lambda one: _share(near_duplicate_share(one.texts), one))
    for name in ("preambles", "unfinished", "echoes", "repeated_openings"):
        shown = name.replace("_", " ")
        yield from both(shown, partial(_form, name=name, describe=describe))
    yield from both("lengths against test records (total variation)", lambda one: _lengths(one, tested, rng))
    yield from _likelihood(made, tested, known, real, rng)
    if judge is not None:
        name, ask = judge
        yield from both(f"perplexity, {name}", lambda one: ask(one.texts))


def _likelihood(
    made: Sample, tested: Sample, known: Sample | None, real: Sample | None, rng: np.random.Generator
) -> Iterator[Variety]:
    """A character model of real records reads the rows; one of the rows reads test records."""
    if min(len(made), len(tested)) < 4:
        return
    if known is not None:
        learnt = CharacterModel([known.texts[i] for i in rng.permutation(len(known))[:_LEARNT]])
        yield Variety(
            measure="bits a character, learnt on real texts (real: test)",
            synthetic=bits_per_character(learnt, made.texts, rng),
            real=bits_per_character(learnt, tested.texts, rng),
        )
    yield Variety(
        measure="bits a character of test records, learnt here",
        synthetic=bits_per_character(CharacterModel(made.texts[:_LEARNT]), tested.texts, rng),
        real=None if real is None else bits_per_character(CharacterModel(real.texts[:_LEARNT]), tested.texts, rng),
    )


def _distinct(sample: Sample, order: int, words: int, rng: np.random.Generator) -> Estimate | None:
    return distinct(sample.texts, order, words, rng)


def _form(sample: Sample, name: str, describe: str | None) -> Estimate:
    return _share(getattr(form_of(sample.texts, describe), name), sample)


def _vendi(sample: Sample, rng: np.random.Generator) -> Estimate | None:
    points = sample.spaces["encoder"]
    if len(points) < 4:
        return None
    return half_sampled(lambda rows: vendi(points[rows[0]]), (len(points),), rng, "texts", (1.0, len(points)))


def _lengths(sample: Sample, tested: Sample, rng: np.random.Generator) -> Estimate | None:
    if min(len(sample), len(tested)) < 4:
        return None

    def apart(rows: Sequence[np.ndarray]) -> float:
        return length_distance([sample.texts[i] for i in rows[0]], [tested.texts[i] for i in rows[1]])

    return half_sampled(apart, (len(sample), len(tested)), rng, "texts", (0.0, 1.0))


def _share(share: float, sample: Sample) -> Estimate:
    return wilson(share, len(sample), "rows")
