"""The benchmark corpora and their fixed split: test is a function of each text alone, the rest is private."""

import csv
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from privdistill.evaluation.students import majority_score
from privdistill.models import assets

Row = tuple[str, str]


@dataclass(frozen=True)
class Corpus:
    """A benchmark corpus, with what is declared about it."""

    name: str
    labels: tuple[str, ...]
    describe: str
    label_descriptions: Mapping[str, str]
    metric: Literal["accuracy", "balanced_accuracy"]
    """What the tables show: balanced accuracy where one class is rare."""
    size: int
    """Declared number of records that a run reads, in round figures."""
    private: tuple[Row, ...]
    test: tuple[Row, ...]

    def write(self, path: Path) -> None:
        """Write the private part as the csv that the product reads."""
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("text", "label"))
            writer.writerows(self.private)

    def majority(self) -> float:
        """Of always answering the commonest label; under balanced accuracy that is one over the number of classes."""
        if self.metric == "balanced_accuracy":
            return 1 / len(self.labels)
        return majority_score([label for _, label in self.private], [label for _, label in self.test])


def names() -> tuple[str, ...]:
    """All corpora."""
    return tuple(_SPECS)


def load(name: str) -> Corpus:
    """One of `reviews`, `questions` and `messages`."""
    asset, column, describe, words, size = _SPECS[name]
    rows: dict[str, str] = {}
    with assets.fetch(asset).open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            text = " ".join(row["text"].split())
            if len(text.split()) >= 3:
                rows.setdefault(text, row[column])
    test = tuple((text, label) for text, label in rows.items() if _bucket(text) < 2)
    private = tuple((text, label) for text, label in rows.items() if _bucket(text) >= 2)
    metric: Literal["accuracy", "balanced_accuracy"] = "balanced_accuracy" if name == "messages" else "accuracy"
    return Corpus(name, tuple(words), describe, words, metric, size, private, test)


def _bucket(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest(), 16) % 10


_SPECS = {
    "reviews": ("demo-corpus", "category", "short movie reviews", {"fresh": "positive", "rotten": "negative"}, 7000),
    "questions": (
        "trec",
        "label",
        "short trivia questions",
        {
            "ABBR": "abbreviation",
            "DESC": "description and explanation",
            "ENTY": "entity, thing or product",
            "HUM": "person or group",
            "LOC": "location",
            "NUM": "number or date",
        },
        3000,
    ),
    "messages": (
        "sms-spam",
        "label",
        "text messages",
        {"ham": "personal messages between friends", "spam": "advertising, prizes and paid services"},
        2500,
    ),
}
