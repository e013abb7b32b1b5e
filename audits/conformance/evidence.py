"""Evidence in memory, from lists of texts: what a check is run on without any file."""

import hashlib

from audits.evidence import Evidence, Settings
from audits.inputs.files import Table
from audits.inputs.units import make_source, make_synthetic
from audits.split import SplitEvidence

__all__ = ["evidence"]


def evidence(train: list[str], holdout: list[str], rows: list[str]) -> Evidence:
    """Return evidence whose sides are known to be exchangeable; with an empty holdout, evidence without a control."""
    tables = [_table(name, texts) for name, texts in (("train", train), ("holdout", holdout)) if texts]
    digest = hashlib.sha256("\0".join(rows).encode()).hexdigest()
    return Evidence(
        source=make_source(tables[0], tables[1] if holdout else None, "text", None, by_content=True),
        synthetic=make_synthetic(rows),
        synthetic_sha256=digest,
        read_claim=None,
        split=SplitEvidence("own" if holdout else "none", key_given=bool(holdout), holdout=0.4 if holdout else None),
        settings=Settings(max_detectable=0.5),
        key=bytes(32),
    )


def _table(name: str, texts: list[str]) -> Table:
    return Table(name, "", {"text": texts}, len(texts))
