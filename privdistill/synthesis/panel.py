"""Several DP teachers read off one release, where they disagree, and what is done about it.

The members look at different parts of the same noised sums: the single teacher, which looks at all of them; the
embedding moments alone, under three strengths of ridge; words and openings alone. All of it is post-processing. The
mean of their probabilities labels; a text whose class they dispute can be passed over by the selection until nothing
else is left, which is for the selection to say.

It does not know private text, nor how candidates are chosen.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from privdistill.features.encoded import Encoded
from privdistill.matching.target import NoisyTarget
from privdistill.mechanisms.release import FloatArray, MomentBlock, OpeningBlock, Release, TokenBlock
from privdistill.synthesis.teacher import Teacher, fit_teacher

__all__ = ["Panel", "fit_panel"]

_RIDGES = (3e-3, 3e-2, 3e-1)
_DISPUTED = 0.4
"""A text is disputed when so large a share of the members, or more, sees another class than their mean does: 2 of 5."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """Teachers of one release.

    Attributes:
        members: at least one; the first is what a single teacher would be.
    """

    members: tuple[Teacher, ...]

    def reading(self, texts: Encoded) -> FloatArray:
        """That of the first member, (n, K)."""
        return self.members[0].reading(texts)

    def probabilities(self, texts: Encoded) -> FloatArray:
        """Mean of the members' class probabilities, (n, K)."""
        return np.asarray(np.mean([member.probabilities(texts) for member in self.members], axis=0), dtype=np.float64)

    def disputed(self, texts: Encoded) -> npt.NDArray[np.bool_]:
        """Texts (n,) about which enough members disagree with all of them together."""
        answers = np.array([member.probabilities(texts) for member in self.members]).argmax(axis=2)  # (M, n)
        together = self.probabilities(texts).argmax(axis=1)  # (n,)
        return np.asarray((answers != together).mean(axis=0) >= _DISPUTED)


def fit_panel(
    release: Release,
    target: NoisyTarget,
    *,
    moment: MomentBlock,
    tokens: TokenBlock,
    opening: OpeningBlock,
) -> Panel:
    """Read the members off a release; the blocks are those of `fit_teacher`."""
    whole = [
        fit_teacher(release, target, moment=moment, tokens=tokens, opening=opening, ridge=ridge) for ridge in _RIDGES
    ]
    first = whole[0]
    embeddings = [replace(one, tokens=0 * one.tokens, openings=0 * one.openings) for one in whole]
    words = replace(first, weights=0 * first.weights, offset=np.log(target.shares))
    return Panel((first, *embeddings, words))
