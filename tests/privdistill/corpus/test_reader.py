"""Every format gives the same records; everything broken ends in one sentence without record text."""

import csv
import gzip
import json
from pathlib import Path

import pytest

from privdistill.corpus.reader import Records, read
from privdistill.errors import CorpusError

SECRET = "the-secret-sentence"
ROWS = [
    ("plain words here", "good", "p1"),
    ("emoji 😀 and עברית and 中文", "bad", "p2"),
    ('quotes "inside", and a comma', "good", "p1"),
    ("two\nlines", "NA", "p3"),
    ("nul \x00 byte", "null", "p3"),
]


def load(path: Path, label: str | None = "label", unit: str | None = None) -> Records:
    return read(path, text_column="text", label_column=label, unit_column=unit)


def write(path: Path, rows: list[tuple[str, str, str]] = ROWS) -> Path:
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({n: [r[i] for r in rows] for i, n in enumerate(("text", "label", "who"))}), path)
        return path
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            file.writelines(json.dumps(dict(zip(("text", "label", "who"), r, strict=True))) + "\n" for r in rows)
        else:
            writer = csv.writer(file, delimiter="\t" if kind == "tsv" else ",")
            writer.writerows([("text", "label", "who"), *rows])
    return path


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.jsonl.gz", "a.tsv.gz", "a.parquet"])
def test_every_format_gives_the_same_records_unharmed(tmp_path: Path, name: str) -> None:
    records = load(write(tmp_path / name), unit="who")
    assert records.texts == tuple(text for text, _, _ in ROWS)
    assert records.labels == tuple(label for _, label, _ in ROWS)
    assert records.units == tuple(unit for _, _, unit in ROWS)


def test_numeric_labels_become_words(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one two", "label": 1}\n{"text": "three", "label": 0}\n{"text": "four", "label": null}\n')
    assert load(path).labels == ("1", "0", "")


def test_empty_texts_are_left_out_one_by_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("  ", "x", "p"), ("a b", "x", "p"), ("", "x", "p"), ("c d", "y", "p")])
    assert load(path).texts == ("a b", "c d")


def test_reading_leaves_no_copy_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    path = write(tmp_path / "a.csv", [(f"{SECRET} {i}", "x", "p") for i in range(50)])
    load(path)
    others = [p for p in tmp_path.rglob("*") if p.is_file() and p != path]
    assert not [p for p in others if SECRET.encode() in p.read_bytes()]


def broken(tmp_path: Path) -> dict[str, Path]:
    texts = {
        "empty": ("a.csv", b""),
        "header-only": ("b.csv", b"text,label\n"),
        "one-row": ("c.csv", f"text,label\n{SECRET},x\n".encode()),
        "all-empty": ("d.csv", b"text,label\n,x\n  ,y\n"),
        "bad-utf8": ("e.csv", b"text,label\n" + SECRET.encode() + b"\xff\xfe,x\nab,y\n"),
        "bad-utf8-json": ("f.jsonl", b'{"text": "' + SECRET.encode() + b'\xff", "label": "x"}\n'),
        "mixed": ("g.jsonl", f'{{"text": "{SECRET}", "label": "x"}}\n{{"text": 5, "label": "x"}}\n'.encode()),
        "nested": ("h.jsonl", f'{{"text": "{SECRET}", "label": ["x"]}}\n'.encode() * 2),
        "not-json": ("i.jsonl", f"{SECRET}\n{SECRET}\n".encode()),
        "ragged": ("j.csv", f"text,label\n{SECRET},x,{SECRET},y\nab,c\n".encode()),
        "no-column": ("k.csv", f"words,label\n{SECRET},x\nab,c\n".encode()),
        "twice": ("l.csv", f"text,text,label\n{SECRET},b,x\nab,b,c\n".encode()),
        "format": ("m.xlsx", SECRET.encode()),
        "not-gzip": ("n.csv.gz", f"text,label\n{SECRET},x\n".encode()),
        "not-parquet": ("o.parquet", SECRET.encode()),
        "headerless": ("q.csv", f"{SECRET},{SECRET}x\nab,c\n".encode()),
        "semicolons": ("r.csv", f"{SECRET};x\nab;c\n".encode()),
        "nul": ("s.csv", f"{SECRET}\0,x\nab,c\n".encode()),
        "keyed-by-texts": ("t.jsonl", f'{{"{SECRET}": 1, "{SECRET}s": 2}}\n'.encode() * 2),
        "long-row": ("u.csv", f"text,label\nab,c\n{SECRET},x,y\n".encode()),
        "surrogate": ("p.jsonl", f'{{"text": "\\ud800 {SECRET}", "label": "x"}}\n'.encode() * 2),
    }
    for name, content in texts.values():
        (tmp_path / name).write_bytes(content)
    return {case: tmp_path / name for case, (name, _) in texts.items()} | {
        "missing": tmp_path / "nowhere.csv",
        "folder": tmp_path,
    }


CASES = (
    "empty header-only one-row all-empty bad-utf8 bad-utf8-json mixed nested not-json ragged no-column twice format "
    "not-gzip not-parquet surrogate missing headerless semicolons nul keyed-by-texts long-row folder"
)


