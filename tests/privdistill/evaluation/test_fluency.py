"""The character model is a distribution and prefers its own kind of text; perplexity against a direct computation."""

import math
from pathlib import Path

import numpy as np
import pytest

from privdistill.errors import AssetError
from privdistill.evaluation import fluency
from privdistill.evaluation.fluency import CharacterModel, bits_per_character, perplexity
from tests.conftest import toy_rows

TEXTS = [text for text, _ in toy_rows(300, seed=0)]


@pytest.mark.parametrize("context", ["", "t", "th", "zzz", "\x02\x02the "])
def test_probabilities_add_up_to_one(context: str) -> None:
    model = CharacterModel(TEXTS)
    seen = set("".join(TEXTS)) | {"\x03"}
    known = sum(model.probability(character, context) for character in seen)
    unseen = (fluency._ALPHABET - len(seen)) * model.probability("\u4e00", context)
    assert known + unseen == pytest.approx(1.0)


def test_probability_of_an_order_one_model_is_the_smoothed_frequency() -> None:
    model = CharacterModel(["aab"], order=1)  # a, a, b and the end: four characters of three kinds
    assert model.probability("a", "") == pytest.approx((2 + 3 / fluency._ALPHABET) / 7)


def test_familiar_text_costs_fewer_bits_than_strange_or_shuffled_text() -> None:
    rng = np.random.default_rng(0)
    model = CharacterModel(TEXTS)
    more = [text for text, _ in toy_rows(60, seed=5)]
    shuffled = ["".join(rng.permutation(list(text))) for text in more]
    own, mixed = bits_per_character(model, more, rng), bits_per_character(model, shuffled, rng)
    assert own.value < 2.0 < mixed.value
    assert own.low <= own.value <= own.high
    assert own.n == 60


def test_perplexity_is_that_of_the_model_read_directly(tiny_language_model: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = TEXTS[:6]
    found = perplexity(tiny_language_model, "tiny", texts, np.random.default_rng(0))
    tokenizer = AutoTokenizer.from_pretrained(tiny_language_model)
    model = AutoModelForCausalLM.from_pretrained(tiny_language_model, dtype=torch.float32).eval()
    loss = tokens = 0.0
    for text in texts:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        row = torch.tensor([[tokenizer.bos_token_id, *ids]])
        with torch.inference_mode():
            loss += float(model(row, labels=row).loss) * len(ids)
        tokens += len(ids)
    assert found.value == pytest.approx(math.exp(loss / tokens), rel=1e-4)
    assert found.low <= found.value <= found.high


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="causal language model"):
        perplexity(tmp_path, "nothing", ["a"], np.random.default_rng(0))
