"""What is measured: public maps and scales of the one statistic, fixed before any private record is read.

Scales are constants: what each block may weigh in a record's sensitivity. They were chosen once, on the training
parts of two public corpora, and do not depend on the corpus at hand. It does not know releases, nor private text.
"""

from dataclasses import dataclass

import numpy as np

from privdistill.features.encoded import Encoded
from privdistill.mechanisms.release import (
    Block,
    CountBlock,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    TokenBlock,
)

__all__ = [
    "OPENING_POSITIONS",
    "PublicMap",
    "block_cells",
    "block_weights",
    "make_public_map",
    "most_dimensions",
    "record_sensitivity",
]

_DIMENSIONS = (192, 128)
_QUIET_NOISE = 1.5
"""Up to this noise multiplier the larger subspace is measured: quiet moments carry more directions."""
_TEXTS_PER_DIMENSION = 2
_CLIP_QUANTILE = 0.9
OPENING_POSITIONS = 4
_LENGTH_EDGES = (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192)
_WEIGHTS = {"count": 1.0, "moment": 1.5, "tokens": 1.5, "opening": 1.2, "length": 0.5, "second": 1.0}
"""Scale times norm bound of each block."""


@dataclass(frozen=True, slots=True, eq=False)
class PublicMap:
    """The blocks of the statistic."""

    count: CountBlock
    moment: MomentBlock
    second: SecondMomentBlock
    tokens: TokenBlock
    opening: OpeningBlock
    length: LengthBlock

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All blocks, as a request wants them."""
        return (self.count, self.moment, self.tokens, self.opening, self.length, self.second)


def record_sensitivity() -> float:
    """L2 norm of one record's whole vector when every block is full, in units of its count."""
    return float(np.sqrt(sum(weight**2 for weight in _WEIGHTS.values())))


def block_weights() -> dict[str, float]:
    """Scale times norm bound of each block."""
    return dict(_WEIGHTS)


def block_cells(noise_multiplier: float) -> dict[str, tuple[int, int]]:
    """Cells of each block in one class (`second`: in all), and how many more each token of the vocabulary adds."""
    d = most_dimensions(noise_multiplier)
    return {
        "count": (1, 0),
        "moment": (d, 0),
        "tokens": (0, 1),
        "opening": (0, OPENING_POSITIONS),
        "length": (len(_LENGTH_EDGES) + 1, 0),
        "second": (d * (d + 1) // 2, 0),
    }


def most_dimensions(noise_multiplier: float) -> int:
    """Largest dimension of the subspace that is worth measuring under this noise."""
    return _DIMENSIONS[noise_multiplier > _QUIET_NOISE]


def make_public_map(public: Encoded, vocabulary: int, noise_multiplier: float) -> PublicMap:
    """Centre, basis and clipping norm from the public pool; all tokens and openings of the public vocabulary.

    Args:
        public: the encoded public pool, at least two texts.
        vocabulary: number of token ids.
        noise_multiplier: of the planned statistic.
    """
    points = public.embeddings.astype(np.float64)  # (m, D)
    centre = points.mean(axis=0)  # (D,)
    most = most_dimensions(noise_multiplier)
    d = int(np.clip(len(points) // _TEXTS_PER_DIMENSION, 1, min(most, points.shape[1])))
    _, _, directions = np.linalg.svd(points - centre, full_matrices=False)
    basis = np.ascontiguousarray(directions[:d].T)  # (D, d)
    norms = np.linalg.norm((points - centre) @ basis, axis=1)  # (m,)
    clip = max(float(np.quantile(norms, _CLIP_QUANTILE)), 1e-3)
    columns = np.arange(vocabulary, dtype=np.int64)
    return PublicMap(
        CountBlock(_WEIGHTS["count"]),
        MomentBlock(_WEIGHTS["moment"] / clip, centre, basis, clip),
        SecondMomentBlock(_WEIGHTS["second"] / clip**2, centre, basis, clip),
        TokenBlock(_WEIGHTS["tokens"], columns, vocabulary),
        OpeningBlock(_WEIGHTS["opening"], columns, vocabulary, OPENING_POSITIONS),
        LengthBlock(_WEIGHTS["length"], _LENGTH_EDGES),
    )
