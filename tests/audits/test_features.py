"""Features against naive references, on small texts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz import fuzz

from audits.features.alignment import changed_words, nearest, spell
from audits.features.identifiers import identifiers
from audits.features.likelihood import likelihood_ratio
from audits.features.ngrams import document_hashes, index_units, ngrams
from audits.features.rarity import rarity
from audits.features.runs import LADDER, shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Vocabulary, fold, join, tokenise
from tests.leaky_generators import sentences

DOCUMENTS = st.lists(st.lists(st.sampled_from("abc"), max_size=9).map(" ".join), min_size=1, max_size=8)


def grams(text: str, n: int) -> list[tuple[str, ...]]:
    words = tokenise(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A  Fine film!", "a fine FILM"),
        ("cafe\u0301 noir", "caf\u00e9 noir"),
        ("ﬁne ﬁlm", "fine film"),
        ("fi\u200bne\u00ad film", "fine film"),
        ("don\u2019t", "don't"),
        ("\uff26\uff49\uff4c\uff4d", "film"),
    ],
)
def test_folding_undoes_disguises(one: str, other: str) -> None:
    assert tokenise(one) == tokenise(other)


def test_scripts_without_spaces_are_single_characters() -> None:
    assert tokenise("映画はgood") == ["映", "画", "は", "good"]
    assert tokenise("שלום עולם") == ["שלום", "עולם"]


@given(st.text(max_size=40))
def test_folding_twice_changes_nothing(text: str) -> None:
    assert tokenise(fold(text)) == tokenise(text)


@given(DOCUMENTS, st.integers(1, 4))
def test_ngrams_never_cross_documents_and_count_units(texts: list[str], n: int) -> None:
    tokens = Vocabulary().encode(texts)
    units = np.arange(len(texts)) // 2
    index = index_units(tokens, units, n)
    owners: dict[tuple[str, ...], set[int]] = {}
    for document, text in enumerate(texts):
        for gram in grams(text, n):
            owners.setdefault(gram, set()).add(int(units[document]))
    assert sorted(index.units.tolist()) == sorted(len(found) for found in owners.values())
    assert len(ngrams(tokens, n).places) == sum(len(grams(text, n)) for text in texts)


@given(DOCUMENTS)
def test_document_hashes_tell_token_sequences_apart(texts: list[str]) -> None:
    hashes = document_hashes(Vocabulary().encode(texts)).tolist()
    for i, one in enumerate(texts):
        for j, other in enumerate(texts):
            assert (hashes[i] == hashes[j]) == (tokenise(one) == tokenise(other))


def test_take_and_join_keep_documents() -> None:
    vocabulary = Vocabulary()
    tokens = vocabulary.encode(["a b c", "", "d e"])
    both = join(tokens.take(np.array([2, 0])), tokens.take(np.array([1])))
    assert both.ids.tolist() == [3, 4, 0, 1, 2]
    assert both.lengths.tolist() == [2, 3, 0]


@given(DOCUMENTS, DOCUMENTS)
def test_shared_runs_against_every_pair(source: list[str], synthetic: list[str]) -> None:
    vocabulary = Vocabulary()
    ours, theirs = vocabulary.encode(source), vocabulary.encode(synthetic)
    bits = np.random.default_rng(0).random(len(ours.ids)) + 0.1
    found = shared_runs(ours, theirs, bits)
    for i, text in enumerate(source):
        own = bits[ours.starts[i] : ours.starts[i + 1]]
        length, best = 0, 0.0
        for n in LADDER:
            for start, gram in enumerate(grams(text, n)):
                if any(gram in grams(other, n) for other in synthetic):
                    length, best = n, max(best, float(own[start : start + n].sum()))
        words = tokenise(text)
        assert found.length[i] == length
        assert found.bits[i] == pytest.approx(best)
        assert found.equal[i] == (bool(words) and any(tokenise(other) == words for other in synthetic))
        assert found.self_bits[i] == pytest.approx(own.sum())
        if found.equal[i]:
            assert tokenise(synthetic[found.row[i]]) == words


def test_rarity_leaves_the_unit_itself_out() -> None:
    texts = ["the cat sat on the mat", "the cat sat on the mat", "the cat sat on a log", "quite other words here"]
    tokens = Vocabulary().encode(texts)
    together = rarity(tokens, np.array([0, 0, 1, 2]), None).bits
    apart = rarity(tokens, np.array([0, 1, 2, 3]), None).bits
    assert together[:6].sum() > apart[:6].sum(), "a person's own repetition is not somebody else's phrase"
    public = Vocabulary()
    again = public.encode(texts)
    known = rarity(again, np.array([0, 1, 2, 3]), public.encode(["quite other words here"] * 3)).bits
    assert known[-4:].sum() < apart[-4:].sum() - 10


@given(DOCUMENTS, DOCUMENTS)
def test_survivors_against_sets(source: list[str], synthetic: list[str]) -> None:
    vocabulary = Vocabulary()
    ours, theirs = vocabulary.encode(source), vocabulary.encode(synthetic)
    units = np.arange(len(source)) // 2
    if not len(ours.ids):
        return
    found = surviving(ours, units, theirs, None, (2, 3), (1, 2))
    for column, (n, most) in enumerate([(2, 1), (2, 2), (3, 1), (3, 2)]):
        there = {gram for text in synthetic for gram in grams(text, n)}
        for unit in range(int(units[-1]) + 1):
            own = {g for i, text in enumerate(source) if units[i] == unit for g in grams(text, n)}
            rare = {
                g
                for g in own & there
                if len({int(units[i]) for i, text in enumerate(source) if g in grams(text, n)}) <= most
            }
            assert found.flags[unit, column] == bool(rare)


def test_what_the_public_says_is_no_survivor() -> None:
    vocabulary = Vocabulary()
    ours, theirs = vocabulary.encode(["to be or not to be"]), vocabulary.encode(["well to be or not to be then"])
    public = vocabulary.encode(["to be or not to be that is the question"])
    assert surviving(ours, np.array([0]), theirs, None, (4,), (1,)).flags.all()
    assert not surviving(ours, np.array([0]), theirs, public, (4,), (1,)).flags.any()


def test_giant_rows_cannot_hide_near_copies(rng: np.random.Generator) -> None:
    """Rows that hold every record share more with each of them than its own near-copy does."""
    records = sentences(120, seed=41)
    copies = list(changed_words([text.split() for text in records[:40]], rng, every=5))
    giants = [" ".join(records[i] for i in rng.permutation(120)) for _ in range(4)]
    found = nearest(spell(records), spell(giants + copies))
    assert (found.row[:40] == np.arange(40) + 4).mean() > 0.9


def test_nearest_finds_what_brute_force_finds(rng: np.random.Generator) -> None:
    source = sentences(150, seed=21)
    altered = list(changed_words([text.split() for text in source[:40]], rng))
    synthetic = sentences(120, seed=22) + altered
    ours, theirs = spell([" ".join(tokenise(t)) for t in source]), spell([" ".join(tokenise(t)) for t in synthetic])
    found = nearest(ours, theirs)
    for record, text in enumerate(ours.texts):
        best = max(fuzz.ratio(text, other) / 100 for other in theirs.texts)
        assert found.similarity[record] <= best + 1e-6
        if best >= 0.8:
            assert found.similarity[record] == pytest.approx(best, abs=1e-6)


def test_short_records_are_not_compared() -> None:
    assert nearest(spell(["tiny"]), spell(["tiny", "tiny text"])).row.tolist() == [-1]


def test_likelihood_prefers_what_was_copied() -> None:
    source = sentences(200, seed=31)
    vocabulary = Vocabulary()
    ours = vocabulary.encode(source)
    scores = likelihood_ratio(
        ours, vocabulary.encode(sentences(80, seed=32) + source[:20]), rarity(ours, np.arange(200), None)
    )
    assert scores[:20].min() > np.quantile(scores[20:], 0.95)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pay to DE89 3704 0044 0532 0130 00 now", {("iban", "DE89370400440532013000")}),
        ("pay to DE89370400440532013001", set()),
        ("card 4111 1111 1111 1111.", {("card", "4111111111111111")}),
        ("ring +49 30 1234567 or 0049-30-1234567", {("phone", "301234567")}),
        ("ring 030/1234567", {("phone", "301234567")}),
        ("server 10.0.0.1", {("address", "10.0.0.1")}),
        ("see https://www.example.org/u/anna.", {("profile", "example.org/u/anna")}),
        ("key AKIAABCDEFGHIJKLMNOP", {("key", "AKIAABCDEFGHIJKLMNOP")}),
        ("in 1999 it cost 1,250.00", set()),
        ("nothing here", set()),
    ],
)
def test_identifiers(text: str, expected: set[tuple[str, str]]) -> None:
    assert {found for found in identifiers(text) if found[0] != "number"} == expected
