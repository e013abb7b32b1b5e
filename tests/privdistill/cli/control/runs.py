"""Complete run directories with a ledger of their own, made without a model: what the gate is shown by a real run."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from privdistill.accounting.ledger import Ledger
from privdistill.config import RunConfig, Source
from privdistill.corpus.sides import sides_hmac
from privdistill.mechanisms.release import MechanismRecord, Reservation
from privdistill.runs import Manifest, RunDirectory
from tests.conftest import ROOT
from tests.leaky_generators import KEY, sentences, side_of

BASE = ROOT / "policies" / "cases" / "base"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON document in place."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def bind(run: Path) -> None:
    """Make the papers belong together again: claim to rows, audit to both. What a forger does last."""
    data, claim, audit = (
        run / "candidate" / "data.parquet",
        run / "candidate" / "claim.json",
        run / "audit" / "audit.json",
    )
    edit(claim, lambda d: d.update(data_sha256=digest(data)))
    if audit.exists():
        edit(audit, lambda d: d["inputs"].update(synthetic_sha256=digest(data), claim_sha256=digest(claim)))


def build_run(
    folder: Path,
    *,
    base: str = "epsilon-8",
    texts: list[str] | None = None,
    private: list[str] | None = None,
    claims: Mapping[str, object] = MappingProxyType({}),
) -> Path:
    """A run at `folder` whose papers are those of a base run of the policy cases, with a real charge in a real ledger.

    With `private` it has the two sides that the examiner reads; `claims` are changes of the claim that the ledger sees.
    Its ledger is beside it. The examiner's report is the base's: a stand-in for a run of the examiner.
    """
    documents = json.loads((BASE / f"{base}.json").read_text())
    claim, audit = documents["claim"], documents["audit"]
    rows = texts or [f"A synthetic review, number {i}, that nobody wrote." for i in range(150)]
    ledger = folder.parent / f"{folder.name}.ledger"
    book = Ledger(ledger)
    source = book.open_source("films", unit="record", holdout=0.3)
    config = RunConfig(source=Source(path="reviews.csv", label_column="category", labels=("fresh", "rotten")))
    run, manifest = RunDirectory.begin(folder, config=config, ledger=book.address, source_id=source.id)
    parts = claim["delta_parts"]
    budget = SimpleNamespace(epsilon=claim["epsilon"], delta=claim["delta"], delta_composition=parts["composition"])
    planned = [Reservation(m["name"], m["kind"], m["noise_multiplier"]) for m in claim["mechanisms"]]
    book.reserve_once(source, manifest.run_id, planned, budget)
    for mechanism in claim["mechanisms"]:
        book.draw(manifest.run_id, MechanismRecord(**mechanism))
    write_rows(run.data, rows)
    claim |= {"run_id": manifest.run_id, "source_id": source.id, "rows": len(rows), **claims}
    run.claim.write_text(json.dumps(claim))
    run.audit.write_text(json.dumps(audit))
    bind(folder)
    if private is not None:
        _add_sides(folder, private)
    book.commit(manifest.run_id, digest(run.claim))
    complete: Manifest = manifest.model_copy(update={"status": "complete"})
    run.write_manifest(complete)
    return folder


def write_rows(path: Path, texts: list[str]) -> None:
    labels = ["fresh" if i % 2 else "rotten" for i in range(len(texts))]
    pq.write_table(pa.table({"text": texts, "label": labels}), path)


def _add_sides(run: Path, private: list[str]) -> None:
    held = [text for text in private if side_of(text, 0.3)]
    chosen = set(held)
    train = [text for text in private if text not in chosen]
    for name, texts in (("train", train), ("holdout", held)):
        labels = ["fresh"] * len(texts)
        table = pa.table({"text": texts, "unit": texts, "label": labels})
        pq.write_table(table, run / "private" / f"{name}.parquet")
    (run / "private" / "split.key").write_text(KEY.hex() + "\n")
    named = sides_hmac(KEY, *((run / "private" / f"{name}.parquet").read_bytes() for name in ("train", "holdout")))
    (run / "private" / "sides.hmac").write_text(named + "\n")
    edit(run / "audit" / "audit.json", lambda d: d["inputs"].update(sides_hmac=named))
    commitment = hashlib.sha256(b"privdistill/split-key/v1\0" + KEY).hexdigest()
    edit(run / "candidate" / "claim.json", lambda d: d.update(split_commitment=commitment, holdout=0.3))
    bind(run)


def side(run: Path, name: str) -> list[str]:
    """Texts of a private side, `train` or `holdout`."""
    texts: list[str] = pq.read_table(run / "private" / f"{name}.parquet")["text"].to_pylist()
    return texts


def private_sentences(count: int) -> list[str]:
    return sentences(count, seed=1)


def public_sentences(count: int) -> list[str]:
    return sentences(count, seed=2)
