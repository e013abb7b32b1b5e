"""How a caller bends the next-token scores of one batch while it is written.

Bias is about presence: what speaks for a token is spent once the token has been written, so that no word is repeated
for its bias; what speaks against it holds on. It does not know the model or where a bias comes from.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from privdistill.models.interface import BiasArray

__all__ = ["Guidance"]


class Guidance:
    """Bias, opening bias and permission to end, for the rows of one batch."""

    def __init__(
        self,
        stop: torch.Tensor,
        rows: Sequence[int],
        *,
        bias: BiasArray | None = None,
        opening: BiasArray | None = None,
        may_end: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Set up a batch.

        Args:
            stop: (V,) tokens that end a text.
            rows: row of `bias` and `opening` for each text of the batch.
            bias: (B, V) additive bias.
            opening: (B, P, V) extra bias of the first P tokens.
            may_end: (V,) tokens after which a text may end; None: all.
        """
        self._stop = stop
        self._index = torch.as_tensor(rows)  # (b,)
        self._own = None if bias is None else torch.as_tensor(bias, dtype=torch.float32)[self._index]  # (b, V), a copy
        self._opening = None if opening is None else torch.as_tensor(opening, dtype=torch.float32)  # (B, P, V)
        self._may_end = None if may_end is None else torch.as_tensor(may_end)  # (V,)

    def bend(self, scores: torch.Tensor, texts: torch.Tensor, step: int, last: torch.Tensor) -> None:
        """Change the scores (r, V) of some texts (r,) of the batch in place, given the token each wrote last (r,)."""
        if self._own is not None:
            scores += self._own[texts]
        if self._opening is not None and step < self._opening.shape[1]:
            scores += self._opening[self._index[texts], step]
        if step == 0:
            scores.masked_fill_(self._stop, -torch.inf)  # an empty text helps nobody
        elif self._may_end is not None:
            scores.masked_fill_(~self._may_end[last, None] & self._stop, -torch.inf)

    def wrote(self, texts: torch.Tensor, tokens: torch.Tensor) -> None:
        """Spend what spoke for the tokens that were just written."""
        if self._own is not None:
            self._own[texts, tokens] = self._own[texts, tokens].clamp(max=0.0)
