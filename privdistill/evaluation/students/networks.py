"""Students that learn by gradient descent: a small transformer from nothing, and a fine-tuned encoder.

Both have a fixed recipe and a fixed seed of their own, without a look at test records or an early stop. Randomness is
forked, so that nobody else's generator is touched. It does not know where texts come from.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from privdistill.errors import AssetError
from privdistill.evaluation.students.student import Student

__all__ = ["finetuned", "train_small_transformer"]

_SEED = 0
_WORD = re.compile(r"\w+|[^\w\s]")
_VOCABULARY, _LENGTH, _WIDTH, _HEADS, _LAYERS = 8000, 64, 64, 4, 2
_BATCH, _EPOCHS, _STEPS = 64, 10, (300, 1200)
_RATE, _DECAY, _WARM = 2e-3, 0.05, 0.1
_TUNED_STEPS, _TUNED_BATCH, _TUNED_RATE, _TUNED_LENGTH = 200, 32, 1e-4, 128

Ask = Callable[[list[str]], Sequence[str]]


class _SmallTransformer(torch.nn.Module):
    """Word and position embeddings, two pre-norm layers, mean over the words, a linear head."""

    def __init__(self, words: int, classes: int) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(words, _WIDTH, padding_idx=0)
        self.places = torch.nn.Embedding(_LENGTH, _WIDTH)
        layer = torch.nn.TransformerEncoderLayer(
            _WIDTH, _HEADS, 2 * _WIDTH, dropout=0.1, batch_first=True, norm_first=True
        )
        self.layers = torch.nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)
        self.drop = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(_WIDTH, classes)
        torch.nn.init.normal_(self.words.weight, std=0.1)
        torch.nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids (b, T) -> class scores (b, K)."""
        blank = ids == 0  # (b, T)
        hidden = self.words(ids) + self.places(torch.arange(ids.shape[1]))  # (b, T, W)
        hidden = self.layers(self.drop(hidden), src_key_padding_mask=blank)
        weight = (~blank).unsqueeze(-1).float()  # (b, T, 1)
        return self.head((hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1))


def train_small_transformer(texts: Sequence[str], labels: Sequence[str], steps: int | None = None) -> Ask:
    """Train on texts and labels; about 10 passes, between 300 and 1,200 steps of 64 texts, unless `steps` are given."""
    counts = Counter(word for text in texts for word in _words(text))
    index = {word: i + 2 for i, (word, n) in enumerate(counts.most_common(_VOCABULARY)) if n > 1}
    names = sorted(set(labels))
    steps = int(np.clip(_EPOCHS * len(texts) // _BATCH, *_STEPS)) if steps is None else steps

    def ids(some: Sequence[str]) -> torch.Tensor:
        rows = [[index.get(word, 1) for word in _words(text)[:_LENGTH]] or [1] for text in some]
        table = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)  # (n, T)
        for row, one in zip(table, rows, strict=True):
            row[: len(one)] = torch.tensor(one)
        return table

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        model, table = _SmallTransformer(len(index) + 2, len(names)), ids(texts)

        def scores(rows: Sequence[int]) -> torch.Tensor:
            batch = table[rows]  # (b, T)
            return model(batch[:, : int((batch != 0).sum(dim=1).max())])

        _descend(model, scores, _targets(labels, names), steps, _BATCH, _RATE)
    return lambda asked: _answer(lambda some: model(ids(some)), asked, names)


def finetuned(folder: Path, model_id: str) -> Student:
    """A student that fine-tunes all weights of an encoder with a new linear head: 200 steps of 32 texts.

    Raises:
        AssetError: when it learns, if the folder holds no model that can be read without executing foreign code.
    """
    about = f"{model_id}, fine-tuned with a new head for {_TUNED_STEPS} steps"
    learn = partial(_finetune, folder, model_id, steps=_TUNED_STEPS)
    one_step = partial(_finetune, folder, model_id, ["yes indeed", "not at all"], ("a", "b"), steps=1)
    return Student("finetuned", about, None, learn, cache(one_step))


def _finetune(folder: Path, model_id: str, texts: list[str], labels: Sequence[str], steps: int) -> Ask:
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        body: Any = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"{model_id} cannot be loaded for fine-tuning ({type(error).__name__}); expected a folder with "
            "config.json, a tokenizer and safetensors weights"
        ) from None
    names = sorted(set(labels))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        head = torch.nn.Linear(int(body.config.hidden_size), len(names))

        def scores(some: Sequence[str]) -> torch.Tensor:
            given = tokenizer(list(some), padding=True, truncation=True, max_length=_TUNED_LENGTH, return_tensors="pt")
            hidden = body(**given).last_hidden_state  # (b, T, W)
            weight = given["attention_mask"].unsqueeze(-1).float()  # (b, T, 1)
            return head((hidden * weight).sum(dim=1) / weight.sum(dim=1))

        both = torch.nn.ModuleList([body, head])
        _descend(
            both,
            lambda rows: scores([texts[i] for i in rows]),
            _targets(labels, names),
            steps,
            _TUNED_BATCH,
            _TUNED_RATE,
        )
    return lambda asked: _answer(scores, asked, names)


def _descend(
    model: torch.nn.Module,
    scores: Callable[[Sequence[int]], torch.Tensor],
    targets: torch.Tensor,
    steps: int,
    batch: int,
    rate: float,
) -> None:
    """AdamW with a linear warm-up and a cosine end on shuffled passes over the rows."""
    model.train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: min(1.0, (step + 1) / (_WARM * steps)) * (0.5 + 0.5 * float(np.cos(np.pi * step / steps))),
    )
    order: list[int] = []
    for _ in range(steps):
        while len(order) < min(batch, len(targets)):
            order += torch.randperm(len(targets)).tolist()
        rows, order = order[:batch], order[batch:]
        loss = torch.nn.functional.cross_entropy(scores(rows), targets[rows])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    model.eval()


@torch.inference_mode()
def _answer(scores: Callable[[Sequence[str]], torch.Tensor], texts: Sequence[str], names: Sequence[str]) -> list[str]:
    found: list[str] = []
    for start in range(0, len(texts), 256):
        found += [names[k] for k in scores(texts[start : start + 256]).argmax(dim=1).tolist()]
    return found


def _targets(labels: Sequence[str], names: Sequence[str]) -> torch.Tensor:
    index = {name: k for k, name in enumerate(names)}
    return torch.tensor([index[label] for label in labels])


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
