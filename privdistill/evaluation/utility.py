"""What a run's rows are worth on real records: train on synthetic, test on real.

Both students of `students` and the majority class, each with a Wilson interval over the test records. The numbers are
computed on private records without noise: internal, never part of a bundle. It does not know how the rows were made.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audits.findings import Estimate
from privdistill.config import RunConfig
from privdistill.errors import CorpusError
from privdistill.evaluation.students import majority_score, train_and_test
from privdistill.models import assets

__all__ = ["Utility", "measure", "wilson"]

_Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Utility:
    """Accuracies on real test records.

    Attributes:
        words: TF-IDF student.
        embedding: sentence-embedding student.
        majority: always the commonest synthetic label.
        rows: synthetic rows trained on.
    """

    words: Estimate
    embedding: Estimate
    majority: Estimate
    rows: int

    def as_dict(self) -> dict[str, Any]:
        """The numbers as JSON."""
        found = asdict(self)
        for name in ("words", "embedding", "majority"):
            found[name] = getattr(self, name).model_dump(mode="json")
        return found | {"internal": True}

    def lines(self) -> list[str]:
        """The numbers in sentences."""
        named = {"TF-IDF student": self.words, "embedding student": self.embedding, "majority class": self.majority}
        out = [f"trained on {self.rows} synthetic rows, tested on {self.words.n} real records; internal numbers"]
        out += [f"  {name:18} {e.value:.3f}  ({e.low:.3f} to {e.high:.3f}, {e.method})" for name, e in named.items()]
        return out


def measure(
    data: Path,
    texts: Sequence[str],
    labels: Sequence[str] | None,
    config: RunConfig,
    progress: assets.AssetProgress,
) -> Utility:
    """Train the students on a candidate and test them.

    Raises:
        CorpusError: the test records have no labels, or the run is unlabelled.
    """
    import pyarrow.parquet as pq

    from privdistill.models.encoder import SentenceEncoder

    if labels is None:
        raise CorpusError("an unlabelled run has no classes to test; evaluate needs a label column")
    table = pq.read_table(data)
    rows, answers = table["text"].to_pylist(), table["label"].to_pylist()
    encoder = SentenceEncoder(
        assets.resolve(config.synthesis.encoder, "encoder", progress),
        model_id="encoder",
        dtype=config.performance.dtype,
    )
    train = (rows, encoder.embed(rows), answers)
    test = (texts, encoder.embed(texts, lambda done, total: progress("encoding test records", done, total)), labels)
    scores = train_and_test(train, test)
    n = len(labels)
    return Utility(
        wilson(scores.words, n), wilson(scores.embedding, n), wilson(majority_score(answers, labels), n), len(rows)
    )


def wilson(share: float, n: int) -> Estimate:
    """95 % Wilson interval of a share of n records.

    Example:
        >>> round(wilson(0.5, 100).low, 3)
        0.404
    """
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return Estimate(
        value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), n=n, method="Wilson 95 %, test records"
    )
