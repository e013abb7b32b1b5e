"""What a user may name instead of an embedded model, and what is refused: pickle, code, guesses."""

from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.errors import AssetError
from privdistill.models import assets


def folder_with(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    "names", [("config.json", "model.safetensors"), ("config.json", "a.safetensors", "pytorch_model.bin")]
)
def test_resolve_accepts_safetensors_folders(tmp_path: Path, names: tuple[str, ...]) -> None:
    folder = folder_with(tmp_path, *names)
    assert assets.resolve(str(folder), "language-model") == folder


def test_resolve_accepts_gguf(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "tiny.gguf")
    assert assets.resolve(str(folder / "tiny.gguf"), "language-model") == folder / "tiny.gguf"
    assert assets.resolve(str(folder), "language-model") == folder / "tiny.gguf"


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (("config.json", "pytorch_model.bin"), "pickled weights"),
        (("config.json",), "holds no model"),
        ((), "holds no model"),
        (("model.safetensors",), "no config.json"),
        (("a.gguf", "b.gguf"), "2 GGUF files"),
    ],
)
def test_resolve_refuses_what_cannot_be_loaded_safely(tmp_path: Path, names: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(AssetError, match=sentence):
        assets.resolve(str(folder_with(tmp_path, *names)), "language-model")


def test_resolve_refuses_a_single_pickle(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "model.bin")
    with pytest.raises(AssetError, match="is not a model"):
        assets.resolve(str(folder / "model.bin"), "language-model")


@pytest.mark.parametrize("spec", ["./absent", "/absent/model", "~/absent", "absent.gguf", "three/part/id"])
def test_resolve_absent_path(spec: str) -> None:
    with pytest.raises(AssetError, match="no model at"):
        assets.resolve(spec, "language-model")


@pytest.mark.parametrize("spec", ["no-such-owner/no-such-model", "no-such-model"])
def test_resolve_unknown_id_without_network(spec: str) -> None:
    with pytest.raises(AssetError, match="unknown or unreachable model"):
        assets.resolve(spec, "language-model")


def test_snapshot_never_asks_for_pickle_or_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}
    folder = folder_with(tmp_path, "config.json", "model.safetensors")

    def download(model_id: str, **options: object) -> str:
        asked.update(options)
        return str(folder)

    _hub_with(
        monkeypatch, ["config.json", "model.safetensors", "pytorch_model.bin", "modeling_x.py", "x.gguf"], download
    )
    assert assets.resolve("some/model", "language-model") == folder
    assert not {"*.bin", "*.py", "*", "*.gguf"} & set(asked["allow_patterns"])


def test_snapshot_refuses_pickle_only_repositories(monkeypatch: pytest.MonkeyPatch) -> None:
    _hub_with(monkeypatch, ["config.json", "pytorch_model.bin"], _must_not_run)
    with pytest.raises(AssetError, match="pickled weights"):
        assets.resolve("some/model", "language-model")


def test_snapshot_refuses_to_guess_among_gguf_files(monkeypatch: pytest.MonkeyPatch) -> None:
    _hub_with(monkeypatch, ["a-Q4.gguf", "a-Q8.gguf"], _must_not_run)
    with pytest.raises(AssetError, match="offers 2 GGUF files"):
        assets.resolve("some/model", "language-model")


def _hub_with(monkeypatch: pytest.MonkeyPatch, names: list[str], download: Callable) -> None:
    import huggingface_hub

    class Entry:
        def __init__(self, name: str) -> None:
            self.rfilename = name

    class Info:
        siblings = tuple(Entry(name) for name in names)

    class Api:
        def model_info(self, model_id: str) -> Info:
            return Info()

    monkeypatch.delenv("PRIVDISTILL_OFFLINE")
    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def _must_not_run(*_: object, **__: object) -> None:
    raise AssertionError("this must not be called")
