"""The pool of candidates: zero-shot public texts, then steered texts class by class.

It does not know private text, the teacher, or which candidates will be kept.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.features.encoded import TokenModel
from privdistill.features.fields import divided
from privdistill.models.interface import BiasArray, GenerativeModel
from privdistill.synthesis.form import tidy
from privdistill.synthesis.prompts import item_prompts
from privdistill.synthesis.steering import Steering, emphasised

__all__ = ["Draft", "Form", "public_pool", "public_shortlist", "public_words", "steered_drafts"]

IntArray = npt.NDArray[np.int64]
Report = Callable[[int, int], None]

_TOP_P = 0.95
_EMPHASIS_ROWS = 24
"""Distinct random emphases of a class in one wave; each serves a few candidates."""


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
        may_end: (V,) tokens after which a text may end, or None.
        fields: names of the fields that a text is made of, or none.
        strict: whether what is not well formed is dropped (a model that writes nothing else gets its way in the end).
    """

    max_tokens: int
    within: Callable[[str], bool]
    whole_sentences: bool
    may_end: npt.NDArray[np.bool_] | None = None
    strict: bool = True
    fields: tuple[str, ...] = ()

    def tidy(self, text: str, ended: bool) -> str | None:
        """The text made plain, or None when it is not well formed."""
        count = max(len(self.fields), 1)
        return tidy(text, ended, within=self.within, whole_sentences=self.whole_sentences, fields=count)

    def bare(self, text: str) -> str | None:
        """The text as it is but for white space and broken characters, or None when it has not its fields."""
        plain = " ".join(text.replace("\ufffd", "").split())
        return plain if plain and divided(plain, max(len(self.fields), 1)) else None


