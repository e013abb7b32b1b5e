"""Where settings come from: flag, then configuration file, then default; no environment variable sets any of them.

The file is the one named by `--config`, else by PRIVDISTILL_CONFIG, else the nearest `privdistill.yaml` upwards. Paths
in it are relative to it. Which policy decides is not a setting of the run: it is named where the decision is asked for.

It does not know what a setting does; `config` says what is allowed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from privdistill.config import RunConfig
from privdistill.errors import ConfigError
from privdistill.policy.faults import sentence, where
from privdistill.policy.strict_yaml import YamlError, read_yaml
from privdistill.runs import RunDirectory

__all__ = ["FILE_NAME", "Settings", "find_file", "load_settings", "resumed_settings"]

FILE_NAME = "privdistill.yaml"
_MAX_PROBLEMS = 3
_PATHS = {"path", "ledger"}


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a command was told.

    Attributes:
        config: the run.
        ledger: path of the ledger, or None for the user's own.
        file: the configuration file that was read, or None.
    """

    config: RunConfig
    ledger: str | None
    file: Path | None


def find_file(named: Path | None) -> Path | None:
    """The configuration file to read, or None.

    Raises:
        ConfigError: a file was named and is not there.
    """
    chosen = named or (Path(os.environ["PRIVDISTILL_CONFIG"]) if os.environ.get("PRIVDISTILL_CONFIG") else None)
    if chosen is not None:
        if not chosen.is_file():
            origin = "--config" if named else "PRIVDISTILL_CONFIG"
            raise ConfigError(f"no configuration file {chosen} (named by {origin}); `privdistill init` writes one")
        return chosen
    here = Path.cwd()
    return next((folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()), None)


def load_settings(flags: Mapping[str, object], *, file: Path | None) -> Settings:
    """Merge flags over a file over defaults.

    Args:
        flags: dotted name -> value, e.g. `privacy.epsilon`; None means not given. `ledger` has no section.
        file: configuration file, or None.

    Raises:
        ConfigError: a value is not allowed, a key is unknown, or something required is missing.
    """
    merged = _read(file) if file else {}
    given = {name: value for name, value in flags.items() if value is not None}
    for name, value in given.items():
        section, _, key = name.rpartition(".")
        target = merged.setdefault(section, {}) if section else merged
        if not isinstance(target, dict):
            raise ConfigError(f"{file}: expected a mapping under `{section}`")
        target[key] = value
    ledger = merged.pop("ledger", None)
    if ledger is not None and not isinstance(ledger, str):
        raise ConfigError(f"{file}: expected a path under `ledger`")
    source = merged.setdefault("source", {})
    strays = merged.keys() - RunConfig.model_fields.keys()  # perhaps `source`, mistyped: then that is what to say
    if isinstance(source, dict) and "path" not in source and not strays:
        raise ConfigError(
            f"no corpus given: name a file, or set source.path in {FILE_NAME} (`privdistill init` writes one;"
            " the corpus `demo` is embedded)"
        )
    try:
        config = RunConfig.model_validate(merged)
    except ValidationError as error:
        raise ConfigError(_sentence(error, given, file)) from None
    return Settings(config, ledger, file)


def resumed_settings(run: Path, flags: Mapping[str, object]) -> Settings:
    """The settings under which a run was begun; a flag may repeat one of them, and never change it.

    Raises:
        RunError: there is no run.
        ConfigError: a flag says something else than the run was told.
    """
    manifest = RunDirectory(run).manifest()
    told: dict[str, Any] = manifest.config.model_dump(mode="json")
    for name, value in flags.items():
        section, _, key = name.rpartition(".")
        if value is None or (not section and str(value) == manifest.ledger):
            continue
        known = told[section][key] if section else manifest.ledger
        same = Path(str(value)).resolve() == Path(str(known)).resolve() if key in _PATHS else value == known
        if not same:
            raise ConfigError(
                f"{name} is not what run {run} was told, and a run is resumed as it was begun; leave the flag out, or "
                "start a new run"
            )
    return Settings(manifest.config, manifest.ledger, None)


def _read(file: Path) -> dict[str, Any]:
    try:
        content = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{file} is not UTF-8 text") from None
    except YamlError as error:
        raise ConfigError(f"{file}: {error}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"{file}: expected sections such as `source:` and `privacy:`")
    _anchor(content, file.resolve().parent)
    return content


def _anchor(content: dict[str, Any], folder: Path) -> None:
    """Make the paths of a configuration file relative to the file instead of to the working directory."""
    sections = {name: content[name] for name in ("source", "synthesis") if isinstance(content.get(name), dict)}
    path = sections.get("source", {}).get("path")
    if isinstance(path, str) and path != "demo":
        sections["source"]["path"] = str(folder / Path(path).expanduser())
    for key in ("model", "encoder"):
        model = sections.get("synthesis", {}).get(key)
        if isinstance(model, str) and model.startswith((".", "~")):
            sections["synthesis"][key] = str(folder / Path(model).expanduser())
    ledger = content.get("ledger")
    if isinstance(ledger, str) and "://" not in ledger:
        content["ledger"] = str(folder / Path(ledger).expanduser())


def _sentence(error: ValidationError, given: Mapping[str, object], file: Path | None) -> str:
    """The problems, each with its name, where it was set, and what was expected."""
    problems = []
    for problem in error.errors(include_url=False, include_context=False):
        place = where(problem)
        set_by = "flag" if place in given else file.name if file else "flag"
        problems.append(f"{place or 'settings'} ({set_by}): {sentence(problem, RunConfig)}")
    more = f"; and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
    return "; ".join(problems[:_MAX_PROBLEMS]) + more
