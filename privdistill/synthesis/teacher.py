"""The DP teacher: a classifier read off a noised statistic, free of further privacy cost.

Three views of one release are added up as log-odds: linear discriminant analysis of the embedding moments, and naive
Bayes of the token presence and of the opening words. The two lexical views count a third: words of one text repeat each
other's evidence.

As a file it is safetensors and holds numbers only: post-processing of releases, covered by the claim of its run. It
does not know private text; its training data are the released sums.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from privdistill.errors import RunError
from privdistill.features.blocks import project
from privdistill.features.encoded import Encoded
from privdistill.matching.target import NoisyTarget, believable, shrunk_sums
from privdistill.mechanisms.release import FloatArray, MomentBlock, OpeningBlock, Release, TokenBlock

__all__ = ["Teacher", "fit_teacher", "projected"]

IntArray = npt.NDArray[np.int64]

_SCHEMA = "privdistill.teacher/v1"
_LEXICAL_WEIGHT = 0.35
_RIDGE = 3e-3
"""Added to the eigenvalues of the covariance: embeddings have unit norm."""
_FLOOR = 0.2
"""Least eigenvalue, as a share of the median one: where noise drowns them all, the discriminant becomes the mean's."""


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """Class probabilities of encoded texts.

    Attributes:
        moment: the public map into the subspace.
        columns: (tokenizer size,) token id -> column of the statistic.
        weights: (d, K) discriminant directions.
        offset: (K,) their constants, priors included.
        tokens: (V, K) log-odds of each token column; zero where nothing is known.
        openings: (P, V, K) log-odds of each opening column.
        names: the K classes.
    """

    moment: MomentBlock
    columns: IntArray
    weights: FloatArray
    offset: FloatArray
    tokens: FloatArray
    openings: FloatArray
    names: tuple[str, ...]

    def content(self) -> bytes:
        """The teacher as a file; of the log-odds, the rows that say something."""
        told = [np.flatnonzero(table.any(axis=1)) for table in (self.tokens, *self.openings)]
        arrays = {
            "centre": self.moment.centre,
            "basis": self.moment.basis,
            "clip": np.array([self.moment.clip, self.moment.scale]),
            "columns": self.columns,
            "weights": self.weights,
            "offset": self.offset,
        }
        for number, (rows, table) in enumerate(zip(told, (self.tokens, *self.openings), strict=True)):
            arrays |= {f"rows.{number}": rows, f"odds.{number}": table[rows]}
        said = {"schema": _SCHEMA, "names": json.dumps(self.names), "width": str(len(self.tokens))}
        return save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata=said)

    @classmethod
    def load(cls, file: Path) -> "Teacher":
        """Read what `content` wrote.

        Raises:
            RunError: it is something else.
        """
        try:
            with safe_open(file, framework="np") as stored:
                said = stored.metadata() or {}
                if said.get("schema") != _SCHEMA:
                    raise KeyError("schema")
                arrays = {name: stored.get_tensor(name) for name in stored.keys()}
            clip, scale = arrays["clip"]
            moment = MomentBlock(float(scale), arrays["centre"], arrays["basis"], float(clip))
            names = tuple(str(name) for name in json.loads(said["names"]))
            tables = []
            for number in range(sum(name.startswith("rows.") for name in arrays)):
                table = np.zeros((int(said["width"]), len(names)))
                table[arrays[f"rows.{number}"]] = arrays[f"odds.{number}"]
                tables.append(table)
            weights, offset, tokens = arrays["weights"], arrays["offset"], tables[0]
            openings = np.stack(tables[1:]) if tables[1:] else np.zeros((0, *tokens.shape))
            return cls(moment, arrays["columns"], weights, offset, tokens, openings, names)
        except (OSError, SafetensorError, KeyError, ValueError, IndexError):
            raise RunError(
                f"{file} is not a teacher of {_SCHEMA}; it was edited or written by another version. Generate a new run"
            ) from None

    def answers(self, texts: Encoded, classes: Sequence[str]) -> IntArray:
        """Index of the likeliest of `classes` for each text, (n,); a class it does not know is never the one."""
        columns = [self.names.index(name) if name in self.names else -1 for name in classes]
        odds = np.hstack([self.probabilities(texts), np.full((len(texts), 1), -1.0)])  # (n, K + 1)
        return np.asarray(odds[:, columns].argmax(axis=1), dtype=np.int64)

    def reading(self, texts: Encoded) -> FloatArray:
        """How much more the embedding of each text speaks for each class than the other texts do, (n, K)."""
        scores = projected(texts, self.moment) @ self.weights  # (n, K)
        scores -= scores.mean(axis=0)
        return np.asarray(scores - scores.mean(axis=1, keepdims=True), dtype=np.float64)

    def probabilities(self, texts: Encoded) -> FloatArray:
        """Class probabilities, (n, K)."""
        scores = projected(texts, self.moment) @ self.weights + self.offset  # (n, K)
        for i, ids in enumerate(texts.tokens):
            columns = self.columns[ids[ids < self.columns.size]]
            present = np.unique(columns[columns >= 0])
            scores[i] += _LEXICAL_WEIGHT * self.tokens[present].sum(axis=0)
            for position, column in enumerate(columns[: len(self.openings)]):
                if column >= 0:
                    scores[i] += _LEXICAL_WEIGHT * self.openings[position, column]
        return softmax(scores)

    def disputed(self, texts: Encoded) -> npt.NDArray[np.bool_]:
        """Which texts teachers disagree about, (n,): none, where there is one teacher."""
        return np.zeros(len(texts), dtype=bool)


