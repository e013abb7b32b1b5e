"""The loss of one record: mean negative log-likelihood of its own tokens under the head, frozen or trained.

Each record is computed with shapes that only it decides (its own window of positions, padded to the public grid) and
divided by its own number of targets, so that its gradient is a function of it alone. Logits exist only where there is
a target, for one record at a time. With a public shortlist the softmax runs over the shortlist and the target itself:
never over what other records of the batch contain.

It does not know clipping, noise, sampling, or the layers below the head.
"""

from typing import Any, NamedTuple

import torch

from privdistill.errors import PrivacyError

__all__ = ["Head", "record_loss", "trained_head_loss"]


class Head(NamedTuple):
    """The frozen output map.

    Attributes:
        weight: (V, H) rows of all tokens.
        bias: (V,) or None.
        shortlist: (S,) public token ids over which the softmax runs, or None for all.
        place: (V,) position of each token in the shortlist, -1 outside.
        rows: (S, H) weight of the shortlist (or `weight` itself).
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    shortlist: torch.Tensor | None
    place: torch.Tensor | None
    rows: torch.Tensor

    @classmethod
    def of(cls, weight: torch.Tensor, bias: torch.Tensor | None, shortlist: torch.Tensor | None) -> "Head":
        """A head with or without a shortlist.

        Raises:
            PrivacyError: the shortlist names no token twice and none outside the vocabulary, or it is refused.
        """
        if shortlist is None:
            return cls(weight, bias, None, None, weight)
        known = torch.unique(shortlist)
        if not len(known) or len(known) != len(shortlist) or not 0 <= int(known[0]) <= int(known[-1]) < len(weight):
            raise PrivacyError(
                f"expected a shortlist of distinct token ids below {len(weight)}; nothing is drawn, please report this"
            )
        place = torch.full((weight.shape[0],), -1, dtype=torch.long)
        place[shortlist] = torch.arange(len(shortlist))
        return cls(weight, bias, shortlist, place, weight[shortlist].contiguous())


def record_loss(hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
    """Mean negative log-likelihood of one record, differentiable in `hidden`.

    Args:
        hidden: (W, H) what the head sees at the record's own window of positions, W on the public grid.
        targets: (T,) the record's tokens, T <= W; positions from T on are padding and count nothing.
        head: the frozen head.
    """
    loss: torch.Tensor = _FrozenHead.apply(hidden, targets, head)  # type: ignore[no-untyped-call]
    return loss


def trained_head_loss(
    hidden: torch.Tensor, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The same, differentiable in the head too.

    Args:
        hidden: (W, H) as in `record_loss`.
        targets: (T,) the record's tokens, T <= W.
        weight: (V, H) of the head.
        bias: (V,) or None.
    """
    logits = torch.nn.functional.linear(hidden[: len(targets)], weight, bias).float()  # (T, V)
    return torch.nn.functional.cross_entropy(logits, targets)


class _FrozenHead(torch.autograd.Function):
    """Loss and its gradient in one pass: the head is frozen, so nothing of the size of the vocabulary is kept."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, targets: torch.Tensor, head: Head) -> torch.Tensor:
        count = len(targets)
        index = torch.arange(count)
        logits = torch.nn.functional.linear(hidden, head.rows).float()[:count]  # (T, S)
        own = (hidden[:count].float() * head.weight[targets].float()).sum(dim=1)  # (T,) logit of the target
        if head.bias is not None:
            logits += head.bias.float() if head.shortlist is None else head.bias[head.shortlist].float()
            own += head.bias[targets].float()
        where = targets if head.place is None else head.place[targets]  # (T,)
        inside = where >= 0  # (T,)
        own = torch.where(inside, logits[index, where.clamp(min=0)], own)
        total = logits.logsumexp(dim=1)  # (T,)
        total = torch.where(inside, total, torch.logaddexp(total, own))
        slope = (logits - total[:, None]).exp_()  # (T, S)
        slope[index[inside], where[inside]] -= 1.0
        share = torch.where(inside, 0.0, (own - total).exp() - 1.0)  # (T,) slope of a target outside the shortlist
        gradient = torch.zeros_like(hidden, dtype=torch.float32)  # (W, H)
        padded = slope.new_zeros((len(hidden), slope.shape[1]))  # (W, S): the shape of the record's own window
        padded[:count] = slope
        gradient += (padded.to(head.rows.dtype) @ head.rows).float()
        gradient[:count] += share[:, None] * head.weight[targets].float()
        ctx.save_for_backward((gradient / max(count, 1)).to(hidden.dtype))
        return (total - own).sum() / max(count, 1)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return gradient * slopes[0].to(gradient.dtype), None, None
