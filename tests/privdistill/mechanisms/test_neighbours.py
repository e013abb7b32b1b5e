"""Neighbouring corpora through the losses that are trained: a unit moves a step's clean sum by at most the bound.

Corpora, groups, labels, public iterates and the unit that is left out are drawn, numbers without end among them; both
corpora go the whole way of `expert` and `finetuning`, from the records to the clipped sum.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.features.encoded import Encoded, TextEncoder
from privdistill.mechanisms import expert
from privdistill.mechanisms.dpsgd import Clipping, clip_and_sum, clipping, ghost
from privdistill.mechanisms.expert import make_head
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.release import ClassRule, ExpertRequest, PrivateUnits
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.tail import ROWS, Tail
from tests.privdistill.families import VOCABULARY, ToyModel, make_network
from tests.privdistill.mechanisms.test_finetuning import REQUEST

# Activations below the cut need no gradient, and nothing here rests on theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

WIDTH, BOUND = 6, 0.3
CENTRES = np.random.default_rng(5).normal(size=(3, WIDTH))
BY_LABEL, WITH_OTHER = ClassRule(("a", "b", "c")), ClassRule(("a", "b", "other"), other=2)
BY_CLUSTER = ClassRule(("cluster-0", "cluster-1", "cluster-2"), centres=CENTRES)


Record = tuple[str | None, list[float], list[int]]
People = list[list[Record]]
"""For each unit its records: a label, what the sentence model makes of the text, and what the tokenizer does."""


class Spoken:
    """A sentence model and a tokenizer for texts that say what is to come out of them."""

    width, size = WIDTH, VOCABULARY

    def embed(self, texts: Sequence[str], progress: object = None) -> np.ndarray:
        with np.errstate(over="ignore"):
            rows = np.array([json.loads(text)[0] for text in texts], dtype=np.float64).astype(np.float32)
        return rows.reshape(len(texts), WIDTH)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [json.loads(text)[1] for text in texts]


ENCODER = TextEncoder(Spoken(), Spoken(), max_tokens=24)


def corpus(people: People) -> tuple[PrivateUnits, Encoded]:
    """The units and what the encoder reads; the contribution bound is the same for both neighbours."""
    every = [(unit, label, json.dumps(said)) for unit, person in enumerate(people) for label, *said in person]
    unit_of = np.array([unit for unit, _, _ in every], dtype=np.int64)
    texts = tuple(text for *_, text in every)
    return PrivateUnits(texts, tuple(label for _, label, _ in every), unit_of, "person", 4), ENCODER.encode(texts)


numbers = st.sampled_from([0.0, 1e-45, 0.1, -1.0, 3.0, 1e4, 3e38, -3e38, float("inf"), float("nan")])
tokens = st.one_of(
    st.lists(st.integers(0, VOCABULARY - 1), max_size=10),
    st.sampled_from([[], [0], [1] * 25, [VOCABULARY - 1] * 30, [2, 3] * 12]),
)
rules = st.sampled_from([BY_LABEL, WITH_OTHER, BY_CLUSTER])
records = st.tuples(
    st.sampled_from(["a", "b", "c", "unheard-of", "", None]), st.lists(numbers, min_size=WIDTH, max_size=WIDTH), tokens
)


def groups(most: int) -> st.SearchStrategy[People]:
    """Corpora whose units have at most so many records each."""
    return st.lists(st.lists(records, min_size=1, max_size=most), min_size=1, max_size=5)


Clean = Callable[[People], np.ndarray]
Plant = Callable[[pytest.MonkeyPatch], None]


def moves_within_the_bound(people: People, clean: Clean) -> bool:
    """Whether leaving out any one unit moves the clean sum by at most the bound."""
    everybody = clean(people)
    return all(np.linalg.norm(everybody - clean(people[:i] + people[i + 1 :])) <= BOUND for i in range(len(people)))


def flat(parts: list[torch.Tensor]) -> np.ndarray:
    return np.concatenate([part.detach().double().numpy().ravel() for part in parts])


# -------------------------------------------------------------------------------------------------------- the expert


def expert_sum(rule: ClassRule, scale: float, feature_clip: float = 1.0) -> Clean:
    """One step's clean sum at a public head whose weights are as large as `scale`."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(WIDTH, 4)))[0]
    start = scale * rng.normal(size=(3, 5))
    request = ExpertRequest("expert", rule, np.zeros(WIDTH), basis, feature_clip, start, BOUND, 40.0, 2.0)

    def clean(people: People) -> np.ndarray:
        units, encoded = corpus(people)
        loss = expert.head_loss(units, encoded, request)
        return flat(clip_and_sum(make_head(start), loss, units.spans(), BOUND, expert.ROWS))

    return clean


heads = st.builds(
    expert_sum,
    rules,
    st.sampled_from([0.0, 1.0, 1e6, 1e307]),
    st.sampled_from([1e-6, 1.0, 1e6]),
)


@settings(max_examples=60)
@given(groups(1), heads)
def test_one_record_moves_a_step_of_the_expert_by_at_most_the_bound(people: People, clean: Clean) -> None:
    assert moves_within_the_bound(people, clean)


@settings(max_examples=60)
@given(groups(4), heads)
def test_one_person_moves_a_step_of_the_expert_by_at_most_the_bound(people: People, clean: Clean) -> None:
    assert moves_within_the_bound(people, clean)


# ------------------------------------------------------------------------------------------------------- the adapters


