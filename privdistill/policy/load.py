"""Where policies come from: a shipped name, or a path. The only file access of this room.

    load_policy(name_or_path) -> LoadedPolicy(policy, sha256, text)
    parse_policy(text, origin) -> LoadedPolicy
    policy_of(sha256) -> LoadedPolicy | None      a shipped one, or a file here or in `policies`
    load_waivers(path) -> tuple[Waiver, ...]
    shipped_policies() -> tuple[str, ...]         roots() -> tuple[Path, ...]

Shipped policies lie in `privdistill/_policies` of a wheel and in the top-level folder `policies` of a checkout. The
digest is of the exact bytes. It does not know what a policy means.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from privdistill.errors import ConfigError
from privdistill.policy.faults import sentence, where
from privdistill.policy.model import Policy
from privdistill.policy.strict_yaml import YamlError, read_yaml
from privdistill.policy.waivers import WAIVERS_SCHEMA, Waiver, Waivers

__all__ = ["LoadedPolicy", "load_policy", "load_waivers", "parse_policy", "policy_of", "roots", "shipped_policies"]


_Model = TypeVar("_Model", bound=BaseModel)
_MOST_BYTES = 2**20
"""Of a file that is looked at without having been named."""


@dataclass(frozen=True, slots=True)
class LoadedPolicy:
    """A policy, the sha256 of its file, and the exact text."""

    policy: Policy
    sha256: str
    text: str


def load_policy(name_or_path: str | Path) -> LoadedPolicy:
    """Load a shipped policy by name, or a file by path. A shipped name wins; write ./NAME for a file of that name.

    Raises:
        ConfigError: no such policy, or the file is not one.
    """
    if isinstance(name_or_path, str):
        shipped = _find(name_or_path)
        if shipped is not None:
            return parse_policy(_text(shipped.read_bytes(), name_or_path), name_or_path)
    path = Path(name_or_path)
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(
            f"no policy {str(name_or_path)!r} ({reason}); expected one of {', '.join(shipped_policies())}, "
            "or the path of a policy file"
        ) from None
    return parse_policy(_text(content, path.name), path.name)


def policy_of(sha256: str) -> LoadedPolicy | None:
    """The policy of a digest, if it is at hand: shipped, or a file of the working directory or of `policies` in it."""
    here = (path for folder in (Path(), Path("policies")) for path in sorted(folder.glob("*.y*ml")))
    for path in (*_items(), *here):
        try:
            content = path.read_bytes() if path.is_file() and path.stat().st_size <= _MOST_BYTES else b""
            if hashlib.sha256(content).hexdigest() == sha256:
                return parse_policy(_text(content, path.name), path.name)
        except (OSError, ConfigError):
            continue
    return None


def parse_policy(text: str, origin: str) -> LoadedPolicy:
    """Parse the text of a policy file.

    Args:
        text: exact content; its UTF-8 bytes are digested.
        origin: name for messages.

    Raises:
        ConfigError: not YAML, or not a policy; every problem is listed, with its place.
    """
    policy = _parse(Policy, text, f"policy {origin!r}")
    return LoadedPolicy(policy, hashlib.sha256(text.encode()).hexdigest(), text)


def load_waivers(path: Path) -> tuple[Waiver, ...]:
    """Read a file of waivers.

    Raises:
        ConfigError: it cannot be read, or is not one; every problem is listed, with its place.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"no waivers at {str(path)!r} ({reason}); expected a file of {WAIVERS_SCHEMA}") from None
    return _parse(Waivers, text, f"file of waivers {path.name!r}").waivers


def _parse(model: type[_Model], text: str, what: str) -> _Model:
    try:
        return model.model_validate(read_yaml(text))
    except YamlError as error:
        raise ConfigError(f"{what}: {error}") from None
    except ValidationError as error:
        problems = [
            f"  {where(problem) or 'file'}: {sentence(problem, model)}"
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise ConfigError("\n".join([f"{what} has {len(problems)} fault(s):", *problems])) from None


def shipped_policies() -> tuple[str, ...]:
    """Names of the policies that come with privdistill, sorted."""
    names = {item.name.removesuffix(".yaml") for item in _items() if item.name.endswith(".yaml") and item.is_file()}
    return tuple(sorted(names))


def roots() -> tuple[Path, ...]:
    """Where shipped policies may lie: in the wheel, else in the checkout."""
    return Path(str(files("privdistill"))) / "_policies", Path(__file__).resolve().parents[2] / "policies"


def _items() -> Iterator[Path]:
    for root in roots():
        if root.is_dir():
            yield from root.iterdir()
            return


def _find(name: str) -> Path | None:
    return next((item for item in _items() if item.name == f"{name}.yaml" and item.is_file()), None)


def _text(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"policy {origin!r} is not UTF-8 text") from None
