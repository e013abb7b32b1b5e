"""Every environment variable that the code reads is in the table of docs/environment.md, and no other."""

import re

from tests.conftest import ROOT

_NAME = re.compile(r"PRIVDISTILL_[A-Z]+(?:_[A-Z]+)*")
_LEVELS = {"PRIVDISTILL_VERDICT", "PRIVDISTILL_RULE"}
"""Levels that an attestation names; no variables."""


def test_every_variable_is_in_the_table() -> None:
    code = {
        name
        for package in ("privdistill", "audits")
        for path in (ROOT / package).rglob("*.py")
        for name in _NAME.findall(path.read_text(encoding="utf-8"))
    }
    table = re.findall(r"^\| `(PRIVDISTILL_\w+)` \|", (ROOT / "docs/environment.md").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(code - _LEVELS)
