"""Every format, and every way in which a file can be wrong: one clear sentence, and no record text."""

import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audits.errors import BadInputError
from audits.inputs.claims import read_claim
from audits.inputs.files import Table, read_table
from audits.inputs.units import make_source, make_synthetic, normalise, redact
from tests.audits.conftest import write_claim
from tests.leaky_generators import claim_for

ROWS = ["first, with comma", 'second "quoted"', "third\tשלום 映画 🎬"]
SECRET = "xyzzy-private"


def read(path: Path, max_bytes: int = 10**7) -> Table:
    return read_table(path, ["text"], role="source", max_bytes=max_bytes)


def write(path: Path, rows: list[str]) -> Path:
    import csv

    if path.name.endswith(".parquet"):
        pq.write_table(pa.table({"n": list(range(len(rows))), "text": rows}), path)
        return path
    if ".jsonl" in path.name:
        data = "".join(json.dumps({"n": 1, "text": row}) + "\n" for row in rows)
    else:
        import io

        stream = io.StringIO()
        writer = csv.writer(stream, delimiter="\t" if ".tsv" in path.name else ",")
        writer.writerow(["n", "text"])
        writer.writerows([[1, row] for row in rows])
        data = stream.getvalue()
    path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz", "a.tsv.gz", "a.jsonl.gz"])
def test_every_format_gives_the_same_texts(name: str, tmp_path: Path) -> None:
    table = read(write(tmp_path / name, ROWS))
    assert table.columns["text"] == ROWS
    assert table.rows == 3


def broken(tmp_path: Path, name: str, data: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"text\n", "has no rows"),
        ("a.csv", b"other\n%s\n" % SECRET.encode(), "has no column 'text'"),
        ("a.csv", b"%s,better\na,b\n" % SECRET.encode(), "found 2 column(s); other names are not shown"),
        ("a.csv", b"%s;better\na;b\n" % SECRET.encode(), "found 1 column(s)"),
        ("a.csv", b"label,%s\na,b\n" % SECRET.encode(), "among them 'label'"),
        ("a.jsonl", b'{"%s": 1}\n' % SECRET.encode(), "found 1 column(s)"),
        ("a.csv", b"text,b\n%s\n" % SECRET.encode(), "line 2"),
        ("a.csv", b'text\n"%s' % SECRET.encode(), "broken near line"),
        ("a.csv", b"text\n\xff%s\n" % SECRET.encode(), "not valid UTF-8 (line 2)"),
        ("a.jsonl", b'{"text": "a"}\n{%s\n' % SECRET.encode(), "line 2 of the source file a.jsonl is not JSON"),
        ("a.jsonl", b"[1]\n", "not a JSON object"),
        ("a.jsonl", b'{"b": 1}\n', "has no column 'text'"),
        ("a.jsonl", b'{"text": ["%s"]}\n' % SECRET.encode(), "holds list, not text"),
        ("a.csv.gz", b"not gzip %s" % SECRET.encode(), "cannot be read"),
        ("a.parquet", b"PAR1 %s PAR1" % SECRET.encode(), "not readable parquet"),
        ("a.xlsx", b"x", "unknown format"),
        ("a", b"x", "unknown format"),
    ],
)
def test_bad_files_end_in_a_sentence(tmp_path: Path, name: str, data: bytes, expected: str) -> None:
    with pytest.raises(BadInputError) as caught:
        read(broken(tmp_path, name, data))
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_absent_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        read(tmp_path / "none.csv")
    with pytest.raises(BadInputError, match="not a file"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_large_files_are_refused_before_they_are_read(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, ["x" * 100_000] * 3)
    with pytest.raises(BadInputError, match="raise --max-megabytes"):
        read(path, max_bytes=10_000)


def test_nulls_are_empty_and_numbers_are_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["a", None]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet").columns["text"] == ["a", ""]
    pq.write_table(pa.table({"text": [1.5]}), tmp_path / "b.parquet")
    with pytest.raises(BadInputError, match="holds float"):
        read(tmp_path / "b.parquet")


def table(texts: list[str], **columns: list[str]) -> Table:
    return Table("t", "0", {"text": texts, **columns}, len(texts))


def test_copies_are_one_unit_when_each_stands_on_one_side() -> None:
    source = make_source(table(["a b", "a  b", "c"]), table(["d", ""]), "text", None, by_content=False)
    assert source.units == 3
    assert sorted(source.copies.tolist()) == [1, 1, 2]
    assert source.records_available == (3, 2)
    assert source.both_sides == 0


def test_records_are_units_when_a_text_stands_on_both_sides() -> None:
    source = make_source(table(["a", "a", "b"]), table(["a", "c"]), "text", None, by_content=False)
    assert source.units == 5
    assert int(source.train.sum()) == 3
    assert source.both_sides == 1


def test_people_are_units_and_their_records_adjacent() -> None:
    source = make_source(
        table(["a", "b", "c"], who=["x", "y", "x"]), table(["d"], who=["z"]), "text", "who", by_content=False
    )
    assert source.units == 3
    assert source.unit_of.tolist() == [0, 0, 1, 2]
    assert source.train.tolist() == [True, True, False]
    with pytest.raises(BadInputError, match="row 0 of t has no value in the unit column 'who'"):
        make_source(table(["a"], who=[""]), None, "text", "who", by_content=False)


def test_synthetic_rows_keep_their_place() -> None:
    rows = make_synthetic(["", "a", "b", " a "])
    assert rows.texts == ["a", "b"]
    assert rows.row.tolist() == [1, 2]
    assert (rows.rows_used, rows.rows_available) == (3, 4)


def test_redaction_is_keyed() -> None:
    name = normalise(SECRET).encode()
    assert redact(name, b"k1") != redact(name, b"k2")
    assert np.unique([redact(bytes([i]), b"k") for i in range(100)]).size == 100


def test_claim_problems_are_places_not_values(tmp_path: Path) -> None:
    data = broken(tmp_path, "d.jsonl", b"x")
    claim = claim_for(data, 1) | {"epsilon": SECRET, "unknown": SECRET}
    del claim["holdout"]
    found = read_claim(write_claim(tmp_path / "claim.json", claim))
    assert found.claim is None
    assert len(found.problems) == 3
    assert SECRET not in " ".join(found.problems)
    with pytest.raises(BadInputError, match="is not JSON"):
        read_claim(broken(tmp_path, "c.json", b"{"))
