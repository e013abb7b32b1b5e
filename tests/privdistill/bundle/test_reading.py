"""Bundles from strangers: zip tricks, names that lead elsewhere, files that unpack to more than a machine has."""

import io
import shutil
import stat
import time
import tracemalloc
import warnings
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privdistill.bundle import assemble, layout, rows, verify
from privdistill.bundle.rows import read_rows
from privdistill.errors import RefusedError, RunError
from privdistill.report import render_verification
from tests.privdistill.bundle.conftest import build_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return assemble(build_run(folder / "run").candidate(), folder / "bundle")


def entries(bundle: Path, prefix: str = "bundle/") -> list[tuple[str | zipfile.ZipInfo, bytes]]:
    return [(prefix + name, (bundle / name).read_bytes()) for name in layout.FILES]


def write(path: Path, content: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, data in content:
            archive.writestr(name, data)
    return path


def refused(path: Path) -> str:
    verification = verify(path)
    assert verification.exit_code == 10
    assert {item.name for item in verification.of("failed")} == {"layout"}
    text = render_verification(verification)
    assert "\x1b" not in text
    return text


@pytest.mark.parametrize("prefix", ["", "bundle/", "my release/"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_of_a_bundle_verifies_without_being_unpacked(
    original: Path, tmp_path: Path, prefix: str, method: int
) -> None:
    path = write(tmp_path / "b.zip", entries(original, prefix), method)
    assert verify(path).ok
    assert [item.name for item in tmp_path.iterdir() if item.name != "home"] == ["b.zip"]


def test_a_zip_made_by_a_tool_verifies(original: Path, tmp_path: Path) -> None:
    path = shutil.make_archive(str(tmp_path / "made"), "zip", original.parent, original.name)
    assert verify(Path(path)).ok


def test_a_flipped_byte_in_a_zip_is_found(original: Path, tmp_path: Path) -> None:
    content = entries(original)
    name, data = content[5]
    content[5] = (name, data[:-1] + bytes([data[-1] ^ 1]))
    assert verify(write(tmp_path / "b.zip", content)).exit_code == 10


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "bundle/../../evil",
        "/etc/cron.d/evil",
        "bundle/data/../../../evil",
        "C:\\evil",
        "bundle\\README.md",
        "bundle/README.md/",
        "bundle/\x1b[2JVERIFIED",
        "other/README.md",
        "bundle/bundle/README.md",
        "bundle/.git/hooks/post-checkout",
    ],
)
def test_names_that_lead_elsewhere_are_never_paths(original: Path, tmp_path: Path, name: str) -> None:
    place = tmp_path / "deep" / "er"
    place.mkdir(parents=True)
    refused(write(place / "b.zip", [*entries(original), (name, b"evil")]))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["b.zip", "deep", "er", "home"]


def test_a_file_that_is_there_twice_is_refused(original: Path, tmp_path: Path) -> None:
    assert "twice" in refused(write(tmp_path / "b.zip", [*entries(original), ("bundle/README.md", b"other")]))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFDIR, stat.S_IFCHR])
def test_links_and_devices_in_a_zip_are_refused(original: Path, tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("bundle/README.md")
    entry.external_attr = (kind | 0o777) << 16
    content = [(name, data) for name, data in entries(original) if name != "bundle/README.md"]
    assert "regular file" in refused(write(tmp_path / "b.zip", [*content, (entry, b"/etc/passwd")]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_unusual_packing_is_refused(original: Path, tmp_path: Path, method: int) -> None:
    assert "unusual" in refused(write(tmp_path / "b.zip", entries(original), method))


def test_a_bomb_that_says_so_and_one_that_lies_are_both_refused(original: Path, tmp_path: Path) -> None:
    bomb = b"\0" * (layout.limit_of(layout.CARD) + 1)
    content = [(name, bomb if name == "bundle/README.md" else data) for name, data in entries(original)]
    path = write(tmp_path / "b.zip", content)
    assert path.stat().st_size < 10**6
    assert "larger than" in refused(path)
    raw = bytearray(path.read_bytes())
    true, lie = len(bomb).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    assert raw.count(true) == 2  # local header and directory
    (tmp_path / "lie.zip").write_bytes(bytes(raw).replace(true, lie))
    tracemalloc.start()
    refused(tmp_path / "lie.zip")
    assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    tracemalloc.stop()


def test_too_many_entries_and_broken_zips_are_refused(original: Path, tmp_path: Path) -> None:
    many = [*entries(original), *((f"bundle/{i}", b"") for i in range(200))]
    assert "at most" in refused(write(tmp_path / "many.zip", many))
    whole = write(tmp_path / "b.zip", entries(original)).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[:200] + whole[400:])
    refused(tmp_path / "cut.zip")
    (tmp_path / "no.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(RunError):
        verify(tmp_path / "no.zip")


def test_an_oversized_file_in_a_folder_is_not_read(original: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(original, tmp_path / "bundle"))
    with (bundle / layout.CARD).open("wb") as file:
        file.truncate(2**40)  # sparse
    start = time.monotonic()
    assert "larger than" in refused(bundle)
    assert time.monotonic() - start < 5


# -- parquet


def parquet(table: pa.Table, **options: object) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, store_schema=False, **options)
    return buffer.getvalue()


def repeated(times: int, size: int) -> pa.Table:
    indices = pa.array([0] * times, pa.int32())
    text = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * size]))
    label = pa.DictionaryArray.from_arrays(indices, pa.array(["a"]))
    return pa.table({"text": text, "label": label})


def test_a_value_said_once_and_meant_a_million_times_is_refused_before_it_is_multiplied() -> None:
    content = parquet(repeated(200_000, 100_000), compression="zstd")  # 20 GB of text
    assert len(content) < 10**6
    before = pa.total_allocated_bytes()
    peak = pa.default_memory_pool().max_memory() if before == 0 else None
    with pytest.raises(RefusedError, match="bytes of text"):
        read_rows(content)
    if peak is not None:
        assert pa.default_memory_pool().max_memory() < max(peak, 2**28)


def test_what_the_footer_states_is_looked_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    content = parquet(repeated(1_000, 10))
    assert read_rows(content).rows == 1_000
    monkeypatch.setattr(rows, "_MAX_ROWS", 999)
    with pytest.raises(RefusedError, match="999 rows"):
        read_rows(content)
    monkeypatch.setattr(rows, "_MAX_ROWS", 10_000)
    monkeypatch.setattr(rows, "_MAX_UNCOMPRESSED", 100)
    with pytest.raises(RefusedError, match="unpacked"):
        read_rows(content)
