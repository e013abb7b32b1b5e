"""`doctor`: what this machine has of what a run needs, and with `--fetch`, the rest of it.

It loads no model and opens no corpus; versions come from package metadata.
"""

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path
from typing import Annotated, Any

import typer

from privdistill.cli.console import hint, progress_bars, show, show_json
from privdistill.cli.options import Json, Quiet
from privdistill.machine import memory

__all__ = ["doctor"]

_LIBRARIES = ("torch", "transformers", "opacus", "opendp", "dp-accounting", "numpy", "pip")
_MAIN_JOB = ("language-model", "encoder", "demo-corpus")
_INCOMPLETE = 3
_BARE = {"privdistill.recipes.passthrough:PassthroughRecipe": ", copies records: no protection"}


def doctor(
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the models and the demo corpus that are missing.")
    ] = False,
    rehash: Annotated[bool, typer.Option("--rehash", help="Read every cached byte again and compare hashes.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is present: libraries, pinned models, demo corpus, room on disk, plug-ins.

    Exit codes: 0 everything for the main job is present, 3 something is absent or damaged.
    """
    from privdistill.models import assets, store, wheels

    if fetch:
        with progress_bars(quiet=quiet) as bars:
            for name in _MAIN_JOB:
                assets.fetch(name, bars)
    held = assets.status(rehash=rehash)
    root = store.cache_root()
    facts: dict[str, Any] = {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "cores": os.cpu_count(),
        "memory_gib": _memory_gib(),
        "cache": str(root),
        "cache_free_gib": _free_gib(root),
        "offline": wheels.is_offline(),
        "plug_ins": {group: _plug_ins(group) for group in ("privdistill.recipes", "audits.checks")},
        "assets": [
            {
                "name": asset.name,
                "state": asset.state,
                "package": asset.requirement,
                "bytes": asset.bytes,
                "licence": asset.licence,
                "needed": asset.name in _MAIN_JOB,
            }
            for asset in held
        ],
    }
    missing = [asset.name for asset in held if asset.name in _MAIN_JOB and asset.state != "present"]
    absent = [name for name, found in facts["libraries"].items() if found is None]
    facts["ready"] = not missing and not absent
    if json:
        show_json(facts)
    else:
        show(*_lines(facts))
    if missing:
        hint("next: privdistill doctor --fetch (generate fetches what it needs by itself)", quiet=quiet)
    raise typer.Exit(0 if facts["ready"] else _INCOMPLETE)


def _lines(facts: dict[str, Any]) -> list[str]:
    libraries = ", ".join(f"{name} {found or 'absent'}" for name, found in facts["libraries"].items())
    memory = f"{facts['memory_gib']} GiB" if facts["memory_gib"] else "unknown"
    lines = [
        f"python     {facts['python']}",
        f"libraries  {libraries}",
        f"machine    {facts['cores']} cores, memory {memory}",
        f"cache      {facts['cache']} ({facts['cache_free_gib']} GiB free{', offline' if facts['offline'] else ''})",
    ]
    for asset in facts["assets"]:
        purpose = "" if asset["needed"] else ", for benchmarks only"
        size = f"{asset['bytes'] / 1e6:.1f} MB, " if asset["bytes"] else ""
        lines.append(f"{asset['state']:<10} {asset['name']}  ({size}{asset['package']}, {asset['licence']}{purpose})")
    for group, names in facts["plug_ins"].items():
        lines.append(f"plug-ins   {group}: {', '.join(names) or 'none'}")
    lines.append("READY" if facts["ready"] else "NOT READY  something the main job needs is absent or damaged")
    return lines


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _plug_ins(group: str) -> list[str]:
    """Installed plug-ins with their distribution, so that a stranger in the process is seen."""
    return sorted(
        f"{entry.name} ({entry.dist.name if entry.dist else 'unknown'}{_BARE.get(entry.value, '')})"
        for entry in entry_points(group=group)
    )


def _memory_gib() -> float | None:
    there = memory()
    return None if there is None else round(there / 2**30, 1)


def _free_gib(folder: Path) -> float:
    existing = next((place for place in (folder, *folder.parents) if place.is_dir()), Path())
    return round(shutil.disk_usage(existing).free / 2**30, 1)
