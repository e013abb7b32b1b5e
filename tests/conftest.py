"""Every test runs with a home of its own, without a network, and with the project's own small texts and models.

Tests marked `network` keep the user's asset cache and may use sockets; all others fail when they open one.
"""

import csv
import os
import random
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from platformdirs import user_cache_dir

settings.register_profile("privdistill", deadline=None, print_blob=True)
settings.load_profile("privdistill")

ROOT = Path(__file__).resolve().parent.parent
_REAL_CACHE = os.environ.get("PRIVDISTILL_CACHE_DIR") or user_cache_dir("privdistill", appauthor=False)

_THINGS = ("train", "garden", "bakery", "bridge", "library", "harbour", "museum", "market", "kitchen", "theatre")
_GOOD = ("bright", "calm", "generous", "splendid", "tidy", "warm", "lively", "charming")
_BAD = ("broken", "crowded", "dull", "noisy", "shabby", "slow", "gloomy", "careless")
_PLACES = ("by the river", "near the station", "behind the school", "on the hill", "at the corner", "in the old town")
_TAILS = ("and we stayed all day", "and nobody seemed to mind", "so we told our friends", "which we did not expect")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with long tests first, so that no worker begins one when the others have nothing left to do."""
    long = {item.path for item in items if item.get_closest_marker("network") or item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)  # stable: a file stays together


@pytest.fixture(autouse=True)
def _isolated(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Redirect home and caches; forbid fetching unless the test is marked `network`."""
    home = tmp_path / "home"
    home.mkdir()
    wants_network = request.node.get_closest_marker("network") is not None
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(home))
    for name, folder in (("XDG_CACHE_HOME", ".cache"), ("XDG_CONFIG_HOME", ".config"), ("XDG_DATA_HOME", ".local")):
        monkeypatch.setenv(name, str(home / folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / ".state"))
    monkeypatch.delenv("PRIVDISTILL_STATE_DIR", raising=False)
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PRIVDISTILL_CACHE_DIR", _REAL_CACHE if wants_network else str(home / "assets"))
    monkeypatch.delenv("PRIVDISTILL_CONFIG", raising=False)
    if wants_network:
        monkeypatch.delenv("PRIVDISTILL_OFFLINE", raising=False)
        return
    monkeypatch.setenv("PRIVDISTILL_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    def refuse(sock: socket.socket, address: object) -> None:
        raise AssertionError(f"a test without the marker `network` opened a socket of family {sock.family.name}")

    monkeypatch.setattr(socket.socket, "connect", _only_local(socket.socket.connect, refuse))
    monkeypatch.setattr(socket.socket, "connect_ex", _only_local(socket.socket.connect_ex, refuse))


def _only_local(real: Callable, refuse: Callable) -> Callable:
    def connect(sock: socket.socket, address: object) -> object:
        return real(sock, address) if sock.family == socket.AF_UNIX else refuse(sock, address)

    return connect


def toy_rows(n: int, seed: int = 0) -> list[tuple[str, str]]:
    """`n` distinct own sentences with the label good or bad (learnable from one word); the same for the same seed."""
    draw = random.Random(seed)
    rows: dict[str, str] = {}
    while len(rows) < n:
        label = draw.choice(("good", "bad"))
        word = draw.choice(_GOOD if label == "good" else _BAD)
        number = draw.randrange(10_000)
        text = f"the {word} {draw.choice(_THINGS)} {draw.choice(_PLACES)} was {word} {draw.choice(_TAILS)} at {number}."
        rows.setdefault(text, label)
    return list(rows.items())


@pytest.fixture
def toy_csv(tmp_path: Path) -> Path:
    """A csv of 400 own sentences with columns text, label and person (80 persons, 5 records each)."""
    path = tmp_path / "toy.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label", "person"))
        writer.writerows((text, label, f"p{i % 80:03d}") for i, (text, label) in enumerate(toy_rows(400)))
    return path


@pytest.fixture(scope="session")
def tiny_language_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained two-layer Llama with a byte-level tokenizer, as safetensors."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-language-model")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text for text, _ in toy_rows(500, seed=1)), trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>")
    fast.pad_token = "<|im_end|>"
    fast.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=fast.bos_token_id,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained two-layer BERT (32 dimensions) with a WordPiece tokenizer, as safetensors."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-encoder")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator((text for text, _ in toy_rows(500, seed=1)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))],
    )
    fast = BertTokenizerFast(tokenizer_object=tokenizer, model_max_length=128)
    config = BertConfig(
        vocab_size=len(fast),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=512,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def other_tiny_encoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The architecture and tokenizer of `tiny_encoder` with weights of its own."""
    import torch
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("other-encoder")
    shutil.copytree(tiny_encoder, folder, dirs_exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertModel(BertConfig.from_pretrained(tiny_encoder)).save_pretrained(folder)
    return folder


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory without a configuration file above it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder
