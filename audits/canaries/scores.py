"""How plainly each canary shows in the synthetic corpus: the same features as for source records, on canaries.

The reference is everybody else's text: the source, the public reference and the other canaries. Coins do not enter.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import Rarity, rarity
from audits.features.runs import SharedRuns, shared_runs
from audits.features.tokens import Tokens, join

__all__ = ["CanaryFeatures"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class CanaryFeatures:
    """Canaries that can be looked for in any synthetic corpus.

    Attributes:
        tokens: of the canaries.
        rare: surprisal of their tokens to everybody else.
    """

    tokens: Tokens
    rare: Rarity

    @classmethod
    def of(cls, tokens: Tokens, others: Tokens) -> "CanaryFeatures":
        """Prepare canaries against everybody else's texts."""
        return cls(tokens, rarity(tokens, np.arange(tokens.documents, dtype=np.int64), others))

    def likelihood(self, synthetic: Tokens) -> FloatArray:
        """Return the membership score of every canary."""
        return likelihood_ratio(self.tokens, synthetic, self.rare)

    def runs(self, synthetic: Tokens) -> SharedRuns:
        """Return the longest shared run of every canary."""
        return shared_runs(self.tokens, synthetic, self.rare.bits)

    def copied(self, synthetic: Tokens, which: IntArray) -> tuple[FloatArray, SharedRuns]:
        """Return both features as they would be if some of the canaries stood in the synthetic corpus."""
        more = join(synthetic, self.tokens.take(which))
        return self.likelihood(more), self.runs(more)
