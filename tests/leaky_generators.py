"""Generators that leak, as negative controls of the examiner, and small corpora of template sentences to leak from.

A leaky generator takes (train texts, clean rows, random generator) and returns synthetic rows. `clean` leaks nothing.
"""

import hashlib
import hmac
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from audits.accounting import discretisation_delta, gaussian_delta, gaussian_epsilon
from audits.conformance.texts import sentences

__all__ = [
    "KEY",
    "LEAKS",
    "claim_for",
    "clean",
    "identifier_replay",
    "near_copies",
    "paraphrases",
    "passthrough",
    "person_level",
    "planted_records",
    "quoted_runs",
    "sentences",
    "side_of",
    "verbatim",
    "write_jsonl",
]

KEY = bytes(range(32))


def clean(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Nothing of the train side."""
    del train, rng
    return list(rows)


def passthrough(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Private rows as they are."""
    return [str(text) for text in rng.choice(train, min(len(rows), len(train)), replace=False)]


def verbatim(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Copies forty records, in capitals and with other spacing and punctuation."""
    copied = [str(text) for text in rng.choice(train, 40, replace=False)]
    return rows + [text.upper().replace(" ", "  ").replace(",", " -") + "\u200b!" for text in copied]


def quoted_runs(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Quotes eight words of sixty records inside other rows."""
    out = list(rows)
    for place, text in zip(rng.choice(len(out), 60, replace=False), rng.choice(train, 60, replace=False), strict=True):
        words = str(text).split()
        start = int(rng.integers(0, max(len(words) - 8, 0) + 1))
        out[place] = f"{out[place]} and {' '.join(words[start : start + 8])} all along"
    return out


def near_copies(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Copies sixty records with one word in three exchanged, so that no long run survives."""
    out = list(rows)
    for text in rng.choice(train, 60, replace=False):
        words = str(text).split()
        for place in range(int(rng.integers(0, 3)), len(words), 3):
            words[place] = words[place][:1] + "e" + words[place][2:]
        out.append(" ".join(words))
    return out


def person_level(people: dict[str, list[str]], rows: list[str], rng: np.random.Generator, count: int) -> list[str]:
    """Copies every record of a few people."""
    chosen = rng.choice(sorted(people), count, replace=False)
    return rows + [text for person in chosen for text in people[str(person)]]


def identifier_replay(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Puts the phone number of forty records, spelt otherwise, into other rows."""
    carriers = [text for text in train if "call +49" in text]
    out = list(rows)
    for place, text in zip(
        rng.choice(len(out), 40, replace=False), rng.choice(carriers, 40, replace=False), strict=True
    ):
        digits = "".join(c for c in str(text).split("call +49", 1)[1] if c.isdigit())
        out[place] = f"{out[place]} (0{digits[:3]}) {digits[3:]}"
    return out


def planted_records(inserted: list[str], rows: list[str], rng: np.random.Generator, count: int) -> list[str]:
    """Copies the second half of some planted records into rows of its own."""
    chosen = rng.choice(inserted, count, replace=False)
    return rows + [f"so they said {' '.join(str(text).split()[6:])}" for text in chosen]


def paraphrases(train: list[str], rows: list[str], rng: np.random.Generator, count: int = 80) -> list[str]:
    """Says again what some records say: other order, some words dropped, so that no run survives."""
    out = list(rows)
    for text in rng.choice(train, count, replace=False):
        words = str(text).replace(",", "").split()
        out.append(" ".join(words[place] for place in rng.permutation(len(words))[: len(words) - 2]))
    return out


LEAKS = {
    "passthrough": passthrough,
    "verbatim": verbatim,
    "quoted_runs": quoted_runs,
    "near_copies": near_copies,
}


def side_of(text: str, holdout: float, key: bytes = KEY) -> bool:
    """Whether the contract's key puts a unit on the holdout side."""
    draw = hmac.new(key, b"privdistill/side/v1\0" + text.encode(), hashlib.sha256).digest()[:8]
    return int.from_bytes(draw, "big") / 2**64 < holdout


def write_jsonl(path: Path, texts: list[str], **columns: list[str]) -> Path:
    """Write texts, and further columns, as JSON lines."""
    rows = [{"text": text, **{name: values[i] for name, values in columns.items()}} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def claim_for(data: Path, rows: int, *, sigma: float = 1.4, delta: float = 1e-6, **changes: Any) -> dict[str, Any]:
    """An honest claim of one discrete Gaussian for a file; `changes` replace top-level fields."""
    cells, grid = 5_000, 2.0**26
    book = discretisation_delta(12.0, cells, grid)
    composition = 0.99 * (delta - book)
    epsilon = gaussian_epsilon(composition, 1 / sigma) * 1.0001
    claim: dict[str, Any] = {
        "schema": "privdistill.claim/v1",
        "run_id": "r1",
        "created_at": "2026-01-01T00:00:00Z",
        "code_version": "0",
        "recipe": "test",
        "data_sha256": hashlib.sha256(data.read_bytes()).hexdigest(),
        "rows": rows,
        "epsilon": epsilon,
        "delta": delta,
        "delta_parts": {"composition": composition, "discretisation": book, "thresholds": 0.0},
        "adjacency": "add-or-remove-one-unit",
        "privacy_unit": "record",
        "contribution_bound": 1,
        "source_id": "s1",
        "split_commitment": hashlib.sha256(b"privdistill/split-key/v1\0" + KEY).hexdigest(),
        "holdout": 0.4,
        "mechanisms": [
            {
                "name": "statistic",
                "kind": "gaussian",
                "noise_multiplier": sigma,
                "sample_rate": 1.0,
                "steps": 1,
                "sensitivity": math.sqrt(2.0),
                "sensitivity_parts": {"count": 1.0, "moment": 1.0},
                "sampler": "full-batch",
                "noise": "discrete-gaussian",
                "dimension": cells,
                "noise_grid_steps": grid,
                "delta_discretisation": book,
                "delta_threshold": 0.0,
            }
        ],
        "accountant": {"name": "closed form", "version": "1", "epsilon": epsilon},
        "second_accountant": None,
        "rdp_epsilon": None,
        "mu": 1 / sigma,
        "privacy_profile": [{"epsilon": e, "delta": gaussian_delta(e, 1 / sigma) + book} for e in (0.5, 1.0, 2.0)],
        "declarations": {
            "describe": None,
            "labels": None,
            "label_descriptions": {},
            "size": None,
            "text_column": "text",
            "label_column": None,
            "unit_column": None,
            "statement": "public",
        },
        "not_protected": [],
        "models": [],
        "noise_source": "test",
    }
    claim.update(changes)
    return claim