def public_pool(
    model: GenerativeModel,
    describe: str | None,
    words: Sequence[str | None],
    size: int,
    *,
    max_tokens: int,
    rng: np.random.Generator,
    progress: Report,
    fields: Sequence[str] = (),
) -> list[Draft]:
    """About `size` distinct zero-shot texts from prompts alone: no private information, epsilon 0.

    Their form is kept as the model gives it; the class is the one the prompt asked for.
    """
    prompts, aims = [], []
    for i in range(size):
        aim = i % len(words)
        wordings = item_prompts(describe, words[aim], fields)
        prompts.append(wordings[(i // len(words)) % len(wordings)])
        aims.append(aim)
    written = model.sample(
        prompts,
        max_new_tokens=max_tokens,
        temperature=1.0,
        top_p=_TOP_P,
        rng=rng,
        fields=max(len(fields), 1),
        progress=progress,
    )
    drafts: dict[str, Draft] = {}
    for aim, (text, _) in zip(aims, written, strict=True):
        plain = " ".join(text.split())
        if plain:
            drafts.setdefault(plain, Draft(plain, aim))
    return list(drafts.values())


def steered_drafts(
    model: GenerativeModel,
    prompts: Sequence[str],
    steerings: Sequence[Steering],
    sizes: Sequence[int],
    *,
    vocabularies: Sequence[IntArray],
    form: Form,
    rng: np.random.Generator,
    progress: Report,
) -> list[Draft]:
    """Texts of every class under its steering; what is not well formed is dropped, so fewer than asked for come back.

    All classes are sampled together: large batches cost little more than small ones.

    Args:
        model: the language model.
        prompts: for each class, the head of a list that ends right before an item.
        steerings: one for each class.
        sizes: how many texts to sample of each class.
        vocabularies: words for random emphasis.
        form: what a text must look like.
        rng: randomness of the sampling.
        progress: told (done, in all).
    """
    heads, starts, aims, index = [], [], [], []
    lexical: list[BiasArray] = []
    opening: list[BiasArray] = []
    for aim, (prompt, steering, size) in enumerate(zip(prompts, steerings, sizes, strict=True)):
        if not size:
            continue
        bias = emphasised(steering, vocabularies, rng, min(_EMPHASIS_ROWS, size))  # (rows, V)
        offset = sum(map(len, lexical))
        lexical += [bias, bias]
        opening += [_opening_bias(steering, bias, free=False), _opening_bias(steering, bias, free=True)]
        for token in _first_words(steering, size, rng):
            start = "" if token < 0 else model.pieces[token]
            heads.append(prompt + start)
            starts.append(start)
            aims.append(aim)
            index.append(offset + int(rng.integers(len(bias))) + (len(bias) if token < 0 else 0))
    if not heads:
        return []
    order = rng.permutation(len(heads))
    written = model.sample(
        [heads[i] for i in order],
        max_new_tokens=form.max_tokens,
        temperature=1.0,
        top_p=_TOP_P,
        rng=rng,
        bias=np.vstack(lexical),
        bias_index=[index[i] for i in order],
        opening_bias=np.vstack(opening),
        may_end=form.may_end,
        fields=max(len(form.fields), 1),
        progress=progress,
    )
    drafts = []
    for i, (text, ended) in zip(order, written, strict=True):
        whole = starts[i] + text
        kept = form.tidy(whole, ended)
        if kept is None and not form.strict:
            kept = form.bare(whole)
        if kept is not None:
            drafts.append(Draft(kept, aims[i]))
    return drafts


def _first_words(steering: Steering, size: int, rng: np.random.Generator) -> IntArray:
    """First tokens drawn from the noised histogram, -1 where the model is left to choose; (size,)."""
    shares = steering.first.shares
    odds = np.append(shares, max(0.02, 1.0 - float(shares.sum())))
    return rng.choice(np.append(steering.first.columns, -1), size=size, p=odds / odds.sum())


def _opening_bias(steering: Steering, bias: BiasArray, *, free: bool) -> BiasArray:
    """Bias of the first sampled tokens, (rows, P, V), which replaces the lexical bias there.

    A text whose first word was drawn starts at the second position; a free one must not start with a word that has its
    own share already. Function words at the start are steered by position only.
    """
    steps = steering.positions.astype(np.float32)  # (P - 1, V)
    out = np.zeros((len(bias), len(steps) + 1, bias.shape[1]), dtype=np.float32)  # (rows, P, V)
    if free:
        out[:, 0, steering.first.columns] = -8.0
        out[:, 1:] = steps
    else:
        out[:, :-1] = steps
    out[:, : 2 if free else 1] -= bias[:, None]
    return out


def public_words(pieces: Sequence[str]) -> IntArray:
    """Tokens that are whole plain words: the vocabulary of random emphasis. A function of the tokenizer alone."""
    likely = len(pieces) * 3 // 5  # merges are learnt in order of frequency: the rarest words are left out
    return np.array([i for i, piece in enumerate(pieces[:likely]) if _is_word(piece)], dtype=np.int64)


def public_shortlist(pool: Sequence[Draft], tokenizer: TokenModel, size: int, *, always: Sequence[int]) -> IntArray:
    """At most `size` token ids: `always`, then the most frequent of the pool, then the first of the vocabulary; sorted.

    It counts the texts of drafts, which a language model wrote, and takes no token ids of anything else. Where the pool
    has too few tokens, ids fill up: merges are learnt in order of frequency.

    Args:
        pool: zero-shot texts, as `public_pool` gives them.
        tokenizer: of the language model.
        size: how many.
        always: ids that are in whatever their frequency.
    """
    counts = np.zeros(tokenizer.size, dtype=np.int64)  # (V,)
    for ids in tokenizer.ids([draft.text for draft in pool]):
        np.add.at(counts, np.asarray(ids, dtype=np.int64), 1)
    counts[np.asarray(always, dtype=np.int64)] = np.iinfo(np.int64).max
    return np.sort(np.argsort(-counts, kind="stable")[:size])  # ties: lower ids first


def _is_word(piece: str) -> bool:
    return len(piece) >= 5 and piece[0] == " " and piece[1:].isalpha()
