"""The spaces that students read, and the model that each of them stands on.

The run's own encoder always; static embeddings, made of the language model that wrote the rows, where their student is
wanted and can be had; another encoder where somebody named one. Whether that one really is another is looked at: equal
weights, or equal answers, make it the run's own. It does not know what is learnt in a space.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from privdistill.config import Performance, Synthesis
from privdistill.errors import AssetError
from privdistill.evaluation.students.static import StaticEncoder
from privdistill.models import assets
from privdistill.models.loading import model_name
from privdistill.models.store import sha256_of

__all__ = ["Space", "coincide", "open_spaces", "same_encoder", "same_weights"]

Embeddings = npt.NDArray[np.float32]

_ALIKE = 0.99
"""Median cosine from which two encoders answer alike: other weights are turned against each other and stay far below,
the same ones in another number format above."""


@dataclass(frozen=True, slots=True)
class Space:
    """Embeddings of texts.

    Attributes:
        embed: texts -> (n, D).
        stands_on: the model, as a claim would name it; never a path.
        folder: where its weights lie, or None where they are not a sentence encoder's.
    """

    embed: Callable[[Sequence[str]], Embeddings]
    stands_on: str
    folder: Path | None = None


def open_spaces(
    synthesis: Synthesis,
    performance: Performance,
    *,
    static: bool,
    other: str | None,
    notes: list[str],
    progress: assets.AssetProgress,
) -> dict[str, Space]:
    """Load what students read: `encoder`, `static` and `other`.

    Args:
        synthesis: of the runs: their encoder and language model.
        performance: of the runs.
        static: whether static embeddings are wanted.
        other: another sentence encoder (`embedded`, an id or a path), or None.
        notes: takes what cannot be had, and why.
        progress: where to report.

    Raises:
        AssetError: an encoder cannot be had.
    """
    from privdistill.models.encoder import SentenceEncoder
    from privdistill.models.tokenizer import ModelTokenizer

    def sentences(spec: str, stage: str) -> Space:
        folder = assets.resolve(spec, "encoder", progress)
        name = model_name(spec, folder)
        encoder = SentenceEncoder(folder, model_id=name, dtype=performance.dtype, max_tokens=synthesis.max_tokens)
        return Space(lambda texts: encoder.embed(texts, lambda done, total: progress(stage, done, total)), name, folder)

    found = {"encoder": sentences(synthesis.encoder, "encoding")}
    if static:
        folder = assets.resolve(synthesis.model, "language-model", progress)
        try:
            table = StaticEncoder.load(folder, ModelTokenizer(folder, model_id="language model"))
        except AssetError as error:
            notes.append(f"student static: {error}")
        else:
            name = model_name(synthesis.model, folder)
            found["static"] = Space(table.embed, f"the input table of {name}, which wrote the rows")
    if other is not None:
        found["other"] = sentences(other, "encoding with the other encoder")
    return found


def same_encoder(spaces: Mapping[str, Space], embedded: Mapping[str, Embeddings]) -> bool:
    """Whether the other encoder is the run's own, by its weights or by what it says of the texts in `embedded`."""
    if "other" not in spaces:
        return False
    own, other = spaces["encoder"].folder, spaces["other"].folder
    return same_weights(own, other) or coincide(embedded["encoder"], embedded["other"])


def same_weights(one: Path | None, two: Path | None) -> bool:
    """Whether two folders hold the same weights, by the digests of their files; names and folders do not matter."""
    first, second = (_digests(folder) for folder in (one, two))
    return bool(first) and first == second


def coincide(one: Embeddings, two: Embeddings) -> bool:
    """Whether two encoders answer alike, (n, D) each of the same texts: a copy saved anew has another digest."""
    if one.shape != two.shape or not len(one):
        return False
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)  # (n,)
    return float(np.median(np.einsum("ij,ij->i", one, two) / np.maximum(lengths, 1e-12))) >= _ALIKE


def _digests(folder: Path | None) -> list[str]:
    return [] if folder is None else sorted(sha256_of(file) for file in folder.glob("*.safetensors"))
