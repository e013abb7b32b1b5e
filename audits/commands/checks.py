"""`python -m audits checks list | explain ID`: which checks there are, and the page of one of them.

Shipped checks have a page in `docs/checks` of a checkout, or `audits/_pages` of a wheel; a plug-in brings its own, or
is explained by its module's docstring. It runs no check and reads no corpus.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from audits.errors import BadInputError
from audits.registry import Check, load

__all__ = ["main", "page"]


def main(arguments: Sequence[str]) -> int:
    """Print the list of checks, or the page of one."""
    options = _parser().parse_args(arguments)
    checks, _ = load(plug_ins=not options.no_plug_ins)
    if options.action == "explain":
        sys.stdout.write(page(_find(checks, options.id)))
    elif options.json:
        sys.stdout.write(json.dumps([_row(check) for check in checks], indent=2, sort_keys=True) + "\n")
    else:
        sys.stdout.write(_table(checks))
    return 0


def page(check: Check) -> str:
    """Return the documentation of a check, in Markdown, ending with a newline."""
    if check.page:
        return check.page.strip() + "\n"
    if check.origin.split(".")[0] == "audits":
        for folder in (resources.files("audits") / "_pages", Path(__file__).resolve().parents[2] / "docs" / "checks"):
            file = folder / f"{check.id}.md"
            if file.is_file():
                return file.read_text(encoding="utf-8")
    text = sys.modules[check.origin].__doc__ or check.run.__doc__ or "This check has no documentation."
    return f"# {check.id} {check.name}: {check.title}\n\nThreat model: {check.threat_model}.\n\n{text.strip()}\n"


def _find(checks: tuple[Check, ...], id: str) -> Check:
    for check in checks:
        if id.casefold() in (check.id.casefold(), check.name.casefold()):
            return check
    raise BadInputError(f"there is no check {id!r}; known are {', '.join(check.id for check in checks)}")


def _row(check: Check) -> dict[str, str]:
    return {
        "id": check.id,
        "name": check.name,
        "title": check.title,
        "tier": check.tier,
        "threat_model": check.threat_model,
        "origin": check.origin,
    }


def _table(checks: tuple[Check, ...]) -> str:
    rows = [(check.id, check.name, check.tier, check.threat_model, check.title) for check in checks]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join([*(c.ljust(w) for c, w in zip(row[:4], widths, strict=True)), row[4]]) for row in rows]
    return (
        "\n".join([*lines, "", "python -m audits checks explain ID prints what a check does and how it can be wrong"])
        + "\n"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audits checks", description="The checks of the examiner.", allow_abbrev=False
    )
    parser.add_argument("--no-plug-ins", action="store_true", help="the shipped checks only")
    actions = parser.add_subparsers(dest="action", required=True)
    listing = actions.add_parser("list", help="id, name, tier, threat model and question of every check")
    listing.add_argument("--json", action="store_true", help="as JSON")
    explain = actions.add_parser("explain", help="what a check does, why, how it can be wrong, what to do")
    explain.add_argument("id", metavar="ID", help="for example PD201")
    return parser
