"""Between tokens and vectors: texts as rows of vectors that can be moved, and back to the nearest fluent text.

`Relaxation` gives each token of the language model a vector in the input space of the sentence encoder (the mean of the
encoder's own input vectors for that piece of text), and runs the encoder on any such rows, differentiably. `decoded`
goes back by prompted decoding: at each position the language model takes the likeliest of the tokens nearest to the
vector there (top-k decoding, Nguyen et al. 2025, GRADMM).

A piece of several encoder tokens is one vector here and several in the real text, so the relaxed embedding is an
approximation: whoever uses it looks at the real text in the end. It does not know objectives or private text.
"""

from collections.abc import Sequence
from typing import Any

import torch

from privdistill.errors import UsageError
from privdistill.models.interface import TunableModel

__all__ = ["Relaxation", "decoded", "mean_losses"]


class Relaxation:
    """A sentence encoder on rows of vectors, and the vector of each token of a language model."""

    def __init__(self, sentences: Any, pieces: Sequence[str]) -> None:
        """Look up the vectors.

        Args:
            sentences: the sentence encoder (see `models.encoder`).
            pieces: text of each token of the language model.

        Raises:
            UsageError: the encoder has no input vectors that can be moved.
        """
        network, read = getattr(sentences, "network", None), getattr(sentences, "piece_ids", None)
        if network is None or read is None:
            raise UsageError("this encoder reads no vectors, so nothing can be refined with it; use refinement none")
        self._network = network.requires_grad_(False)
        own = network.get_input_embeddings().weight.detach().float()  # (W, D)
        ids, first, last = read(pieces)
        self.table = torch.zeros(len(pieces), own.shape[1])  # (V, D)
        usable = torch.zeros(len(pieces), dtype=torch.bool)
        for i, one in enumerate(ids):
            if one and pieces[i].isprintable() and "\ufffd" not in pieces[i]:
                self.table[i] = own[one].mean(dim=0)
                usable[i] = True
        self.usable = torch.nonzero(usable).squeeze(1)  # (U,) tokens that may be written
        if not len(self.usable):
            raise UsageError("encoder and language model share no piece of text; use refinement none")
        self._first, self._last = own[first], own[last]  # what stands around a text
        self.scale = float(self.table[self.usable].norm(dim=1).median())
        self._unit = torch.nn.functional.normalize(self.table[self.usable], dim=1)  # (U, D)

    def embed(self, vectors: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
        """Unit-norm embeddings (k, D) of rows of vectors (k, T, D), the first `lengths` of each; differentiable."""
        rows = [torch.cat([self._first, vectors[i, :n], self._last]) for i, n in enumerate(lengths)]
        whole = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # (k, T', D)
        mask = torch.zeros(whole.shape[:2], dtype=torch.long)  # (k, T')
        for i, row in enumerate(rows):
            mask[i, : len(row)] = 1
        kind = self._network.get_input_embeddings().weight.dtype
        hidden = self._network(inputs_embeds=whole.to(kind), attention_mask=mask).last_hidden_state.float()
        weight = mask.unsqueeze(-1).float()  # (k, T', 1)
        return torch.nn.functional.normalize((hidden * weight).sum(dim=1) / weight.sum(dim=1), dim=1)

    @torch.no_grad()
    def nearest(self, vectors: torch.Tensor, count: int) -> torch.Tensor:
        """Tokens (k, count) nearest by cosine to each of some vectors (k, D)."""
        likeness = torch.nn.functional.normalize(vectors, dim=1) @ self._unit.T  # (k, U)
        return self.usable[likeness.topk(min(count, len(self.usable)), dim=1).indices]


@torch.no_grad()
def decoded(
    model: TunableModel, prompt: str, relaxation: Relaxation, vectors: torch.Tensor, lengths: Sequence[int], count: int
) -> torch.Tensor:
    """Tokens (k, T): at each position, of the `count` nearest to its vector, the likeliest after what was written.

    Args:
        model: the language model.
        prompt: what the texts continue.
        relaxation: the vocabulary as vectors.
        vectors: (k, T, D).
        lengths: of each row; beyond it tokens are 0.
        count: how many tokens compete; 1 is plain nearest-token discretisation.
    """
    from transformers import DynamicCache

    network, (rows, longest, _) = model.network, vectors.shape
    out = torch.zeros(rows, longest, dtype=torch.long)  # (k, T)
    cache: Any = DynamicCache(config=network.config)
    fed = torch.as_tensor([model.token_ids(prompt)]).expand(rows, -1)  # (k, P)
    for position in range(longest):
        scores = network(fed, past_key_values=cache, use_cache=True).logits[:, -1]  # (k, V)
        near = relaxation.nearest(vectors[:, position], count)  # (k, count)
        best = scores.float().gather(1, near).argmax(dim=1, keepdim=True)  # (k, 1)
        fed = near.gather(1, best)  # (k, 1)
        out[:, position] = fed.squeeze(1)
    for i, n in enumerate(lengths):
        out[i, n:] = 0
    return out


@torch.no_grad()
def mean_losses(model: TunableModel, prompt: str, texts: Sequence[str], batch: int = 16) -> torch.Tensor:
    """Mean negative log-likelihood a token (n,) of each text after a prompt, as an item of the list it begins."""
    head, out = model.token_ids(prompt), torch.zeros(len(texts))
    ids = [model.token_ids(" " + text) or [0] for text in texts]
    for start in range(0, len(ids), batch):
        part = ids[start : start + batch]
        whole = torch.zeros(len(part), len(head) + max(map(len, part)), dtype=torch.long)  # (b, L)
        for row, one in zip(whole, part, strict=True):
            row[: len(head) + len(one)] = torch.as_tensor([*head, *one])
        scores = model.network(whole, use_cache=False).logits[:, len(head) - 1 : -1].float()  # (b, L - P, V)
        losses = torch.nn.functional.cross_entropy(scores.transpose(1, 2), whole[:, len(head) :], reduction="none")
        for i, one in enumerate(part):
            out[start + i] = losses[i, : len(one)].mean()
    return out
