"""How much a record is clipped is a function of the record alone, to the last bit, whoever else is in the pass.

The bound on one record rests on it: where a record comes or goes, the others must move by nothing at all, or what they
move by adds up over the batch.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from privdistill.mechanisms import dpsgd
from privdistill.mechanisms.dpsgd import clip_and_sum, clipping, ghost
from privdistill.mechanisms.release import FinetuneRequest
from privdistill.mechanisms.tail_loss import TailLoss
from privdistill.models.adaptation.tail import ROWS
from tests.privdistill.mechanisms.test_finetuning import BOUND, REQUEST, corpus, loss_of
from tests.privdistill.mutation import plant

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

WHOLE = replace(REQUEST, rank=None)
Span = tuple[int, int]


def factors(loss: TailLoss, spans: Sequence[Span], *, by_ghost: bool) -> dict[Span, float]:
    """What the gradient of each unit of one pass is multiplied by."""
    seen: list[torch.Tensor] = []
    plain, ghostly = clipping._sum, ghost._sum
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clipping, "_sum", lambda rows, found: (seen.append(found), plain(rows, found))[1])
        patch.setattr(ghost, "_sum", lambda one, found, fine: (seen.append(found), ghostly(one, found, fine))[1])
        clip_and_sum(loss.module, loss, spans, BOUND, ROWS, clipping="ghost" if by_ghost else "per-unit")
    assert all(torch.equal(one, seen[0]) for one in seen), "every map is clipped by the same factors"
    return dict(zip(spans, seen[0].tolist(), strict=True))


def are_their_own(
    family: str = "llama", request: FinetuneRequest = WHOLE, *, by_ghost: bool, per_unit: int = 1
) -> bool:
    """Whether every unit of a full pass has bitwise the same factor alone, in other rows, with other or fewer mates."""
    units, encoded = corpus(240, per_unit)
    loss = loss_of(family, units, encoded, request)
    full = next(part for part in loss.passes(units.spans()) if len(part) >= ROWS // per_unit)
    base = factors(loss, full, by_ghost=by_ghost)
    assert 0 < min(base.values()) < 1, "some are clipped"
    first, half = full[0], len(full) // 2
    fewer = [full[1:], full[:half] + full[half + 1 :], full[:7], [first]]
    others = [full[::-1], [full[2], first], [*full[half:], first]]
    return all(
        factor == base[span]
        for mates in [*fewer, *others]
        for span, factor in factors(loss, mates, by_ghost=by_ghost).items()
    )


@pytest.mark.parametrize("by_ghost", [False, True])
@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_records_factor_is_bitwise_the_same_whoever_else_is_there(
    family: str, rank: int | None, by_ghost: bool
) -> None:
    assert are_their_own(family, replace(WHOLE, rank=rank), by_ghost=by_ghost)


def test_so_is_that_of_a_unit_of_several_records() -> None:
    assert are_their_own(by_ghost=False, per_unit=3)


def shapes_are_full(patch: pytest.MonkeyPatch) -> bool:
    """Whether norms are taken at the same shapes however many records there are.

    Small matrices often give the same bits at another shape; kernels of a real model do not promise to.
    """
    loss = loss_of("llama", *corpus(60), WHOLE)
    part = max(loss.passes([(i, i + 1) for i in range(60)]), key=len)
    shapes: list[set[tuple[int, ...]]] = []
    for name, owner in (("_largest_square", ghost), ("_squares_of_part", clipping)):
        real = getattr(owner, name)

        def noted(*given: torch.Tensor, real: object = real) -> torch.Tensor:
            shapes[-1].update(tuple(one.shape) for one in given)
            return real(*given)

        patch.setattr(owner, name, noted)
    for by_ghost in (False, True):
        for count in (1, 3, len(part)):
            shapes.append(set())
            factors(loss, part[:count], by_ghost=by_ghost)
    assert len(part) > 3
    assert all(shapes)
    return all(one == shapes[0] for one in shapes[:3]) and all(one == shapes[3] for one in shapes[3:])


def test_the_shapes_of_norms_do_not_depend_on_how_many_records_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shapes_are_full(monkeypatch)


# ------------------------------------------------------------------------------------------------------- planted bugs


def test_planted_norms_over_the_records_alone_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        cut = "_Seen(found.inputs[:records].float(), found.slopes[:records].float())"
        plant(patch, ghost.Ghost, "_of", "_Seen(found.inputs.float(), found.slopes.float())", cut)
        assert not shapes_are_full(patch)
    with monkeypatch.context() as patch:
        plant(patch, clipping, "_squares", "if len(part) < at_once:", "if not len(part):")
        assert not shapes_are_full(patch)


def test_planted_reductions_over_maps_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seen in the last bit of a double: what a column adds up to depends on how many columns stand beside it."""
    old = "reduce(torch.add, (_largest_square(*one) for one in seen))[:records]"
    new = "torch.stack([_largest_square(*one)[:records] for one in seen]).sum(dim=0)"
    plant(monkeypatch, ghost.Ghost, "clipped_sums", old, new)
    assert not are_their_own(by_ghost=True)
    old = "reduce(torch.add, (_squares(one, at_once).to(flat[0].device) for one in flat))"
    plant(monkeypatch, dpsgd, "clipped_sums", old, "torch.stack([_squares(one, at_once) for one in flat]).sum(dim=0)")
    assert not are_their_own(by_ghost=False)
