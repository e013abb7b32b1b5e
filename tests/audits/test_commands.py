"""`python -m audits checks` and `schema`: every check listed and explained, every file described."""

import json

import pytest

from audits import registry
from audits.commands import checks as command
from audits.commands import schema as schemas
from audits.findings import AuditReport
from tests.audits.conftest import Audit
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


@pytest.mark.parametrize("name", schemas.DOCUMENTS)
def test_the_published_schema_is_that_of_the_types(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Mend with: python -m audits schema NAME > audits/schemas/NAME.json (and a new version if files change)."""
    published = (ROOT / "audits" / "schemas" / f"{name}.json").read_text()
    assert schemas.schema(name) == published
    schemas.main([name])
    assert capsys.readouterr().out == published


def test_a_report_is_valid_under_the_published_schema(audit: Audit) -> None:
    import jsonschema

    from audits.render.formats import render

    report = audit()
    for name, view in (("audit-v1", "internal"), ("audit-public-v1", "public")):
        published = json.loads((ROOT / "audits" / "schemas" / f"{name}.json").read_text())
        document = json.loads(render(report, "json", view))
        jsonschema.Draft202012Validator.check_schema(published)
        jsonschema.validate(document, published)
        assert document["schema"] == published["$id"]
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | {"extra": 1}, published)
    assert AuditReport.model_validate_json(render(report, "json", "internal")) == report
