"""Step difficulty: how much a rationale helps the public model to the last field of its row.

    gain = mean over the tokens of y of  ln p(y | x, r) - ln p(y | x)        nats a token
    step difficulty = 1 - exp(-max(0, gain)) = 1 - min(1, p(y | x) / p(y | x, r))

x the other fields, r the rationale, y the last field, p(.) in the last form the geometric mean over tokens. The gain is
the pointwise conditional information that Chen et al. (ACL 2023, arXiv:2210.04982, REV) give a free-text rationale;
they fine-tune two evaluators, here the public model is both, as it is. 0: the last field is as hard without the
rationale; near 1: nearly all of it rests on the rationale.

It does not know who wrote a rationale, nor private text.
"""

import math
from collections.abc import Sequence
from typing import Any

from privdistill.models.interface import TunableModel
from privdistill.synthesis.prompts import spoken

__all__ = ["likelihoods", "step_difficulties"]

_BATCH = 16
_REASON = "Reason"


def step_difficulties(
    model: TunableModel, fields: Sequence[str], rows: Sequence[Sequence[str]], rationales: Sequence[str]
) -> list[float]:
    """The step difficulty of each row, in [0, 1].

    Args:
        model: the public language model.
        fields: names of the fields.
        rows: the fields of each row.
        rationales: one a row.
    """
    plain, helped = [], []
    for parts, rationale in zip(rows, rationales, strict=True):
        known = "".join(f"{spoken(name)}: {value}\n" for name, value in zip(fields[:-1], parts[:-1], strict=True))
        asked = f"{spoken(fields[-1])}:"
        plain.append((f"{known}{asked}", f" {parts[-1]}"))
        helped.append((f"{known}{_REASON}: {rationale}\n{asked}", f" {parts[-1]}"))
    gains = zip(likelihoods(model, plain), likelihoods(model, helped), strict=True)
    return [round(1 - math.exp(-max(0.0, after - before)), 4) for before, after in gains]


def likelihoods(model: TunableModel, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Mean log-likelihood a token, in nats, of each continuation after its beginning."""
    import torch

    ids = [(model.token_ids(start), model.token_ids(end)) for start, end in pairs]
    order = sorted(range(len(ids)), key=lambda i: sum(map(len, ids[i])))
    out = [0.0] * len(ids)
    for first in range(0, len(order), _BATCH):
        batch = order[first : first + _BATCH]
        with torch.inference_mode():
            for i, value in zip(batch, _batch([ids[i] for i in batch], model.network), strict=True):
                out[i] = value
    return out


def _batch(pairs: Sequence[tuple[list[int], list[int]]], network: Any) -> list[float]:
    """One batch, padded on the left, so that the continuations end together and logits are made for them alone."""
    import torch

    longest = max(len(start) + len(end) for start, end in pairs)
    last = max(len(end) for _, end in pairs)
    tokens = torch.zeros(len(pairs), longest, dtype=torch.long)  # (b, T)
    mask = torch.zeros_like(tokens)  # (b, T)
    for row, (start, end) in enumerate(pairs):
        whole = [*start, *end]
        tokens[row, longest - len(whole) :] = torch.as_tensor(whole)
        mask[row, longest - len(whole) :] = 1
    position = (mask.cumsum(dim=1) - 1).clamp(min=0)  # (b, T)
    found = network(tokens, attention_mask=mask, position_ids=position, use_cache=False, logits_to_keep=last + 1)
    logs = torch.log_softmax(found.logits[:, :-1].float(), dim=-1)  # (b, last, V)
    own = logs.gather(2, tokens[:, longest - last :, None]).squeeze(2)  # (b, last)
    return [float(own[row, last - len(end) :].mean()) for row, (_, end) in enumerate(pairs)]
