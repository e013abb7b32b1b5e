"""Make canaries that a data-only audit can find: an ordinary opening, then words that nobody would put together.

The opening is that of a public text of the same kind, so that a generator takes the canary for one of its own; the
suffix is drawn uniformly from a vocabulary, without a language model, so that its return can hardly be chance.
Canaries that look like nothing in the corpus seem safe in such audits whatever the generator does. Randomness is the
operating system's. It does not know which canary will be planted.
"""

import secrets
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from audits.canaries.envelope import Canary, Envelope, commitment, is_inserted
from audits.errors import BadInputError
from audits.inputs.units import normalise

__all__ = ["PROBES", "Opening", "compose", "inserted_rows", "seal", "vocabulary"]

PROBES = (4, 16)
"""Repeats of the sensitivity probes."""
_OPENING_WORDS = 8
_SUFFIX_WORDS = 12
_LEAST_WORDS = 200
_COMMON = 5
_TRIES = 100


@dataclass(frozen=True, slots=True, repr=False)
class Opening:
    """The start of a public text, and its label."""

    text: str
    label: str | None = None


def vocabulary(texts: Iterable[str]) -> list[str]:
    """Return the words to draw suffixes from.

    A list of single words is taken whole. Of running texts, a word counts when at least five of them use it: what
    fewer use may be somebody's name.

    Raises:
        BadInputError: fewer than 200 such words.
    """
    from audits.features.tokens import tokenise

    lists = [tokenise(text) for text in texts]
    counts = Counter(word for words in lists for word in set(words))
    least = 1 if all(len(words) <= 1 for words in lists) else _COMMON
    found = sorted(word for word, count in counts.items() if count >= least and len(word) >= 3 and word.isalpha())
    if len(found) < _LEAST_WORDS:
        raise BadInputError(
            f"found {len(found)} words to make canaries of, expected at least {_LEAST_WORDS}; give a larger file"
        )
    return found


def compose(count: int, openings: Sequence[Opening], words: Sequence[str], repeats: int = 1) -> list[Canary]:
    """Return `count` different canaries: the first words of an opening, then twelve words at random.

    Raises:
        BadInputError: there is no opening.
    """
    if not openings:
        raise BadInputError("no opening for canaries; give public texts of the same kind with --public")
    order = list(range(len(openings)))
    secrets.SystemRandom().shuffle(order)
    made = []
    for number in range(count):
        opening = openings[order[number % len(order)]]
        start = " ".join(normalise(opening.text).split()[:_OPENING_WORDS]).rstrip(".,;:!?-")
        suffix = " ".join(secrets.choice(words) for _ in range(_SUFFIX_WORDS))
        made.append(Canary(text=f"{start} {suffix}".strip(), label=opening.label, repeats=repeats))
    return made


def seal(canaries: Sequence[Canary], key: bytes | None = None) -> Envelope:
    """Return the envelope of some canaries, under a fresh key if none is given.

    Raises:
        BadInputError: two canaries are the same text.
    """
    texts = [normalise(canary.text) for canary in canaries]
    if len(set(texts)) != len(texts) or not all(texts):
        raise BadInputError("two canaries are the same text, or one is empty; every canary has a coin of its own")
    coins = key or secrets.token_bytes(32)
    kept = tuple(canaries)
    return Envelope(key=coins.hex(), commitment=commitment(coins, kept), canaries=kept)


def inserted_rows(envelope: Envelope) -> list[tuple[str, str | None, str]]:
    """Return (text, label, unit) of every record to plant: each copy is a unit of its own, in random order."""
    key = bytes.fromhex(envelope.key)
    rows = [
        (canary.text, canary.label, f"canary-{secrets.token_hex(8)}")
        for canary in envelope.canaries
        if is_inserted(key, normalise(canary.text))
        for _ in range(canary.repeats)
    ]
    secrets.SystemRandom().shuffle(rows)
    return rows