class Adapters:
    """A public iterate of what is trained, and one step's clean sum there."""

    def __init__(self, rank: int | None, shortlist: int | None, way: Clipping, *, cut: bool = True) -> None:
        words = None if shortlist is None else np.arange(shortlist)
        self._request = replace(REQUEST, classes=BY_LABEL, prompts=(*REQUEST.prompts, ("so so:",)), shortlist=words)
        self._model = ToyModel(make_network("llama"))
        self._tail = Tail(self._model.network, self._request.layers if cut else None, rank, full=way == "alone")
        self._start = {name: matrix.detach().clone() for name, matrix in self._tail.matrices.items()}
        chosen = None if words is None else torch.from_numpy(words)
        self._head = Head.of(self._tail.head, self._tail.head_bias, chosen) if cut else None
        self.way: Clipping = way

    def at(self, rule: ClassRule, scale: float) -> Clean:
        """Where the iterate stands `scale` away from the start in every cell, about."""
        with torch.no_grad():
            for seed, (name, matrix) in enumerate(self._tail.matrices.items()):
                step = torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed))
                matrix.copy_(self._start[name] + scale * step)
        request = replace(self._request, classes=rule)

        def clean(people: People) -> np.ndarray:
            units, encoded = corpus(people)
            loss = TailLoss(self._tail, self._head, make_sequences(units, encoded, request, self._model))
            total = np.zeros(sum(matrix.numel() for matrix in self._tail.matrices.values()))
            for part in loss.passes(units.spans()):
                total += flat(clip_and_sum(loss.module, loss, part, BOUND, ROWS, clipping=self.way))
            return total

        return clean


GHOSTS = "whole weights by ghosts"
"""For units of one record alone."""
ADAPTERS = {
    "low-rank": partial(Adapters, 2, None, "per-unit"),
    "low-rank, shortlist": partial(Adapters, 2, 1, "per-unit"),
    "whole weights": partial(Adapters, None, 30, "per-unit"),
    GHOSTS: partial(Adapters, None, None, "ghost"),
    "every number of the last layers": partial(Adapters, None, 30, "alone"),
    "every number": partial(Adapters, None, None, "alone", cut=False),
}
scales = st.sampled_from([0.1, 3.0, 1e4, 1e20, 1e38])


@pytest.fixture(scope="module", params=list(ADAPTERS))
def adapters(request: pytest.FixtureRequest) -> Adapters:
    return ADAPTERS[request.param]()


@settings(max_examples=25)
@given(people=groups(1), rule=rules, scale=scales)
def test_one_record_moves_a_step_of_the_adapters_by_at_most_the_bound(
    adapters: Adapters, people: People, rule: ClassRule, scale: float
) -> None:
    assert moves_within_the_bound(people, adapters.at(rule, scale))


@pytest.mark.parametrize("adapters", [name for name in ADAPTERS if name != GHOSTS], indirect=True)
@settings(max_examples=25)
@given(people=groups(4), rule=rules, scale=scales)
def test_one_person_moves_a_step_of_the_adapters_by_at_most_the_bound(
    adapters: Adapters, people: People, rule: ClassRule, scale: float
) -> None:
    assert moves_within_the_bound(people, adapters.at(rule, scale))


# ------------------------------------------------------------------------------------------------------- planted bugs

SEVERAL: People = [
    [("a", [3.0, 1.0, 0.1, -1.0, 0.0, 2.0], [4, 9, 7]), ("a", [3.0, 1.0, 0.2, -1.0, 0.0, 2.0], [4, 9, 8])],
    [("b", [-1.0, 0.1, 3.0, 0.0, 1.0, 0.5], [60, 2, 31, 5])],
    [("c", [0.5, -2.0, 0.1, 3.0, 1.0, 1e4], [15, 15])],
]
SINGLE: People = [person[:1] for person in SEVERAL]


def one_left_unclipped(patch: pytest.MonkeyPatch) -> None:
    plain, ghostly = clipping._sum, ghost._sum

    def whole(factors: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.ones_like(factors[:1]), factors[1:]])

    patch.setattr(clipping, "_sum", lambda rows, factors: plain(rows, whole(factors)))
    patch.setattr(ghost, "_sum", lambda seen, factors, fine: ghostly(seen, whole(factors), fine))


def one_counted_twice(patch: pytest.MonkeyPatch) -> None:
    real = PrivateUnits.spans
    patch.setattr(PrivateUnits, "spans", lambda units: real(units)[:1] + real(units))


def records_for_people(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PrivateUnits, "spans", lambda units: [(i, i + 1) for i in range(len(units.texts))])


def features_of_the_whole_corpus(patch: pytest.MonkeyPatch) -> None:
    real = Spoken.embed

    def centred(spoken: Spoken, texts: Sequence[str], progress: object = None) -> np.ndarray:
        rows = real(spoken, texts)
        return rows - rows.mean(axis=0)

    patch.setattr(Spoken, "embed", centred)


@pytest.mark.parametrize("plant", [one_left_unclipped, one_counted_twice])
@pytest.mark.parametrize("people", [SINGLE, SEVERAL])
def test_planted_bugs_of_every_way_are_caught(
    adapters: Adapters, people: People, plant: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [expert_sum(BY_LABEL, 1.0)]
    if people is SINGLE or adapters.way != "ghost":
        ways.append(adapters.at(BY_LABEL, 0.1))
    assert all(moves_within_the_bound(people, clean) for clean in ways)
    plant(monkeypatch)
    assert not any(moves_within_the_bound(people, clean) for clean in ways)


def test_planted_clipping_by_record_is_caught(adapters: Adapters, monkeypatch: pytest.MonkeyPatch) -> None:
    records_for_people(monkeypatch)
    assert not moves_within_the_bound(SEVERAL, expert_sum(BY_LABEL, 1.0))
    assert not moves_within_the_bound(SEVERAL, adapters.at(BY_LABEL, 0.1))


def test_planted_features_of_the_whole_corpus_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    features_of_the_whole_corpus(monkeypatch)
    assert not moves_within_the_bound(SINGLE, expert_sum(BY_LABEL, 1.0))
