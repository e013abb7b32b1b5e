"""Turn fetched files into the form they are used in: GGUF into safetensors, raw corpora into plain csv.

Each conversion runs once, when an asset is fetched, and is deterministic. It does not know where its input comes from
or whether its hash was right.
"""

import bz2
import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

__all__ = ["film_reviews_to_csv", "gguf_to_safetensors", "messages_to_csv", "questions_to_csv"]


def gguf_to_safetensors(gguf: Path, into: Path) -> None:
    """Write a GGUF language model as bfloat16 safetensors with its tokenizer: loading then takes a second.

    The weights are dequantised and copied into a fresh model without a quantisation entry in its configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with _quiet():
        quantised = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
        config = quantised.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        fresh = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
        fresh.load_state_dict(quantised.state_dict())
        fresh.save_pretrained(into)
        tokenizer.save_pretrained(into)


def film_reviews_to_csv(source: Path, target: Path) -> None:
    """Keep the sentences labelled fresh or rotten (not the plots), as columns text and category."""
    with bz2.open(source, "rt", encoding="utf-8", newline="") as stream:
        rows = [
            (row["text"], row["category"]) for row in csv.DictReader(stream) if row["category"] in ("fresh", "rotten")
        ]
    _write(target, ("text", "category"), rows)


def questions_to_csv(source: Path, target: Path) -> None:
    """Distinct questions with their coarse type, as columns text and label."""
    first: dict[str, str] = {}
    for line in source.read_text(encoding="latin-1").splitlines():
        kind, _, text = line.partition(" ")
        text = " ".join(text.split())
        if text:
            first.setdefault(text, kind.partition(":")[0])
    _write(target, ("text", "label"), first.items())


def messages_to_csv(source: Path, target: Path) -> None:
    """Text messages marked ham or spam, as columns text and label."""
    with source.open(encoding="utf-8", newline="") as stream:
        rows = [(row["text"], ("ham", "spam")[int(row["spam"])]) for row in csv.DictReader(stream)]
    _write(target, ("text", "label"), rows)


def _write(target: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    target.write_bytes(buffer.getvalue().encode("utf-8"))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the library's own bars and notes off the terminal: progress is the caller's."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # the de-quantiser has a bar that no setting reaches
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
