"""Recipe `evolution`: Private Evolution, cut to what two cores can write: the baseline that pays at every round.

Candidates start as the zero-shot pool. In each round every private record votes for the nearest candidate of its class,
the vote histogram is noised and thresholded, and the winners are kept together with variations that the language model
writes of them (Lin et al. 2024, arXiv:2305.15560; for text Xie et al. 2024, Aug-PE, arXiv:2403.01749). All rounds are
reserved up front, each is one full-batch Gaussian of a T-th of mu squared.

It departs from Aug-PE in seven ways. None changes what is guaranteed; those marked * change what the noise does:

* a variation continues a list whose last item is the parent, at temperature 1, instead of a paraphrase or filled-in
  blanks at 1.2: a small model paraphrases badly, and raves when hot.
* one variation for each free slot, as many as there are rows, instead of L - 1 = 6 of each selected text: writing is
  what costs time here; and * votes are shared by 2 candidates a row instead of 7, so each gets more of them.
* parents are drawn, with replacement, by their votes above the threshold (as in the first paper), beside survivors that
  are kept by rank (as in Aug-PE), instead of one selection for both: a strong parent may have several children.
* the threshold is two noise deviations instead of a constant: the budget sets the noise.
* T = 4 rounds instead of 10: time again; and * each round has 0.63 times the noise that ten would leave it.
* a class gets rows by all its noised votes of the first round: the paper leaves shares to the caller, and exact ones
  would be a release without noise.
* rows are the winners of the last histogram, near-duplicates last, and not variations of them (the end of the first
  paper's algorithm), which nobody has voted for.

It does not know private text: it sees histograms.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from privdistill.errors import MechanismError
from privdistill.features.fields import divided
from privdistill.matching.quotas import quotas
from privdistill.mechanisms.release import ClassRule, FloatArray, IntArray, Release, StatisticRequest, VoteBlock
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task
from privdistill.recipes.forecast import BlockForecast, Forecast
from privdistill.synthesis.form import tidy
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.pool import public_pool
from privdistill.synthesis.prompts import item_prompts, label_words

__all__ = ["EvolutionRecipe", "survivors", "vote_shares"]

_ROUNDS = 4
_BROOD = 2
"""Candidates voted on, per row: as many variations as parents."""
_TOKENS = 48
_TOP_P = 0.95
_THRESHOLD = 2.0
"""Votes below so many noise deviations do not make a parent (the threshold H of the paper)."""
_NOISE_FLOOR = 5.0


@dataclass(frozen=True, slots=True)
class _Population:
    """Candidate texts of each class."""

    texts: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.texts))


class EvolutionRecipe:
    """Vote histograms, paid every round."""

    name = "evolution"
    options: tuple[str, ...] = ()

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One histogram a round, in equal shares."""
        return tuple(PlannedMechanism(name, "gaussian", 1 / _ROUNDS) for name in _round_names())

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Five noise deviations of all votes of a class together, which is how large a class looks."""
        classes = len(task.labels) if task.labels else 1
        each = max(1.0, _BROOD * task.rows / classes)
        return _NOISE_FLOOR * noise_multipliers[_round_names()[0]] * float(np.sqrt(each))

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """One vote histogram a round; a cell is one candidate."""
        classes = len(task.labels) if task.labels else None if task.labelled else 1
        cells = None if classes is None else max(1, _BROOD * task.rows // classes)
        votes = BlockForecast("votes", noise_multipliers[_round_names()[0]], cells)
        return Forecast((votes,), (_BROOD + (_ROUNDS - 1) * (_BROOD - 1)) * task.rows, 0, classes=classes)

    def run(self, context: Context) -> RecipeRun:
        """Let records vote, keep winners, write variations, and again."""
        task = context.task
        labels = task.labels if task.labelled and task.labels else None
        words: list[str | None] = label_words(labels, task.label_descriptions, task.other) if labels else [None]
        rule = ClassRule(labels, other=task.other) if labels else ClassRule(("cluster-0",), other=0)
        population = _first(context, words)
        votes: list[FloatArray] = []
        wanted: list[int] = []
        facts: list[dict[str, float]] = []
        for number, name in enumerate(_round_names(), start=1):
            if number > 1:
                population = _next(context, words, population, votes, wanted, _deviation(context, number - 1))
            candidates = tuple(_embedded(context, texts) for texts in population.texts)
            release = yield StatisticRequest(name, rule, (VoteBlock(1.0, candidates),))
            votes = [row[: len(texts)] for row, texts in zip(release.block("votes"), population.texts, strict=True)]
            wanted = wanted or quotas(task.rows, vote_shares(release))
            facts.append(_round_facts(votes, release.noise["votes"]))
        return _rows(context, rule, population, votes, wanted, facts)


def vote_shares(release: Release) -> FloatArray:
    """Class shares (K,): all noised votes of a class, whoever they were for."""
    totals = release.block("votes").sum(axis=1)
    noise = release.noise["votes"] * np.sqrt(release.block("votes").shape[1])
    return np.asarray(np.maximum(totals, noise))


def survivors(votes: FloatArray, count: int) -> IntArray:
    """Candidates with the most noised votes, best first (selection by rank, as in Aug-PE)."""
    return np.asarray(np.argsort(-votes, kind="stable")[:count], dtype=np.int64)


def _round_names() -> tuple[str, ...]:
    return tuple(f"votes-{number}" for number in range(1, _ROUNDS + 1))


def _deviation(context: Context, number: int) -> float:
    noise = context.noise_multipliers[_round_names()[number - 1]]
    if noise is None:
        raise MechanismError("the votes were planned without noise; nothing is asked for")
    return noise


def _embedded(context: Context, texts: tuple[str, ...]) -> FloatArray:
    return context.encoder.encode(texts).embeddings.astype(np.float64)


def _first(context: Context, words: list[str | None]) -> _Population:
    """The zero-shot pool: a function of prompts alone."""
    task = context.task
    drafts = public_pool(
        context.language_model,
        task.describe,
        words,
        max(_BROOD * task.rows, 2 * len(words)),
        max_tokens=_TOKENS,
        rng=context.rng,
        progress=lambda done, total: context.progress("writing the public pool", done, total),
        fields=task.fields,
    )
    if not drafts:
        raise MechanismError("the language model wrote no usable text; choose another --model or add --describe")
    texts: list[dict[str, None]] = [{} for _ in words]
    count = max(len(task.fields), 1)
    for draft in drafts:
        plain = tidy(draft.text, True, within=lambda _: True, whole_sentences=False, fields=count)
        if plain is not None or divided(draft.text, count):
            texts[draft.aim].setdefault(plain or draft.text)
    return _Population(tuple(tuple(own) for own in texts))


def _next(
    context: Context,
    words: list[str | None],
    population: _Population,
    votes: list[FloatArray],
    wanted: list[int],
    deviation: float,
) -> _Population:
    """Survivors, and variations of parents drawn by their votes above the threshold."""
    kept = [
        [texts[i] for i in survivors(own, n)] for texts, own, n in zip(population.texts, votes, wanted, strict=True)
    ]
    prompts, aims = [], []
    count = max(len(context.task.fields), 1)
    for k, (texts, own) in enumerate(zip(population.texts, votes, strict=True)):
        strength = np.maximum(own - _THRESHOLD * deviation, 0.0)
        if not strength.sum() > 0:
            strength = np.ones(len(texts))
        heads = item_prompts(context.task.describe, words[k], context.task.fields)
        for i, parent in enumerate(_drawn(context, strength, _BROOD * wanted[k] - len(kept[k]))):
            head = heads[i % len(heads)]
            prompts.append(f"{head} {texts[parent]}\n{head[-1]}" if texts else head)
            aims.append(k)
    written = context.language_model.sample(
        prompts,
        max_new_tokens=_TOKENS,
        temperature=1.0,
        top_p=_TOP_P,
        rng=context.rng,
        fields=count,
        progress=lambda done, total: context.progress("writing variations", done, total),
    )
    grown = [dict.fromkeys(texts) for texts in kept]
    for (text, ended), aim in zip(written, aims, strict=True):
        plain = tidy(text, ended, within=lambda _: True, whole_sentences=False, fields=count)
        if plain is not None:
            grown[aim].setdefault(plain)
    return _Population(tuple(tuple(texts) for texts in grown))


def _drawn(context: Context, strength: FloatArray, count: int) -> list[int]:
    if count <= 0:
        return []
    if not strength.size:
        return [0] * count
    return [int(i) for i in context.rng.choice(len(strength), size=count, p=strength / strength.sum())]


def _rows(
    context: Context,
    rule: ClassRule,
    population: _Population,
    votes: list[FloatArray],
    wanted: list[int],
    facts: list[dict[str, float]],
) -> Rows:
    """The winners of the last round, near-duplicates last; repeated, and that is said, where there are too few."""
    seen = NearDuplicates()
    rows: list[tuple[str, int]] = []
    for k, (texts, own) in enumerate(zip(population.texts, votes, strict=True)):
        ranked = [texts[i] for i in survivors(own, len(texts))]
        fresh = [text for text in ranked if seen.add(text)]
        best = [*fresh, *(text for text in ranked if text not in set(fresh))]
        rows += [(best[i % len(best)], k) for i in range(wanted[k] if best else 0)]
    if not rows:
        raise MechanismError("the language model wrote no usable text; choose another --model or describe the texts")
    rows = [rows[i % len(rows)] for i in range(context.task.rows)]
    repeated = len(rows) - len({text for text, _ in rows})
    totals = [float(own.sum()) for own in votes]
    floor = [_NOISE_FLOOR * _deviation(context, _ROUNDS) * np.sqrt(max(own.size, 1)) for own in votes]
    return Rows(
        texts=tuple(text for text, _ in rows),
        labels=tuple(rule.names[k] for _, k in rows),
        soft_labels=None,
        class_names=rule.names,
        below_noise=tuple(name for name, n, least in zip(rule.names, totals, floor, strict=True) if n < least),
        facts={"rounds": facts, "rows_repeated": repeated},
    )


def _round_facts(votes: list[FloatArray], deviation: float) -> dict[str, float]:
    every = np.concatenate(votes)
    return {
        "candidates": int(every.size),
        "mean_noised_votes": round(float(every.mean()), 2),
        "vote_noise": round(deviation, 2),
        "share_above_three_deviations": round(float(np.mean(every > 3 * deviation)), 4),
    }
