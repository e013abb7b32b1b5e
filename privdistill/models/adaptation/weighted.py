"""Training adapters on public texts, each text with a weight of either sign on its loss.

What a weight means is the caller's: it sees the mean negative log-likelihood of every text of a batch and answers with
one number a text; the step goes down the weighted sum of losses. Activations below the cut are computed once a text.

Nothing here is private and nothing is noised: it must never be given a record. `mechanisms.finetuning` trains on
records, under DP-SGD. It does not know gradients of classifiers, prompts' meaning, or what the trained model writes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from privdistill.models.adaptation.tail import Tail, padded_length
from privdistill.models.interface import TunableModel

__all__ = ["Reading", "WeightedTraining"]

FloatArray = npt.NDArray[np.float64]

_ROWS = 8
"""Texts whose logits exist at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """One public text after its prompt, read up to the cut.

    Attributes:
        hidden: (L, H) activations below the adapted layers.
        targets: (n,) token ids of the text.
        first: position whose output predicts the first of them.
    """

    hidden: torch.Tensor
    targets: torch.Tensor
    first: int


class WeightedTraining:
    """Adapters in the last layers of a model, and Adam on them."""

    def __init__(self, model: TunableModel, *, layers: int, rank: int, rate: float) -> None:
        """Attach untrained adapters.

        Raises:
            AssetError: the model has fewer layers, or cannot be cut.
        """
        self._model = model
        self._tail = Tail(model.network, layers, rank)
        self._adam = torch.optim.Adam(list(self._tail.matrices.values()), lr=rate)

    def read(self, prompt: str, texts: Sequence[str]) -> list[Reading]:
        """Activations of public texts as items of the list that the prompt begins."""
        head, out = self._model.token_ids(prompt), []
        for text in texts:
            own = self._model.token_ids(" " + text)
            ids = torch.zeros(1, padded_length(len(head) + len(own)), dtype=torch.long)  # (1, L)
            ids[0, : len(head) + len(own)] = torch.as_tensor([*head, *own])
            out.append(Reading(self._tail.below(ids)[0], torch.as_tensor(own), len(head) - 1))
        return out

    @torch.no_grad()
    def losses(self, batch: Sequence[Reading]) -> FloatArray:
        """Mean negative log-likelihood a token of each text, (n,)."""
        return np.array([float(one) for part in _parts(batch) for one in self._losses(part)])

    def step(self, batch: Sequence[Reading], weigh: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """One step of Adam down the weighted sum of losses; returns the weights."""
        weights = weigh(self.losses(batch))  # (n,)
        self._adam.zero_grad()
        start = 0
        for part in _parts(batch):
            own = torch.as_tensor(weights[start : start + len(part)], dtype=torch.float32)
            (torch.stack(self._losses(part)) * own).sum().backward()
            start += len(part)
        self._adam.step()
        return weights

    def corrections(self) -> dict[str, FloatArray]:
        """What was learnt, for `TunableModel.adapted`."""
        return {name: one.detach().double().numpy().copy() for name, one in self._tail.matrices.items()}

    def _losses(self, batch: Sequence[Reading]) -> list[torch.Tensor]:
        hidden = torch.nn.utils.rnn.pad_sequence([one.hidden for one in batch], batch_first=True)  # (b, L, H)
        seen = self._tail.above(hidden)  # (b, L, H)
        out = []
        for row, one in zip(seen, batch, strict=True):
            window = row[one.first : one.first + len(one.targets)]  # (n, H)
            scores = torch.nn.functional.linear(window, self._tail.head, self._tail.head_bias).float()  # (n, V)
            out.append(torch.nn.functional.cross_entropy(scores, one.targets))
        return out


def _parts(batch: Sequence[Reading]) -> list[Sequence[Reading]]:
    return [batch[i : i + _ROWS] for i in range(0, len(batch), _ROWS)]
