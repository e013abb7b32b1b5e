"""An embedding is bitwise a function of its own text: inserted, shuffled, resized batches give the same bits."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.errors import AssetError
from privdistill.models.encoder import ROWS, SentenceEncoder

TEXTS = [
    *(f"the {word} number {i} " + "and so on " * (i % 13) for i, word in enumerate(("cat", "dog", "house") * 23)),
    "",
    "😀 中文 עברית",
    "nul \x00 byte",
    "long " * 400,
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random two-layer BERT with a word-level tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-bert")
    words = sorted({word for text in TEXTS for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=96,
        max_position_embeddings=128,
    )
    BertModel(config).save_pretrained(folder)
    return folder


def same_bits_in_any_company(embed: Callable[[list[str]], np.ndarray], texts: list[str]) -> bool:
    """Whether every text keeps its bits when batches are shuffled, resized, cut and extended."""
    rng = np.random.default_rng(3)
    whole = embed(texts)
    order = rng.permutation(len(texts))
    if (embed([texts[i] for i in order]) != whole[order]).any():
        return False
    alone = np.concatenate([embed([text]) for text in texts[:12]])
    part = embed(texts[5:40])
    more = embed(["an inserted text", *texts, "another one " * 30])
    return bool((alone == whole[:12]).all() and (part == whole[5:40]).all() and (more[1:-1] == whole).all())


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_bits_do_not_depend_on_batch_mates(tiny: Path, dtype: str) -> None:
    encoder = SentenceEncoder(tiny, model_id="tiny", dtype=dtype)
    assert same_bits_in_any_company(encoder.embed, TEXTS)
    norms = np.linalg.norm(encoder.embed(TEXTS), axis=1)
    assert np.abs(norms - 1).max() < 1e-3


def test_planted_padding_to_the_longest_text_is_caught(tiny: Path) -> None:
    encoder = SentenceEncoder(tiny, model_id="tiny", dtype="bfloat16")

    def padded_to_the_batch(texts: list[str]) -> np.ndarray:
        ids = encoder._tokenizer(texts, truncation=True, max_length=encoder._limit)["input_ids"]
        longest = max(len(one) for one in ids)
        chunks = [ids[i : i + ROWS] for i in range(0, len(ids), ROWS)]
        return np.concatenate([encoder._forward(chunk, longest)[: len(chunk)] for chunk in chunks])

    assert not same_bits_in_any_company(padded_to_the_batch, TEXTS)


def test_progress_ends_at_all_texts(tiny: Path) -> None:
    seen: list[tuple[int, int]] = []
    SentenceEncoder(tiny, model_id="tiny", dtype="float32").embed(TEXTS, lambda *step: seen.append(step))
    assert seen[-1] == (len(TEXTS), len(TEXTS))
    assert SentenceEncoder(tiny, model_id="tiny", dtype="float32").embed([]).shape == (0, 64)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="cannot be loaded as a sentence encoder"):
        SentenceEncoder(tmp_path, model_id="nothing")


@pytest.mark.network
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_embedded_encoder_keeps_its_bits_too(dtype: str) -> None:
    from privdistill.models.assets import fetch

    encoder = SentenceEncoder(fetch("encoder"), model_id="embedded", dtype=dtype)
    assert same_bits_in_any_company(encoder.embed, TEXTS[:45])
    similar = encoder.embed(["a moving film", "a touching movie", "how to repair a bicycle"])
    assert similar[0] @ similar[1] > similar[0] @ similar[2] + 0.2
