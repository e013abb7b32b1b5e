"""How a caller bends the next-token scores of one batch while it is written, and divides its texts into fields.

Bias is about presence: what speaks for a token is spent once the token has been written, so that no word is repeated
for its bias; what speaks against it holds on. A text of several fields that would end before its last one goes on with
the divider instead: a small model ends its line after one field, however it is asked. It does not know the model or
where a bias comes from.
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
        divider: Sequence[int] = (),
        fields: int = 1,
    ) -> None:
        """Set up a batch.

        Args:
            stop: (V,) tokens that end a text.
            rows: row of `bias` and `opening` for each text of the batch.
            bias: (B, V) additive bias.
            opening: (B, P, V) extra bias of the first P tokens.
            may_end: (V,) tokens after which a text may end; None: all.
            divider: tokens between two fields.
            fields: of each text.
        """
        self._stop = stop
        self._divider = list(divider)
        self._mark = divider[0] if len(divider) == 1 else -1  # a divider of several tokens is never taken for one
        self._left = [fields - 1] * len(rows)
        self._due: list[list[int]] = [[] for _ in rows]  # tokens of a divider that was begun
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
        if self._divider:
            begins = last == self._divider[-1]  # (r,) an empty field helps nobody
            scores.masked_fill_(begins[:, None] & self._stop, -torch.inf)
            if self._mark >= 0:
                full = torch.as_tensor([not self._left[text] for text in texts.tolist()])  # (r,)
                scores[begins | full | (step == 0), self._mark] = -torch.inf
        if step == 0:
            scores.masked_fill_(self._stop, -torch.inf)  # an empty text helps nobody
        elif self._may_end is not None:
            scores.masked_fill_(~self._may_end[last, None] & self._stop, -torch.inf)

    def continued(self, texts: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """The tokens (r,) that some texts (r,) go on with: what was drawn, or the divider where a field ends."""
        if not self._divider:
            return tokens
        out = tokens.clone()
        for row, (text, token) in enumerate(zip(texts.tolist(), tokens.tolist(), strict=True)):
            due = self._due[text]
            if not due and self._left[text] and (bool(self._stop[token]) or token == self._mark):
                due += self._divider
                self._left[text] -= 1
            if due:
                out[row] = due.pop(0)
        return out

    def wrote(self, texts: torch.Tensor, tokens: torch.Tensor) -> None:
        """Spend what spoke for the tokens that were just written."""
        if self._own is not None:
            self._own[texts, tokens] = self._own[texts, tokens].clamp(max=0.0)
