"""A bundle of several fields: their columns, a rationale and its weight, and nothing else, each held to its text."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privdistill.bundle import assemble, layout, verify
from privdistill.errors import RefusedError
from tests.privdistill.bundle.conftest import Run, build_run, digest

FIELDS = ["prompt", "response"]


def columns(rows: int = 150) -> dict[str, pa.Array]:
    asked, answered = [f"What is {i}?" for i in range(rows)], [f"A number, {i}" for i in range(rows)]
    return {
        "text": pa.array([f"{a} => {b}" for a, b in zip(asked, answered, strict=True)]),
        "prompt": pa.array(asked),
        "response": pa.array(answered),
        "label": pa.array(["fresh", "rotten"] * (rows // 2)),
        "rationale": pa.array(["One counts up to it.", ""] * (rows // 2)),
        "step_difficulty": pa.array([0.25, 0.0] * (rows // 2), pa.float64()),
    }


def build(folder: Path, table: dict[str, pa.Array], declared: list[str] = FIELDS) -> Run:
    run = build_run(folder)
    pq.write_table(pa.table(table), run.data)
    claim, audit = json.loads(run.claim.read_text()), json.loads(run.audit.read_text())
    claim["data_sha256"] = digest(run.data.read_bytes())
    claim["declarations"] |= {"fields": declared, "text_column": None}
    run.claim.write_text(json.dumps(claim))
    audit["inputs"] |= {"synthetic_sha256": claim["data_sha256"], "claim_sha256": digest(run.claim.read_bytes())}
    run.audit.write_text(json.dumps(audit))
    return run


def test_a_bundle_carries_the_columns_and_verifies(tmp_path: Path) -> None:
    out = assemble(build(tmp_path / "run", columns()).candidate(), tmp_path / "bundle")
    assert not verify(out).of("failed")
    first = json.loads((out / layout.JSONL).read_text().splitlines()[0])
    assert list(first) == list(columns())
    card = (out / layout.CARD).read_text()
    assert "| prompt | part 1 of the text |" in card
    assert "The audit did not read it" in card
    assert "text made of prompt and response, in this order" in (out / layout.PRIVACY).read_text()
    described = json.loads((out / layout.CROISSANT).read_text())["recordSet"][0]["field"]
    assert [(field["name"], field["dataType"]) for field in described][-2:] == [
        ("rationale", "sc:Text"),
        ("step_difficulty", "sc:Float"),
    ]


def test_rationales_are_optional(tmp_path: Path) -> None:
    table = {name: values for name, values in columns().items() if name not in ("rationale", "step_difficulty")}
    assert not verify(assemble(build(tmp_path / "run", table).candidate(), tmp_path / "bundle")).of("failed")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"response": pa.array(["somebody else"] * 150)}, "not the one that its text is made of"),
        ({"text": pa.array(["no divider"] * 150)}, "not the one that its text is made of"),
        ({"step_difficulty": pa.array([1.5] * 150)}, "not a number from 0 to 1"),
        ({"step_difficulty": pa.array([float("nan")] * 150)}, "not a number from 0 to 1"),
        ({"step_difficulty": pa.array(["0.5"] * 150)}, "expected numbers"),
        ({"rationale": pa.array([1] * 150)}, "expected text in column rationale"),
        ({"person": pa.array(["p1"] * 150)}, "expected the columns"),
    ],
)
def test_a_column_that_does_not_follow_from_its_text_is_refused(tmp_path: Path, change: dict, said: str) -> None:
    run = build(tmp_path / "run", columns() | change)
    with pytest.raises(RefusedError, match=said):
        assemble(run.candidate(), tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("declared", [[], ["prompt"], ["response", "prompt"], ["prompt", "response", "person"]])
def test_columns_that_were_not_declared_are_refused(tmp_path: Path, declared: list[str]) -> None:
    run = build(tmp_path / "run", columns(), declared)
    with pytest.raises(RefusedError, match="expected the columns"):
        assemble(run.candidate(), tmp_path / "bundle")
