"""Models that are not embedded: local folders and GGUF files, and snapshots of Hugging Face repositories.

Only configuration, tokenizer and safetensors or GGUF weights are ever fetched or accepted. A folder or repository that
has nothing but pickled weights is refused, and code from a repository is never run.

It does not know the embedded assets, nor how a model is loaded.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from privdistill.errors import AssetError
from privdistill.models.wheels import is_offline

__all__ = ["check_local", "looks_like_path", "snapshot"]

_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
_DESCRIPTION = ("*.json", "*.txt", "*.jinja", "tokenizer.model", "*.tiktoken")


def looks_like_path(spec: str) -> bool:
    """Whether a user who typed this meant a path rather than a model id."""
    return spec.startswith((".", "~", "/", os.sep)) or spec.endswith(".gguf") or not _ID.fullmatch(spec)


def check_local(path: Path) -> Path:
    """The path, if it holds a model that can be loaded without unpickling.

    Raises:
        AssetError: it does not.
    """
    if path.is_file():
        if path.suffix.lower() == ".gguf":
            return path
        raise AssetError(f"{path} is not a model: expected a folder with safetensors weights, or a .gguf file")
    names = [item.name for item in path.iterdir()]
    _require_safe_weights(names, f"folder {path}")
    ggufs = [name for name in names if name.endswith(".gguf")]
    if any(name.endswith(".safetensors") for name in names):
        if "config.json" not in names:
            raise AssetError(f"folder {path} has weights but no config.json; expected a model saved by transformers")
        return path
    if len(ggufs) > 1:
        raise AssetError(f"folder {path} holds {len(ggufs)} GGUF files; give the path of one of them")
    return path / ggufs[0]


def snapshot(model_id: str) -> Path:
    """Local copy of a Hugging Face model: description and safetensors (or its only GGUF file), nothing else.

    Raises:
        AssetError: the id is unknown, unreachable or gated, or its weights are not safe to load.
    """
    from huggingface_hub import HfApi, snapshot_download

    cause = "fetching is switched off by PRIVDISTILL_OFFLINE"
    # Broad: transport errors come from whichever HTTP library the hub client of the day is built on.
    if not is_offline():
        try:
            names = [entry.rfilename for entry in HfApi().model_info(model_id).siblings or ()]
            _require_safe_weights(names, f"model {model_id!r}")
            return check_local(Path(snapshot_download(model_id, allow_patterns=_wanted(names, model_id))))
        except AssetError:
            raise
        except Exception as error:
            cause = f"the hub answered with {type(error).__name__}"
    try:
        return check_local(Path(snapshot_download(model_id, local_files_only=True)))
    except AssetError:
        raise
    except Exception:
        raise AssetError(
            f"unknown or unreachable model {model_id!r}: it is neither a local path nor in the local Hugging Face"
            f" cache, and {cause}. Check the id and the network (and the login, for a gated model), or give a path"
        ) from None


def _require_safe_weights(names: Iterable[str], what: str) -> None:
    found = [name.lower() for name in names]
    if any(name.endswith((".safetensors", ".gguf")) for name in found):
        return
    if any(name.endswith(_PICKLES) for name in found):
        raise AssetError(
            f"{what} has only pickled weights, which can run code when loaded; convert them to safetensors, or choose a"
            " model that has them"
        )
    raise AssetError(f"{what} holds no model: expected config.json with safetensors weights, or a .gguf file")


def _wanted(names: Sequence[str], model_id: str) -> list[str]:
    """Patterns of the files to fetch: top-level safetensors with their description, or the one GGUF file."""
    top = [name for name in names if "/" not in name]
    if any(name.endswith(".safetensors") for name in top):
        return [*_DESCRIPTION, "*.safetensors"]
    ggufs = [name for name in names if name.endswith(".gguf")]
    if len(ggufs) != 1:
        raise AssetError(f"model {model_id!r} offers {len(ggufs)} GGUF files; download one and give its path")
    return [*_DESCRIPTION, ggufs[0]]