def fit_teacher(
    release: Release,
    target: NoisyTarget,
    *,
    moment: MomentBlock,
    tokens: TokenBlock,
    opening: OpeningBlock,
    ridge: float = _RIDGE,
) -> Teacher:
    """Read a teacher off a release.

    Args:
        release: blocks count, moment, second, tokens, opening.
        target: the same release, read.
        moment: the map the moments were taken with.
        tokens: the vocabulary of the token block.
        opening: that of the opening block (same columns).
        ridge: added to the eigenvalues of the covariance.
    """
    means, counts = target.means, target.counts  # (K, d), (K,)
    covariance = _covariance(release, target, ridge)  # (d, d)
    weights = np.linalg.solve(covariance, means.T).astype(np.float64)  # (d, K)
    offset = -0.5 * np.einsum("kd,dk->k", means, weights) + np.log(target.shares)  # (K,)
    lexical = np.zeros((tokens.width, len(counts)))  # (V, K)
    _fill_log_odds(lexical, release.block("tokens"), counts, release.noise["tokens"])
    openings = np.zeros((opening.positions, opening.width, len(counts)))  # (P, V, K)
    for position in range(opening.positions):
        _fill_log_odds(openings[position], release.block("opening")[:, position], counts, release.noise["opening"])
    return Teacher(moment, tokens.columns, weights, offset, lexical, openings, release.classes)


def projected(texts: Encoded, moment: MomentBlock) -> FloatArray:
    """Clipped projections of encoded texts, (n, d): the map that private records went through."""
    rows = [project(one, moment.centre, moment.basis, moment.clip) for one in texts.embeddings]
    return np.stack(rows) if rows else np.zeros((0, moment.basis.shape[1]))


def softmax(scores: FloatArray) -> FloatArray:
    """Rows of scores as probabilities."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _fill_log_odds(out: FloatArray, sums: FloatArray, counts: FloatArray, noise: float) -> None:
    """Log of each class's shrunk rate over the common rate, into the believable rows of `out` (V, K)."""
    columns = believable(sums, noise)
    expected = sums[:, columns].sum(axis=0) / counts.sum() * counts[:, None]  # (K, G)
    out[columns] = np.log(shrunk_sums(sums[:, columns], counts, noise) / expected).T


def _covariance(release: Release, target: NoisyTarget, ridge: float) -> FloatArray:
    """Noised covariance within classes, made positive definite; (d, d)."""
    means = target.means  # (K, d)
    within = release.block("second") / target.counts.sum() - (means.T * target.shares) @ means
    values, vectors = np.linalg.eigh(within)
    values = np.maximum(values, _FLOOR * np.median(np.abs(values))) + ridge
    return np.asarray((vectors * values) @ vectors.T, dtype=np.float64)
