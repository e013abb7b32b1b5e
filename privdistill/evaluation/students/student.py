"""What a student is: a small classifier that learns from one corpus and answers another.

It does not know which corpus is synthetic, nor how good an answer is.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privdistill.evaluation.subsets import Sample

__all__ = ["Answers", "Student"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Student:
    """A family of classifiers.

    Attributes:
        name: short name, a column of the tables.
        about: what it is, in words for a reader.
        space: the embeddings it reads, or None for texts.
        learn: training texts or embeddings, labels -> a function from test texts or embeddings to labels.
        load: brings whatever the first training of a process waits for (libraries, above all); later ones cost nothing.
    """

    name: str
    about: str
    space: str | None
    learn: Callable[[Any, Sequence[str]], Callable[[Any], Sequence[str]]]
    load: Callable[[], object] = lambda: None

    def answer(
        self,
        train: Sample,
        test: Sample,
        classes: Sequence[str],
        clock: Callable[[], float] = time.perf_counter,
    ) -> "Answers":
        """Train on one sample, answer another; a single training class is answered throughout.

        Loading comes before the clock starts: else whatever is trained on first would seem slow to train on.
        """
        known = sorted(set(train.labels))
        if len(known) < 2:
            words: Sequence[str] = [known[0] if known else classes[0]] * len(test)
            seconds = 0.0
        else:
            self.load()
            start = clock()
            ask = self.learn(self._reads(train), train.labels)
            seconds = clock() - start
            words = ask(self._reads(test))
        index = {name: k for k, name in enumerate(classes)}
        return Answers(np.array([index[word] for word in words], dtype=np.int64), seconds)

    def _reads(self, sample: Sample) -> Any:
        return list(sample.texts) if self.space is None else sample.spaces[self.space]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What a student said.

    Attributes:
        classes: (n,) index of the answered class.
        seconds: of training; embedding of the texts and loading of libraries not included.
    """

    classes: IntArray
    seconds: float
