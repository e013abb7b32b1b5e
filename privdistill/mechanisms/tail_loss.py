"""Losses of records under a language model of which the upper part is trained: what the engine makes gradients of.

Below the cut each record passes once, in batches of equal shape, and its activations are kept. Above it a pass has a
shape that its own units decide: `ROWS` rows and their padded length, or in full training one unit and nothing else.

It does not know clipping, noise, sampling, or what is charged.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from privdistill.features.blocks import class_of
from privdistill.features.encoded import Encoded
from privdistill.features.sequences import TokenSequence, token_sequence
from privdistill.mechanisms.dpsgd import Spans
from privdistill.mechanisms.likelihood import Head, record_loss, trained_head_loss
from privdistill.mechanisms.release import FinetuneRequest, IntArray, PrivateUnits
from privdistill.models.adaptation.tail import ROWS, Tail, padded_length
from privdistill.models.interface import TunableModel

__all__ = ["TailLoss", "make_sequences"]


class _Kept(NamedTuple):
    """One record below the cut."""

    hidden: torch.Tensor  # (L, H), or (L,) token ids where nothing is cut off
    sequence: TokenSequence


def make_sequences(
    units: PrivateUnits, encoded: Encoded, request: FinetuneRequest, model: TunableModel
) -> list[TokenSequence | None]:
    """One sequence for each record, from that record alone; None for a record without a class or without tokens."""
    wordings = [[model.token_ids(text) for text in one] for one in request.prompts]
    labels = units.labels if units.labels is not None else [None] * len(units.texts)
    out: list[TokenSequence | None] = []
    for i, (text, label) in enumerate(zip(units.texts, labels, strict=True)):
        y = class_of(request.classes, label, encoded.embeddings[i])
        cut = bool(encoded.truncated[i])
        out.append(
            None
            if y is None
            else token_sequence(
                text, encoded.tokens[i], cut=cut, wordings=wordings[y], end=request.end, max_tokens=request.max_tokens
            )
        )
    return out


class TailLoss:
    """Losses of records, each with the shapes that its own unit decides."""

    def __init__(
        self,
        tail: Tail,
        head: Head | None,
        sequences: list[TokenSequence | None],
        progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
    ) -> None:
        """Compute the activations below the cut, batches of equal shape at a time.

        Args:
            tail: what is trained.
            head: the frozen head; None where it is trained.
            sequences: one for each record; None: nothing to predict.
            progress: (stage, done, total).
        """
        self._tail, self._head = tail, head
        self._lengths = [0 if one is None else _length(one) for one in sequences]
        self._kept: list[_Kept | None] = [None] * len(sequences)
        done = 0
        groups: dict[int, list[int]] = {}
        for i, length in enumerate(self._lengths):
            if length:
                groups.setdefault(length, []).append(i)
        for length, members in sorted(groups.items()):
            for start in range(0, len(members), ROWS):
                part = members[start : start + ROWS]
                ids = torch.zeros((ROWS, length), dtype=torch.long)  # (ROWS, L)
                for row, i in enumerate(part):
                    one = sequences[i]
                    if one is not None:
                        ids[row, : len(one.ids)] = torch.from_numpy(one.ids)
                hidden = tail.below(ids)  # (ROWS, L, H)
                for row, i in enumerate(part):
                    one = sequences[i]
                    if one is not None:
                        self._kept[i] = _Kept(hidden[row].clone(), one)
                done += len(part)
                progress("reading records below the cut", done, sum(length > 0 for length in self._lengths))

    @property
    def module(self) -> torch.nn.Module:
        """What is trained."""
        return self._tail.module.train()

    def passes(self, drawn: Spans) -> Iterator[list[tuple[int, int]]]:
        """Whole units of one padded length, together at most `ROWS` records; in full training each by itself."""
        groups: dict[int, list[tuple[int, int]]] = {}
        for low, high in drawn:
            groups.setdefault(max(self._lengths[low:high]), []).append((low, high))
        for length, members in sorted(groups.items()):
            if not length:
                continue  # nothing to predict in any of their records: gradient zero
            part: list[tuple[int, int]] = []
            size = 0
            for low, high in members:
                if part and (self._tail.full or size + high - low > ROWS):
                    yield part
                    part, size = [], 0
                part.append((low, high))
                size += high - low
            yield part

    def __call__(self, module: torch.nn.Module, records: IntArray) -> torch.Tensor:
        """Losses (B,) of the records of one pass; rows that fill the batch have none."""
        del module  # its matrices sit inside the tail
        length = max(self._lengths[i] for i in records)
        first = next(kept for kept in (self._kept[i] for i in records) if kept is not None)
        rows = len(records) if self._tail.full else ROWS
        batch = first.hidden.new_zeros((rows, length, *first.hidden.shape[1:]))  # (rows, L, H), or (rows, L) ids
        for row, i in enumerate(records):
            kept = self._kept[i]
            if kept is not None:
                batch[row, : len(kept.hidden)] = kept.hidden
        out = self._tail.above(batch)  # (rows, L, H)
        trained = (self._tail.head, self._tail.head_bias) if self._head is None else None
        losses = []
        for row, i in enumerate(records):
            kept = self._kept[i]
            if kept is None:
                losses.append(out[row].sum() * 0.0)
                continue
            start, targets = kept.sequence.start, torch.from_numpy(kept.sequence.targets)
            window = out[row, start : start + padded_length(len(targets))]
            if self._head is not None:
                losses.append(record_loss(window, targets, self._head))
            elif trained is not None:
                losses.append(trained_head_loss(window, targets, *trained))
        return torch.stack([loss.float() for loss in losses])


def _length(sequence: TokenSequence) -> int:
    """Padded length of a record's row: room for its own window of targets."""
    return padded_length(sequence.start + padded_length(len(sequence.targets)))