@pytest.mark.parametrize("case", CASES.split())
def test_broken_input_is_one_sentence_without_record_text(
    tmp_path: Path, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CorpusError) as caught:
        load(broken(tmp_path)[case])
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) > 30
    assert SECRET not in message
    assert SECRET not in "".join(capfd.readouterr())
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("headerless", r"found 2 columns \(names not shown"),
        ("semicolons", "found 1 column .* its delimiter"),
        ("no-column", "found 2 columns, among them 'label'"),
        ("ragged", "line 2 has 4 fields and the header 2"),
        ("long-row", "line 3 has 3 fields and the header 2"),
        ("not-json", "line 1 is not a JSON object"),
        ("not-gzip", "not a complete gzip file"),
        ("folder", "is a folder; name the csv"),
    ],
)
def test_the_sentence_says_where_to_look_and_names_no_library(tmp_path: Path, case: str, said: str) -> None:
    with pytest.raises(CorpusError, match=said) as caught:
        load(broken(tmp_path)[case])
    assert not any(name in str(caught.value) for name in ("Arrow", "Parser", "Error", "Warning"))


def test_a_column_of_two_types_is_named_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a b", "n": {"k": 1}}\n\n{"text": "c d", "n": "word"}\n')
    with pytest.raises(CorpusError, match="line 3 has another type in a column"):
        load(path, label=None)


def test_a_missing_unit_value_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("a b", "x", "p"), ("c d", "x", "")])
    with pytest.raises(CorpusError, match=r"row 2 .* unit column 'who'"):
        load(path, unit="who")


@pytest.mark.parametrize("missing", [float("nan"), float("inf"), " ", "\t", None], ids=repr)
def test_what_stands_for_no_unit_joins_no_people(tmp_path: Path, missing: object) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": "a b", "who": 1 if not isinstance(missing, str) else "p"}, {"text": "c d", "who": missing}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CorpusError, match=r"row 2 .* unit column 'who'"):
        load(path, label=None, unit="who")


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_records_without_a_group_are_a_group(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [("a b", "x", "north"), ("c d", "x", ""), ("e f", "x", " ")])
    records = read(path, text_column="text", label_column="label", group_column="who")
    assert records.groups == ("north", "(none)", "(none)")
    assert load(path).groups is None


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_an_absent_column_is_told_in_the_words_of_the_caller(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name)
    with pytest.raises(CorpusError, match=r"no column 'city'.*--label-column or --unit"):
        load(path, unit="city")
    with pytest.raises(
        CorpusError, match=r"no column 'city'; found 3 columns, among them 'text', 'label'\. Look elsewhere$"
    ):
        read(path, text_column="text", label_column=None, group_column="city", advice="Look elsewhere")


def test_a_column_with_gaps_gives_the_same_units_as_one_without(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name, kind in (("whole", pa.int64()), ("float", pa.float64())):
        table = pa.table({"text": ["a b", "c d"], "who": pa.array([1, 2**40], kind)})
        pq.write_table(table, tmp_path / f"{name}.parquet")
        assert load(tmp_path / f"{name}.parquet", label=None, unit="who").units == ("1", str(2**40))


def test_a_ten_megabyte_record_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", [("word " * 2_000_000, "x", "p"), ("c d", "x", "q")])
    assert len(load(path).texts[0]) == 10_000_000


def load_fields(path: Path, *fields: str) -> Records:
    return read(path, text_column="text", label_column=None, unit_column=None, fields=fields)


def test_fields_make_up_a_text_within_one_line(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    rows = [{"who": "p1", "q": "is it\nso => then?", "a": "yes"}, {"a": "no", "q": "why", "who": "p2"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_fields(path, "q", "a").texts == ("is it so -> then? => yes", "why => no")
    assert load_fields(path, "a", "q", "who").texts == ("yes => is it so -> then? => p1", "no => why => p2")


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
def test_a_record_with_an_empty_field_is_left_out_by_itself(tmp_path: Path, kind: str) -> None:
    """Neighbours: with or without that record, all others read the same."""
    whole = [("one", "good", "p1"), ("two", "bad", "p2")]
    with_, without = tmp_path / f"with.{kind}", tmp_path / f"without.{kind}"
    write(with_, [whole[0], ("three", " ", "p3"), whole[1], ("", "good", "p4")])
    write(without, whole)
    assert load_fields(with_, "text", "label").texts == load_fields(without, "text", "label").texts


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"q": SECRET, "b": "x"}], "has no column 'a'"),
        ([{"q": SECRET, "a": 12}, {"q": "y", "a": 13}], "row 1 of c.jsonl: expected text in column 'a', found int"),
        (
            [{"q": SECRET, "a": ""}, {"q": SECRET, "a": "b"}],
            "in each of the columns 'q', 'a' of c.jsonl, found one record",
        ),
    ],
)
def test_fields_that_cannot_be_read_end_in_a_sentence_without_record_text(tmp_path: Path, rows, said: str) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(CorpusError, match=said) as caught:
        load_fields(path, "q", "a")
    assert SECRET not in str(caught.value)
