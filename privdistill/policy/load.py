"""Where policies come from: a shipped name, or a path. The only file access of this room.

    load_policy(name_or_path) -> LoadedPolicy(policy, sha256, text)
    parse_policy(text, origin) -> LoadedPolicy
    shipped_policies() -> tuple[str, ...]

Shipped policies lie in `privdistill/_policies` of a wheel and in the top-level folder `policies` of a checkout. The
digest is of the exact bytes. It does not know what a policy means.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pydantic import ValidationError

from privdistill.errors import ConfigError
from privdistill.policy.model import Policy
from privdistill.policy.strict_yaml import YamlError, read_yaml

__all__ = ["LoadedPolicy", "load_policy", "parse_policy", "shipped_policies"]


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


def parse_policy(text: str, origin: str) -> LoadedPolicy:
    """Parse the text of a policy file.

    Args:
        text: exact content; its UTF-8 bytes are digested.
        origin: name for messages.

    Raises:
        ConfigError: not YAML, or not a policy; every problem is listed, with its place.
    """
    try:
        policy = Policy.model_validate(read_yaml(text))
    except YamlError as error:
        raise ConfigError(f"policy {origin!r}: {error}") from None
    except ValidationError as error:
        problems = [
            f"  {'.'.join(str(part) for part in problem['loc']) or 'policy'}: {problem['msg']}"
            for problem in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise ConfigError("\n".join([f"policy {origin!r} has {len(problems)} fault(s):", *problems])) from None
    return LoadedPolicy(policy, hashlib.sha256(text.encode()).hexdigest(), text)


def shipped_policies() -> tuple[str, ...]:
    """Names of the policies that come with privdistill, sorted."""
    names = {item.name.removesuffix(".yaml") for item in _items() if item.name.endswith(".yaml") and item.is_file()}
    return tuple(sorted(names))


def _roots() -> tuple[Traversable, ...]:
    package = files("privdistill")
    return package.joinpath("_policies"), Path(__file__).resolve().parents[2] / "policies"


def _items() -> Iterator[Traversable]:
    for root in _roots():
        if root.is_dir():
            yield from root.iterdir()
            return


def _find(name: str) -> Traversable | None:
    return next((item for item in _items() if item.name == f"{name}.yaml" and item.is_file()), None)


def _text(content: bytes, origin: str) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(f"policy {origin!r} is not UTF-8 text") from None
