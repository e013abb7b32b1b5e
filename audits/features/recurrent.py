"""A small recurrent language model, trained from nothing on the synthetic corpus, that scores source records.

Words are the examiner's tokens; only words of the synthetic corpus are known, others cost nothing on either side. A
fixed number of training tokens bounds the time. torch is imported when a model is trained, not before. It does not know
sides. It is small: what it misses, a larger model may find.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.features.tokens import Tokens

__all__ = ["TRAINING_TOKENS", "log_probabilities"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

TRAINING_TOKENS = 1_500_000
"""Tokens seen in training, all epochs together; at most twenty epochs."""
_EPOCHS = 20
_WIDTH = 96
_BATCH = 32
_LONGEST = 128
_KNOWN = 8_000


@dataclass(frozen=True, slots=True, eq=False)
class _Vocabulary:
    """Token number -> place in the model: 0 starts a text, 1 is any unknown word."""

    place: IntArray

    @classmethod
    def of(cls, tokens: Tokens, size: int) -> "_Vocabulary":
        counts = np.bincount(tokens.ids, minlength=size)
        best = np.argsort(-counts, kind="stable")[:_KNOWN]
        place = np.ones(size, np.int64)
        kept = best[counts[best] > 0]
        place[kept] = np.arange(2, len(kept) + 2)
        return cls(place)


def log_probabilities(synthetic: Tokens, source: Tokens, seed: int) -> FloatArray:
    """Return the log2 probability of every source token given what stands before it; 0 for words not known.

    Args:
        synthetic: texts to train on.
        source: texts to score.
        seed: of weights and of the order of batches.
    """
    import torch
    from torch import nn

    size = int(max(synthetic.ids.max(initial=0), source.ids.max(initial=0))) + 1
    known = _Vocabulary.of(synthetic, size)
    with torch.random.fork_rng():
        torch.manual_seed(seed % 2**31)
        words = int(known.place.max()) + 1
        embedding = nn.Embedding(words, _WIDTH)
        recurrent = nn.GRU(_WIDTH, _WIDTH, batch_first=True)
        drop = nn.Dropout(0.2)
        bias = nn.Parameter(torch.zeros(words))
        modules = nn.ModuleList([embedding, recurrent, drop])
        optimiser = torch.optim.Adam([*modules.parameters(), bias], lr=4e-3)

        def logits(batch: Any) -> Any:  # (batch, length) -> (batch, length, words); input and output share weights
            hidden, _ = recurrent(drop(embedding(batch[:, :-1])))
            return drop(hidden) @ embedding.weight.T + bias

        order = np.random.default_rng(seed)
        epochs = int(np.clip(TRAINING_TOKENS // max(len(synthetic.ids), 1), 1, _EPOCHS))
        texts = np.flatnonzero(synthetic.lengths > 0)
        left = TRAINING_TOKENS
        modules.train()
        for _ in range(epochs):
            shuffled = order.permutation(texts)
            for begin in range(0, len(shuffled), _BATCH):
                batch, valid = _batch(synthetic, known, shuffled[begin : begin + _BATCH])
                loss = nn.functional.cross_entropy(logits(batch)[valid], batch[:, 1:][valid])
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
                optimiser.step()
                left -= int(valid.sum())
                if left <= 0:
                    break
        modules.eval()
        found = np.zeros(len(source.ids))
        with torch.inference_mode():
            for begin in range(0, source.documents, _BATCH):
                chosen = np.arange(begin, min(begin + _BATCH, source.documents))
                batch, valid = _batch(source, known, chosen)
                chance = torch.log_softmax(logits(batch), dim=-1)
                taken = chance.gather(-1, batch[:, 1:, None])[..., 0] * (batch[:, 1:] > 1) / np.log(2.0)
                values = taken.numpy().astype(np.float64)
                for row, document in enumerate(chosen.tolist()):
                    start = int(source.starts[document])
                    length = min(int(source.lengths[document]), _LONGEST)
                    found[start : start + length] = values[row, :length]
    return found


def _batch(tokens: Tokens, known: _Vocabulary, chosen: IntArray) -> tuple[Any, Any]:
    """Padded word places with a start in front (batch, length + 1), and which targets are real (batch, length)."""
    import torch

    lengths = np.minimum(tokens.lengths[chosen], _LONGEST)
    longest = max(1, int(lengths.max(initial=0)))
    batch = np.zeros((len(chosen), longest + 1), np.int64)
    for row, (document, length) in enumerate(zip(chosen.tolist(), lengths.tolist(), strict=True)):
        start = int(tokens.starts[document])
        batch[row, 1 : length + 1] = known.place[tokens.ids[start : start + length]]
    valid = np.arange(longest)[None, :] < lengths[:, None]
    return torch.from_numpy(batch), torch.from_numpy(valid)
