"""`python -m audits checks`: every check is listed, and explained from a page that is there."""

import json

import pytest

from audits import registry
from audits.commands import checks as command
from tests.conftest import ROOT


def test_list_names_every_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--no-plug-ins", "list"]) == 0
    shown = capsys.readouterr().out
    known, _ = registry.load(plug_ins=False)
    for check in known:
        assert f"{check.id}  {check.name}" in shown
        assert check.title in shown
    assert command.main(["--no-plug-ins", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["id"] for row in rows] == [check.id for check in known]


def test_explain_prints_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    from audits.errors import BadInputError

    assert command.main(["explain", "verbatim"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "checks" / "PD201.md").read_text()
    with pytest.raises(BadInputError, match="known are PD101, PD102"):
        command.main(["explain", "PD999"])


def test_a_check_without_a_page_is_explained_by_its_module() -> None:
    known, _ = registry.load(plug_ins=False)
    first = known[0]
    bare = registry.Check("ACME1", "mine", "Is it?", "T0", "core", first.run, __name__)
    assert __doc__.strip() in command.page(bare)
    assert (
        command.page(registry.Check("A", "a", "?", "T0", "core", first.run, __name__, "# own page")) == "# own page\n"
    )
