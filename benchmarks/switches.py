"""The fixed list of what an ablation switches off, or tries, each as one change to the recipe while a row is made.

A switch either chooses anew from the candidates that are there (seconds) or has candidates written anew (a minute). The
list is written down before anything is measured and is the same for every corpus. It knows no corpus.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.keyword_prompts import drafts_with_words
from benchmarks.reweighting import as_the_pool_teaches, towards_all_rates, towards_moments, weighing
from privdistill.matching import target
from privdistill.matching.quotas import EXPONENT, quotas, tempered
from privdistill.recipes import distribution
from privdistill.synthesis import pool, selection, waves
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.selection.rehearsal import Division
from privdistill.synthesis.steering import Opening

__all__ = ["SWITCHES", "Switch", "switched"]

Change = tuple[Any, str, Any]


@dataclass(frozen=True)
class Switch:
    """One row of the ablation.

    Attributes:
        name: as the table prints it.
        changes: (owner, attribute, replacement) while the row is made.
        writes: whether candidates are written anew.
        recipe: `distribution` or `gradient`.
        refinement: of `gradient`.
        temperature: of soft labels that the students learn from, or None for labels.
        against: the row it is compared with.
    """

    name: str
    changes: tuple[Change, ...] = ()
    writes: bool = False
    recipe: str = "distribution"
    refinement: str = "none"
    temperature: float | None = None
    against: str = "distribution"


@contextmanager
def switched(switch: Switch) -> Iterator[None]:
    """Make the changes, and undo them."""
    with ExitStack() as undo:
        for owner, name, value in switch.changes:
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _steered(change: Callable[[Any], Any]) -> Change:
    """A steering that lacks something."""
    original = waves.make_steering
    return (waves, "make_steering", lambda *given, **named: change(original(*given, **named)))


def _no_words(steering: Any) -> Any:
    none = np.zeros(0, dtype=np.int64)
    return replace(steering, lexical=np.zeros_like(steering.lexical), indicative=none, telling=none)


def _no_openings(steering: Any) -> Any:
    nothing = Opening(np.zeros(0, dtype=np.int64), np.zeros(0))
    return replace(steering, first=nothing, positions=np.zeros_like(steering.positions))


def _only_bias(steering: Any, vocabularies: Any, rng: Any, rows: int) -> Any:
    del vocabularies, rng
    return np.repeat(steering.lexical[None].astype(np.float32), rows, axis=0)


def _as_written(text: str, ended: bool, **rules: Any) -> str | None:
    del ended, rules
    return " ".join(text.split()) or None


def _public_only(
    self: waves.Waves, wanted: Any, factor: Any, public: Any, encoded: Any, author: Any = None
) -> Candidates:
    del wanted, factor, author
    return self._public_candidates(public, encoded)


def _divided(power: float) -> Change:
    """Rows by one power of the noised counts, nothing tried."""

    def divide(candidates: Any, goal: Any, rows: int, believed: Any) -> Division:
        del candidates
        return Division(quotas(rows, tempered(goal.shares, believed, power)), power, {})

    return (distribution, "divided_rows", divide)


def _any_rows(candidates: Candidates, goal: Any, wanted: Sequence[int]) -> tuple[list[int], Any]:
    """Rows of the right class, in the order they were written in, whatever their statistics."""
    del goal
    seen, rows, owners = NearDuplicates(), [], []
    for k, quota in enumerate(wanted):
        fresh = [int(i) for i in np.flatnonzero(candidates.labels == k) if seen.add(candidates.texts[int(i)])][:quota]
        rows += fresh
        owners += [k] * len(fresh)
    return selection.filled(candidates, wanted, rows, owners, seen)


def _unchanged(rates: Any, counts: Any, believed: Any = None) -> Any:
    del counts, believed
    return rates


SWITCHES: tuple[Switch, ...] = (
    Switch("distribution"),
    # chosen anew from the same candidates
    Switch("prompt labels, teacher silent", ((Candidates, "labels", property(lambda self: self.aims)),)),
    Switch("no bonus for agreement", ((selection, "_AGREEMENT_BONUS", 0.0),)),
    Switch("classes by the usual power, untried", (_divided(EXPONENT),)),
    Switch("classes as counted", (_divided(1.0),)),
    Switch("balanced classes", (_divided(0.0),)),
    Switch("any rows of the class", ((distribution, "select", _any_rows),)),
    Switch("no students in the choice", ((selection, "_STUDENT_WEIGHTS", {"words": 0.0, "embeddings": 0.0}),)),
    Switch("no student of words in the choice", ((selection, "_STUDENT_WEIGHTS", {"words": 0.0, "embeddings": 24.0}),)),
    Switch(
        "no student of embeddings in the choice", ((selection, "_STUDENT_WEIGHTS", {"words": 32.0, "embeddings": 0.0}),)
    ),
    Switch("no embeddings in the choice", ((selection, "_MOMENT_WEIGHT", 0.0),)),
    Switch("no contrast in the choice", ((selection, "exaggerated", _unchanged),)),
    Switch("soft labels, temperature 0.5", temperature=0.5),
    Switch("soft labels, temperature 1", temperature=1.0),
    Switch("soft labels, temperature 2", temperature=2.0),
    # the same rows, weighed
    Switch("rows weighed to the noised moments", ((distribution, "herded", weighing(towards_moments)),)),
    Switch("rows weighed to all noised rates", ((distribution, "herded", weighing(towards_all_rates)),)),
    Switch("rows weighed to teach as the pool does", ((distribution, "herded", weighing(as_the_pool_teaches)),)),
    # written anew
    Switch("candidates written again", writes=True),
    Switch("no words in the steering", (_steered(_no_words), (pool, "emphasised", _only_bias)), writes=True),
    Switch("no emphasis of random words", ((pool, "emphasised", _only_bias),), writes=True),
    Switch("no openings in the steering", (_steered(_no_openings),), writes=True),
    Switch(
        "no steering",
        (_steered(lambda one: _no_openings(_no_words(one))), (pool, "emphasised", _only_bias)),
        writes=True,
    ),
    Switch("no contrast", ((target, "CONTRAST", 1.0),), writes=True),
    Switch("one wave", ((waves, "_WAVES", 1),), writes=True),
    Switch("two waves", ((waves, "_WAVES", 2),), writes=True),
    Switch("three waves", ((waves, "_WAVES", 3),), writes=True),
    Switch("no wave: the public pool, chosen", ((waves.Waves, "write", _public_only),), writes=True),
    Switch("no filter of form", ((pool, "tidy", _as_written),), writes=True),
    Switch("prompts name words of their class", ((waves.Waves, "_drafts", drafts_with_words),), writes=True),
    # the gradient recipe on a release of its own
    Switch("gradient", recipe="gradient"),
    Switch("gradient, classes by power 0.4", (_divided(0.4),), recipe="gradient", against="gradient"),
    Switch("gradient, classes by power 0.5", (_divided(0.5),), recipe="gradient", against="gradient"),
    Switch("gradient, refined by ADMM", recipe="gradient", refinement="admm", against="gradient"),
    Switch("gradient, refined model", recipe="gradient", refinement="language-model", against="gradient"),
)
"""In the order of the table."""
