"""Planted statistics: a public map over ten made-up tokens, planted class rates, and releases with chosen noise."""

import numpy as np

from privdistill.features.blocks import block_vector, shaped
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.release import MechanismRecord, Release, StatisticRequest
from privdistill.synthesis.measurement import PublicMap, make_public_map

VOCABULARY = 40
WIDTH = 12
RECORD = MechanismRecord(
    "statistic", "gaussian", 1.0, 1.0, 1, 1.0, {}, "full-batch", "discrete-gaussian", 1, 1.0, 0.0, 0.0
)


def planted_texts(n: int, rng: np.random.Generator, *, informative: float = 0.7) -> tuple[Encoded, np.ndarray]:
    """`n` encoded records of two classes: token 1 opens and 11 marks class 0, tokens 2 and 12 class 1."""
    labels = rng.integers(2, size=n)
    tokens = []
    for label in labels:
        body = rng.integers(20, VOCABULARY, size=int(rng.integers(4, 14)))
        mark = 11 + label if rng.random() < informative else 11 + (1 - label)
        opening = 1 + label if rng.random() < informative else 3
        tokens.append(np.concatenate([[opening], body, [mark, 5]]).astype(np.int64))
    points = rng.standard_normal((n, WIDTH))
    points[:, 0] += 2.0 * (2 * labels - 1)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Encoded(points.astype(np.float32), tuple(tokens), np.zeros(n, dtype=bool)), labels


def planted_map(rng: np.random.Generator) -> PublicMap:
    """The public map of a public pool without class information."""
    return make_public_map(planted_texts(200, rng, informative=0.5)[0], VOCABULARY, 0.6)


def answer(
    request: StatisticRequest,
    texts: Encoded,
    labels: np.ndarray,
    rng: np.random.Generator,
    noise_multiplier: float,
) -> Release:
    """A release with plain noise: what the door would give, without its exact integers."""
    classes = len(request.classes.names)
    sensitivity = np.sqrt(sum(part**2 for part in request.sensitivity_parts.values()))
    payload, noise = {}, {}
    for block in request.blocks:
        width = int(np.prod(block.shape, dtype=np.int64))
        total = np.zeros((classes if block.per_class else 1) * width)
        for i, y in enumerate(labels):
            cells, values = block_vector(block, texts.tokens[i], texts.embeddings[i], int(y))
            np.add.at(total, cells + (int(y) * width if block.per_class else 0), values)
        deviation = noise_multiplier * sensitivity / block.scale
        payload[block.name] = shaped(block, total + deviation * rng.standard_normal(total.shape), classes)
        noise[block.name] = deviation * (np.sqrt(block.positions) if block.name == "opening" else 1.0)
    return Release(payload, noise, RECORD, request.classes.names)
