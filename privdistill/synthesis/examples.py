"""Prompts that show candidates chosen so far as examples, and whether that makes classes differ more like the corpus.

A list whose first items are already like the corpus is continued in its manner; of some corpora that says more than a
description, of others it only makes texts alike. So both are tried, and the noised statistic decides. Examples are
texts that the model wrote itself: nothing here costs privacy.

It does not know private text, nor how a text is written.
"""

from collections.abc import Sequence

import numpy as np

from privdistill.matching.target import NoisyTarget
from privdistill.synthesis.selection import Candidates, select

__all__ = ["contrast", "example_prompts", "examples_help", "shots"]

_SHOTS = 3
_EXAMPLE_TOKENS = 192
"""Most tokens of examples in a prompt: its keys and values are kept once for every text of a batch."""
_PROMPTS = 48
"""About so many distinct prompts in one wave; what is read of each is kept until the wave is written."""
_PROMPTS_OF_CLASS = (2, 16)
_CHOSEN_SHARE = 4
"""One in so many candidates may be an example."""
_LEAST_GAIN = 0.03
"""Of the cosine: less is not worth the longer prompts."""
_BLOCKS = 10
_LEAST_SIGNAL = 0.25
"""Of a squared length that is left when chance is taken out: less cannot be told from none."""


def shots(max_tokens: int) -> int:
    """How many texts of at most `max_tokens` a prompt shows; 0 where they are too long for that."""
    return min(_SHOTS, _EXAMPLE_TOKENS // max(max_tokens, 1))


def example_prompts(
    heads: Sequence[str],
    candidates: Candidates,
    target: NoisyTarget,
    wanted: Sequence[int],
    count: int,
    rng: np.random.Generator,
) -> list[list[str]]:
    """For each class, prompts that go on from its head through `count` examples of it to where an item begins.

    Examples are rows that would be chosen now. A class that has fewer than `count` keeps its head alone.

    Args:
        heads: for each class, the head of a list, which ends in the mark that begins an item.
        candidates: what was written so far.
        target: what rows are chosen by.
        wanted: rows of each class.
        count: examples in one prompt, at least one.
        rng: randomness of the draw.
    """
    share = min(1.0, len(candidates.texts) / _CHOSEN_SHARE / max(sum(wanted), 1))
    rows, owners = select(candidates, target, [int(np.ceil(share * rows)) for rows in wanted])
    chosen = np.asarray(rows, dtype=np.int64)
    prompts = int(np.clip(_PROMPTS // len(heads), *_PROMPTS_OF_CLASS))
    out = []
    for k, head in enumerate(heads):
        own = chosen[(owners == k) & (candidates.labels[chosen] == k)]
        if own.size < count:
            out.append([head])
            continue
        draws = [rng.choice(own, count, replace=False) for _ in range(prompts)]
        out.append([_shown(head, [candidates.texts[i] for i in draw]) for draw in draws])
    return out


def contrast(candidates: Candidates, target: NoisyTarget) -> float:
    """Cosine of what sets the classes of some texts apart with what sets the noised ones apart.

    Classes are those that the teacher sees. Each word column counts by one over its rate, each class by its noised
    share. What means of so few texts are off by themselves is taken out of the length of the first vector, so that
    fewer texts are at no disadvantage. How common a word is over all classes does not enter: steering sees to that.

    Returns:
        About -1 to 1 (sampling may lead beyond); 0 where fewer than two classes have two texts.
    """
    labels = candidates.labels
    sizes = np.bincount(labels, minlength=len(target.classes))
    known = np.flatnonzero(sizes > 1)
    if known.size < 2:
        return 0.0
    shares = target.shares[known] / target.shares[known].sum()  # (K,)
    goal = np.stack([target.classes[k].tokens for k in known])  # (K, G)
    weights = 1 / (shares @ goal + shares @ target.deviation[known] + 1e-6)  # (G,)
    parts = [candidates.tokens[labels == k] for k in known]
    means = np.stack([part.mean(axis=0) for part in parts])
    chance = np.stack([part.var(axis=0, ddof=1) / len(part) for part in parts])
    written, wanted = means - shares @ means, goal - shares @ goal
    # A class is part of the mean it is compared with.
    off = chance * (1 - 2 * shares[:, None]) + (shares**2) @ chance
    along, own, full = (float(shares @ one @ weights) for one in (written * wanted, written**2 - off, wanted**2))
    plain = float(shares @ written**2 @ weights)
    return along / float(np.sqrt(max(own, _LEAST_SIGNAL * plain, 1e-12) * max(full, 1e-12)))


def examples_help(described: Candidates, shown: Candidates, target: NoisyTarget) -> tuple[bool, dict[str, float]]:
    """Whether texts written after examples tell the classes apart more like the corpus does.

    Args:
        described: texts written from descriptions.
        shown: texts written after examples.
        target: what both should be like.

    Returns:
        The answer, yes only if the contrast gains enough and more than its standard deviation (jackknife over ten
        blocks); and the numbers behind it.
    """
    before, after = contrast(described, target), contrast(shown, target)
    leaves = np.array(
        [contrast(_without(shown, i), target) - contrast(_without(described, i), target) for i in range(_BLOCKS)]
    )
    deviation = float(np.sqrt((_BLOCKS - 1) * leaves.var()))
    gain = after - before
    facts = {"described": before, "with_examples": after, "deviation_of_difference": deviation}
    return gain > max(_LEAST_GAIN, deviation), {name: round(value, 4) for name, value in facts.items()}


def _without(candidates: Candidates, block: int) -> Candidates:
    return candidates.take(np.flatnonzero(np.arange(len(candidates.texts)) % _BLOCKS != block))


def _shown(head: str, texts: Sequence[str]) -> str:
    """The head of a list, continued by items up to the mark of one more."""
    return head + "".join(f" {text}\n{head[-1]}" for text in texts)
