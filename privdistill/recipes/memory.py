"""What a run has written with the public model so far, so that a resumed run goes on from the same public texts.

Public texts decide the public map, and the map decides what is measured: a run whose release is kept has to find the
texts that came before it. They, and the seed of the sampling (which is no noise), lie under RUN/private. What an
adapted model writes is not remembered: it is post-processing, and is written anew.

It does not know releases, records or recipes.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from privdistill.atomic import write_atomically
from privdistill.models.interface import TunableModel

__all__ = ["RememberingModel", "sampling_generator"]

_SEED, _WRITTEN = "sampling.json", "written.jsonl"


def sampling_generator(private: Path) -> np.random.Generator:
    """Randomness for sampling and selection, from the operating system; the same again for a resumed run."""
    file = private / _SEED
    if not file.exists():
        write_atomically(file, json.dumps(secrets.randbits(128)).encode())
    return np.random.default_rng(json.loads(file.read_bytes()))


class RememberingModel:
    """A tunable model that writes down what it samples, and answers from that as long as it is asked the same."""

    def __init__(self, inner: TunableModel, private: Path) -> None:
        """Remember in `private`, which exists."""
        self._inner, self._file = inner, private / _WRITTEN
        self._known = _read(self._file)
        self._asked: dict[str, int] = {}

    def sample(self, prompts: Sequence[str], *, rng: np.random.Generator, **options: Any) -> list[tuple[str, bool]]:
        """As the model does, or as it did; `rng` is left in the same state either way."""
        key = _key(prompts, options)
        turn = self._asked[key] = self._asked.get(key, 0) + 1
        known = self._known.get(f"{turn} {key}")
        if known is not None:
            rng.bit_generator.state = known["then"]
            return [(text, ended) for text, ended in known["written"]]
        written = self._inner.sample(prompts, rng=rng, **options)
        line = {"asked": f"{turn} {key}", "written": written, "then": rng.bit_generator.state}
        self._append(json.dumps(line))
        return written

    def __getattr__(self, name: str) -> Any:
        """Everything else is the model's own."""
        return getattr(self._inner, name)

    def _append(self, line: str) -> None:
        descriptor = os.open(self._file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "a", encoding="utf-8") as file:
            file.write(f"\n{line}\n")  # a line that a killed process left unfinished ends here
            file.flush()
            os.fsync(file.fileno())


def _read(file: Path) -> dict[str, dict[str, Any]]:
    """Key -> line; what a killed process left unfinished is passed over."""
    found = {}
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    for line in lines:
        try:
            one = json.loads(line)
            found[one["asked"]] = one
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _key(prompts: Sequence[str], options: dict[str, Any]) -> str:
    """One value of everything that decides what is written, but the random state."""
    into = hashlib.sha256(json.dumps(list(prompts)).encode())
    for name, value in sorted(options.items()):
        if name != "progress":
            plain = value is None or isinstance(value, str | int | float)
            array = b"" if plain else np.ascontiguousarray(value).tobytes()
            into.update(f"{name} {value if plain else ''} {len(array)} ".encode() + array)
    return into.hexdigest()
