"""The pool of candidates: zero-shot public texts, then steered texts class by class.

It does not know private text, the teacher, or which candidates will be kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.models.interface import GenerativeModel
from privdistill.synthesis.form import tidy
from privdistill.synthesis.prompts import item_prompts
from privdistill.synthesis.steering import Steering, emphasised

__all__ = ["Draft", "Form", "public_pool", "public_words", "steered_drafts"]

IntArray = npt.NDArray[np.int64]
Report = Callable[[int, int], None]

_TOP_P = 0.95
_EMPHASIS_ROWS = 64
"""Distinct random emphases in one call of the sampler; each serves a few candidates."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A candidate text and the class it was written for."""

    text: str
    aim: int


@dataclass(frozen=True, slots=True)
class Form:
    """Public or noised facts about the shape of a text.

    Attributes:
        max_tokens: most tokens of one text.
        within: whether a text is short enough.
        whole_sentences: whether texts end with a sentence mark.
        strict: whether what is not well formed is dropped (a model that writes nothing else gets its way in the end).
    """

    max_tokens: int
    within: Callable[[str], bool]
    whole_sentences: bool
    strict: bool = True


def public_pool(
    model: GenerativeModel,
    describe: str | None,
    words: Sequence[str | None],
    size: int,
    *,
    max_tokens: int,
    rng: np.random.Generator,
    progress: Report,
) -> list[Draft]:
    """About `size` distinct zero-shot texts from prompts alone: no private information, epsilon 0.

    Their form is kept as the model gives it; the class is the one the prompt asked for.
    """
    prompts, aims = [], []
    for i in range(size):
        aim = i % len(words)
        wordings = item_prompts(describe, words[aim])
        prompts.append(wordings[(i // len(words)) % len(wordings)])
        aims.append(aim)
    written = model.sample(
        prompts, max_new_tokens=max_tokens, temperature=1.0, top_p=_TOP_P, rng=rng, progress=progress
    )
    drafts: dict[str, Draft] = {}
    for aim, (text, _) in zip(aims, written, strict=True):
        plain = " ".join(text.split())
        if plain:
            drafts.setdefault(plain, Draft(plain, aim))
    return list(drafts.values())


def steered_drafts(
    model: GenerativeModel,
    prompt: str,
    steering: Steering,
    aim: int,
    size: int,
    *,
    pieces: Sequence[str],
    words: IntArray,
    form: Form,
    rng: np.random.Generator,
    progress: Report,
) -> list[Draft]:
    """Texts of one class under its steering; what is not well formed is dropped, so fewer than `size` come back.

    Args:
        model: the language model.
        prompt: head of a list that ends right before an item.
        steering: of the class.
        aim: index of the class.
        size: how many to sample.
        pieces: text of each token.
        words: public words for random emphasis.
        form: what a text must look like.
        rng: randomness of the sampling.
        progress: told (done, in all).
    """
    first = steering.first
    left = max(0.0, 1.0 - float(first.shares.sum()))
    options = np.append(first.columns, -1)
    odds = np.append(first.shares, max(left, 0.02))
    openings = rng.choice(options, size=size, p=odds / odds.sum())  # (size,) token or -1 for the model's own
    rows = min(_EMPHASIS_ROWS, size)
    bias = emphasised(steering, words, rng, rows)  # (rows, V)
    drafts: list[Draft] = []
    done = 0
    for free in (False, True):
        chosen = openings[(openings < 0) == free]
        if not chosen.size:
            continue
        start = ["" if free else pieces[token] for token in chosen]
        index = [int(i) for i in rng.integers(rows, size=chosen.size)]
        written = model.sample(
            [prompt + one for one in start],
            max_new_tokens=form.max_tokens,
            temperature=1.0,
            top_p=_TOP_P,
            rng=rng,
            bias=bias,
            bias_index=index,
            opening_bias=_opening_bias(steering, bias, free=free),
            progress=lambda n, _, before=done: progress(before + n, size),
        )
        done += chosen.size
        for begin, (text, ended) in zip(start, written, strict=True):
            kept = tidy(begin + text, ended, within=form.within, whole_sentences=form.whole_sentences)
            if kept is None and not form.strict:
                kept = " ".join((begin + text).split()) or None
            if kept is not None:
                drafts.append(Draft(kept, aim))
    return drafts


def _opening_bias(steering: Steering, bias: npt.NDArray[np.float32], *, free: bool) -> npt.NDArray[np.float32]:
    """Bias of the first sampled tokens, (rows, steps, V), which replaces the lexical bias there.

    A text whose first word was drawn starts at the second position; a free one must not start with a word that has its own
    share already.
    """
    steps = steering.positions.astype(np.float32)
    if free:
        unlike = np.zeros((1, bias.shape[1]), dtype=np.float32)
        unlike[0, steering.first.columns] = -8.0
        steps = np.vstack([unlike, steps])
    out = np.repeat(steps[None], len(bias), axis=0)  # (rows, steps, V)
    out[:, :2] -= bias[:, None]  # function words at the start are steered by position only
    return out


def public_words(pieces: Sequence[str]) -> IntArray:
    """Tokens that are whole plain words: the vocabulary of random emphasis. A function of the tokenizer alone."""
    likely = len(pieces) * 3 // 5  # merges are learnt in order of frequency: the rarest words are left out
    return np.array([i for i, piece in enumerate(pieces[:likely]) if _is_word(piece)], dtype=np.int64)


def _is_word(piece: str) -> bool:
    return len(piece) >= 5 and piece[0] == " " and piece[1:].isalpha()
