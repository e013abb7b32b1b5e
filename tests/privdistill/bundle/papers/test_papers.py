"""The documents that follow from others: readable by the tools that they are for, and saying what the decision says."""

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from privdistill.bundle import assemble, layout
from privdistill.bundle.papers.attestations import Statement, audit_statement
from privdistill.bundle.papers.audit_view import AuditView
from privdistill.policy import Decision
from privdistill.report.page import render_page
from tests.privdistill.bundle.conftest import build_run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    return assemble(build_run(folder / "run").candidate(), folder / "bundle")


# -- in-toto


@pytest.mark.parametrize("name", [layout.AUDIT_STATEMENT, layout.DECISION_STATEMENT])
def test_a_statement_is_one_line_about_these_rows_and_this_claim(bundle: Path, name: str) -> None:
    (line,) = (bundle / name).read_text().splitlines()
    document = json.loads(line)
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["predicateType"].startswith("https://in-toto.io/attestation/")
    for subject in document["subject"]:
        assert subject["digest"] == {"sha256": layout.sha256((bundle / subject["name"]).read_bytes())}
    assert Statement.model_validate(document).to_line() == line + "\n"


def test_the_attested_decision_names_what_holds_and_nothing_else(bundle: Path) -> None:
    decision = Decision.model_validate_json((bundle / layout.DECISION).read_bytes())
    predicate = json.loads((bundle / layout.DECISION_STATEMENT).read_text())["predicate"]
    assert set(predicate) == {"verifier", "timeCreated", "properties"}
    assert predicate["timeCreated"].endswith("Z")
    assert predicate["verifier"]["policy"]["digest"]["sha256"] == decision.policy.sha256
    held = {result.id.upper().replace("-", "_") for result in decision.rules if result.status == "satisfied"}
    assert predicate["properties"][0] == "PRIVDISTILL_VERDICT_ALLOW"
    assert {each.removeprefix("PRIVDISTILL_RULE_") for each in predicate["properties"][1:]} == held


@pytest.mark.parametrize(
    ("change", "result"),
    [({}, "PASSED"), ({"outcome": "violated"}, "FAILED"), ({"outcome": "not-run"}, "FAILED")],
)
def test_the_attested_audit_fails_with_a_required_check(bundle: Path, change: dict[str, str], result: str) -> None:
    view = AuditView.model_validate_json((bundle / layout.AUDIT).read_bytes())
    required = view.required[0]
    checks = tuple(each.model_copy(update=change) if each.id == required else each for each in view.checks)
    predicate = audit_statement(view.model_copy(update={"checks": checks}), "0" * 64, "0" * 64).predicate
    assert predicate.result == result  # type: ignore[union-attr]
    assert (required in predicate.failed_tests) == (result == "FAILED")  # type: ignore[union-attr]
    absent = tuple(each for each in view.checks if each.id != required)
    predicate = audit_statement(view.model_copy(update={"checks": absent}), "0" * 64, "0" * 64).predicate
    assert predicate.result == "FAILED"  # type: ignore[union-attr]
    empty = audit_statement(view.model_copy(update={"checks": (), "required": ()}), "0" * 64, "0" * 64)
    assert empty.predicate.result == "FAILED", "nothing measured is no pass"  # type: ignore[union-attr]


def test_an_optional_check_that_was_not_run_is_a_warning(bundle: Path) -> None:
    view = AuditView.model_validate_json((bundle / layout.AUDIT).read_bytes())
    checks = tuple(each.model_copy(update={"outcome": "not-run"}) for each in view.checks[:1]) + view.checks[1:]
    view = view.model_copy(update={"checks": checks, "required": ()})
    assert audit_statement(view, "0" * 64, "0" * 64).predicate.result == "WARNED"  # type: ignore[union-attr]


# -- Croissant, citation


@pytest.mark.slow
def test_mlcroissant_reads_the_rows(bundle: Path) -> None:
    code = (
        "import json, logging, sys; import mlcroissant; seen = [];"
        "handler = logging.Handler(); handler.emit = lambda record: seen.append(record.getMessage());"
        "logging.getLogger('absl').addHandler(handler);"
        "data = mlcroissant.Dataset(jsonld=sys.argv[1]);"
        "rows = [(r['rows/text'].decode(), r['rows/label'].decode()) for r in data.records('rows')];"
        "print(json.dumps([seen, data.metadata.name, rows]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(bundle / layout.CROISSANT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    complaints, name, rows = json.loads(done.stdout)
    assert complaints == []
    assert name == "synthetic-texts"
    lines = [json.loads(line) for line in (bundle / layout.JSONL).read_text().splitlines()]
    assert [tuple(row) for row in rows] == [(line["text"], line["label"]) for line in lines]


def test_croissant_names_files_by_digest_and_carries_the_guarantee(bundle: Path) -> None:
    document = json.loads((bundle / layout.CROISSANT).read_text())
    for key in ("@context", "@type", "name", "description", "conformsTo", "license", "url", "datePublished"):
        assert document[key]
    for file in document["distribution"]:
        assert file["sha256"] == layout.sha256((bundle / file["contentUrl"]).read_bytes())
    assert "epsilon 8" in document["rai:personalSensitiveInformation"]


def test_the_citation_has_what_the_format_asks_for(bundle: Path) -> None:
    document = yaml.safe_load((bundle / layout.CITATION).read_text())
    assert document["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "type", "date-released"} <= set(document)


# -- report.html


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_says_what_the_statement_says_and_loads_nothing(bundle: Path) -> None:
    page = Page()
    text = (bundle / layout.REPORT).read_text()
    page.feed(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "form", "a"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name in ("src", "href", "action")]
    assert "default-src 'none'" in text
    statement = (bundle / layout.PRIVACY).read_text()
    words = re.findall(r"[A-Za-z0-9.]{4,}", re.sub(r"[\\`*|#]", " ", statement))
    shown = " ".join(page.text)
    assert not [word for word in words if word not in shown]
    assert page.tags.count("tr") == sum(
        line.startswith("| ") and not line.startswith("| ---") for line in statement.splitlines()
    )


@pytest.mark.parametrize(
    ("markdown", "shown"),
    [
        (r"\<script\>alert(1)\</script\>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        (r"\*\*no\*\*", "**no**"),
        (r'a " b & c', "a &quot; b &amp; c"),
        (r"\\\<", "\\&lt;"),
    ],
)
def test_what_was_escaped_stays_text(markdown: str, shown: str) -> None:
    assert f"<p>{shown}</p>" in render_page(markdown)
