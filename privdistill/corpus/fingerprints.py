"""Keyed fingerprints of a corpus' units, by which a ledger recognises people and records that it has met before.

A fingerprint is a PRF value of one unit's own id, or of one record's normalised text, under a source's secret key:
without the key it says nothing, and under another key it is another value. Contents are fingerprinted for every unit,
so that an export with fresh pseudonyms, or the same texts declared under another unit, is recognised too.

It does not know ledgers, nor what is done about an overlap.
"""

import hmac
import json

from privdistill.corpus.sides import normalise
from privdistill.corpus.units import Split

__all__ = ["digest", "fingerprints"]

_CONTENT = b"privdistill/unit-set/content/v1\0"
_ID = b"privdistill/unit-set/id/v1\0"
_RECORD = b"privdistill/record/v1\0"
_CORPUS = b"privdistill/corpus/v1\0"
_WIDTH = 16


def fingerprints(sides: Split, key: bytes) -> frozenset[bytes]:
    """Of every unit on both sides, under `key`."""
    both = (sides.train, sides.holdout)
    found = {_prf(key, _CONTENT, normalise(text)) for side in both for text in side.texts}
    if sides.units.unit != "record":
        found |= {_prf(key, _ID, unit) for side in both for unit in set(side.units)}
    return frozenset(found)


def digest(sides: Split, key: bytes) -> str:
    """One keyed value of everything that was read: equal for the same records, labels, units and sides in any order."""
    records = sorted(
        _prf(key, _RECORD, json.dumps([number, unit, text, label]))
        for number, side in enumerate((sides.train, sides.holdout))
        for unit, text, label in zip(side.units, side.texts, side.labels or [None] * len(side.texts), strict=True)
    )
    return hmac.digest(key, _CORPUS + b"".join(records), "sha256").hex()


def _prf(key: bytes, domain: bytes, value: str) -> bytes:
    return hmac.digest(key, domain + value.encode("utf-8", "surrogatepass"), "sha256")[:_WIDTH]
