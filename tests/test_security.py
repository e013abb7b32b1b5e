"""SECURITY.md is held to the tests that it names, and the threats that have no better place."""

import ast
import re

from tests.conftest import ROOT
from tests.test_architecture import SHIPPED, imports_of, name_of

NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def test_every_threat_names_a_test_that_exists_or_says_that_nothing_stops_it() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rows = text.partition("## Threats and their tests")[2].partition("\n## ")[0].splitlines()
    rows = [row for row in rows if row.startswith("| ")][2:]
    assert len(rows) > 25
    for row in rows:
        found = NAMED.findall(row)
        assert found or "**nothing**" in row, row
        for file, name in found:
            tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
            assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}, (file, name)


def test_no_csv_is_written_so_no_formula_can_be() -> None:
    """A cell that begins with `=` is a program to a spreadsheet; the defence is to write no spreadsheet's format."""
    from privdistill.bundle import layout

    assert not [name for name in layout.FILES if name.endswith((".csv", ".tsv", ".xls", ".xlsx"))]
    public = (
        ROOT / "privdistill" / "models" / "conversion.py"
    )  # downloaded public corpora, into the cache, to be read back
    for path in SHIPPED:
        source = path.read_text(encoding="utf-8") if path != public else ""
        assert not re.search(r"csv\.(?:Dict)?[wW]riter|\.to_csv|\.write_csv|\.to_excel", source), name_of(path)


def test_nothing_evaluates_text_or_starts_a_shell() -> None:
    for path in SHIPPED:
        assert not {"marshal", "shelve", "code", "xmlrpc"} & imports_of(path), name_of(path)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "os.system", "os.popen", "yaml.load"), name_of(path)
                shell = [word.value for word in node.keywords if word.arg == "shell"]
                assert not any(ast.unparse(value) != "False" for value in shell), name_of(path)
