"""What is planted: one cell of the benchmark is a corpus, its sizes, a leak, and a rate of phantoms.

Phantoms are the same kind of match planted for units of either side at random: matches without membership. Every
function takes the train side and returns what a row of the release looks like when the unit has leaked.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audits.features.alignment import changed_words
from benchmarks.audit.texts import invented, people, pool, shuffled

__all__ = ["CELLS", "Cell", "Corpora"]

Leak = Callable[[list[str], list[str], np.random.Generator], list[str]]
_LETTERS_EACH = 5
_SENTENCES_EACH = 3


@dataclass(frozen=True)
class Corpora:
    """Three disjoint sets of texts; with people, the owner of each private text."""

    train: list[str]
    holdout: list[str]
    rows: list[str]
    train_owners: list[str] | None = None
    holdout_owners: list[str] | None = None


@dataclass(frozen=True)
class Cell:
    """One line of the table."""

    name: str
    kind: str
    count: int
    phantoms: float = 0.0
    corpus: str = "reviews"
    side: int = 4_000
    rows: int = 2_000
    seeds: int = 100
    asked: bool = False

    def draw(self, seed: int) -> Corpora:
        """The corpora of one seed, the leak planted."""
        rng = np.random.default_rng([seed, 7])
        if self.kind == "people":
            return _people(self, seed, rng)
        size = 2 * self.side + self.rows
        texts = invented(size, seed) if self.corpus == "invented" else shuffled(pool(self.corpus), seed)[:size]
        private, rows = texts[: 2 * self.side], texts[2 * self.side : size]
        if self.kind in ("addresses", "nothing"):
            private = _with_addresses(private, rng)
        train, holdout = private[: self.side], private[self.side :]
        leak = LEAKS[self.kind]
        met = [i for i in rng.permutation(2 * self.side)[: round(self.phantoms * 2 * self.side)].tolist()]
        planted = leak(_pick(self.kind, train, self.count, rng), rows, rng)
        planted += leak(_exactly(self.kind, [private[i] for i in met], private, rng), rows, rng)
        return Corpora(train, holdout, rows[: self.rows - len(planted)] + planted)


def _with_addresses(texts: list[str], rng: np.random.Generator) -> list[str]:
    """Every tenth private text carries an address of its own."""
    marks = rng.integers(10**9, 10**10, len(texts))
    return [f"{t} write to u{marks[i]}@example.org" if i % 10 == 0 else t for i, t in enumerate(texts)]


def _pick(kind: str, train: list[str], count: int, rng: np.random.Generator) -> list[str]:
    if kind == "addresses":
        train = [text for text in train if "@example.org" in text]
    if kind == "tail":  # the longest one in a hundred
        train = sorted(train, key=lambda text: (len(text.split()), text))[-max(count, len(train) // 100) :]
    return [train[i] for i in rng.choice(len(train), count, replace=False)]


def _exactly(kind: str, met: list[str], private: list[str], rng: np.random.Generator) -> list[str]:
    """Phantoms of the same kind: for addresses, as many units that have one."""
    if kind != "addresses":
        return met
    carriers = [text for text in private if "@example.org" in text]
    return [carriers[i] for i in rng.choice(len(carriers), len(met), replace=False)]


def _nothing(chosen: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    return []


def _verbatim(chosen: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    return list(chosen)


def _near(chosen: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """One word in twelve changed."""
    return list(changed_words([text.split() for text in chosen], rng))


def _reworded(chosen: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """One word in three changed and the halves swapped: no paraphrase by a model, and as hard for matching by words."""
    turned = []
    for words in (text.split() for text in _changed(chosen, rng)):
        turned.append(" ".join(words[len(words) // 2 :] + words[: len(words) // 2]))
    return turned


def _changed(chosen: list[str], rng: np.random.Generator) -> list[str]:
    return list(changed_words([text.split() for text in chosen], rng, every=3))


def _addresses(chosen: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    hosts = rng.choice(len(rows), len(chosen), replace=False)
    return [f"{rows[i]} {text.rsplit(' ', 1)[1]}" for i, text in zip(hosts, chosen, strict=True)]


def _people(cell: Cell, seed: int, rng: np.random.Generator) -> Corpora:
    if cell.corpus == "invented":
        texts = invented(2 * cell.side * _SENTENCES_EACH + cell.rows, seed)
        start = 2 * cell.side * _SENTENCES_EACH
        owned = {f"p{i}": texts[i * _SENTENCES_EACH : (i + 1) * _SENTENCES_EACH] for i in range(2 * cell.side)}
        others = texts[start:]
    else:
        names = shuffled(tuple(people()), seed)
        owned = {name: list(people()[name][:_LETTERS_EACH]) for name in names[: 2 * cell.side]}
        others = [text for name in names[2 * cell.side :] for text in people()[name]][: cell.rows]
    names = list(owned)
    sides = (names[: cell.side], names[cell.side :])
    leaked = [text for i in rng.choice(cell.side, cell.count, replace=False) for text in owned[names[i]]]
    train, holdout = ([text for name in side for text in owned[name]] for side in sides)
    owners = [[name for name in side for _ in owned[name]] for side in sides]
    return Corpora(train, holdout, others + leaked, owners[0], owners[1])


LEAKS: dict[str, Leak] = {
    "nothing": _nothing,
    "verbatim": _verbatim,
    "tail": _verbatim,
    "near": _near,
    "reworded": _reworded,
    "addresses": _addresses,
}

CELLS = {
    cell.name: cell
    for cell in (
        Cell("20 rows verbatim, 0.1 % phantoms", "verbatim", 20, 0.001, seeds=300, asked=True),
        Cell("40 near-copies (1 word in 12), 0.5 % phantoms", "near", 40, 0.005, seeds=300, asked=True),
        Cell("20 addresses inside other text, 0.1 % phantoms", "addresses", 20, 0.001, asked=True),
        Cell("10 people of 1,000 + 1,000, no phantoms", "people", 10, corpus="invented", side=1_000, asked=True),
        Cell("nothing (film reviews)", "nothing", 0, seeds=200),
        Cell("nothing (independent invented corpora)", "nothing", 0, 0, "invented", 900, 400, 200),
        Cell("10 e-mail senders of 600 + 600", "people", 10, corpus="letters", side=600, seeds=30),
        Cell("nothing (e-mail senders, 600 + 600)", "people", 0, corpus="letters", side=600, seeds=30),
        Cell("20 rows verbatim, no phantoms", "verbatim", 20, seeds=30),
        Cell("5 rows verbatim (few records)", "verbatim", 5, seeds=30),
        Cell("20 rows verbatim, of the longest 1 % (tail only)", "tail", 20, seeds=30),
        Cell("40 rows reworded (1 word in 3, halves swapped)", "reworded", 40, seeds=30),
        Cell("200 rows reworded (1 word in 3, halves swapped)", "reworded", 200, seeds=30),
        Cell("20 rows verbatim (questions, 1,700 + 1,700)", "verbatim", 20, 0, "questions", 1_700, 1_000, 30),
        Cell("20 rows verbatim (messages, 1,400 + 1,400)", "verbatim", 20, 0, "messages", 1_400, 1_000, 30),
        Cell("nothing (messages)", "nothing", 0, 0, "messages", 1_400, 1_000, 100),
        *(Cell(f"curve: {n} rows verbatim", "verbatim", n, seeds=20) for n in (4, 7, 10, 14)),
        *(Cell(f"curve: {n} near-copies", "near", n, seeds=20) for n in (5, 10, 20)),
        *(Cell(f"curve: {n} addresses", "addresses", n, seeds=20) for n in (5, 7, 10)),
    )
}
