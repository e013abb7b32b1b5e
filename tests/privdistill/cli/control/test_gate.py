"""`gate` on real runs: formats, files, exit codes, waivers."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.report.formats import FORMATS
from tests.privdistill.cli.control.runs import build_run, edit

SOFT = ("schema: privdistill.policy/v1\nname: soft\nversion: '1'\ndescription: For tests.\nrules:\n"
        "  - {id: claim-made, kind: claim-made, level: hard, why: needed}\n"
        "  - {id: rows, kind: min-rows, level: soft, rows: 100000, why: many}\n"
        "  - {id: few, kind: min-rows, level: advisory, rows: 100000, why: many}\n")  # fmt: skip


@pytest.fixture
def run(in_folder: Path) -> Path:
    """An honest run that `internal` allows."""
    return build_run(in_folder / "run")


@pytest.fixture
def denied(run: Path) -> Path:
    (run / "candidate" / "data.parquet").write_bytes((run / "candidate" / "data.parquet").read_bytes() + b"\0")
    return run


@pytest.fixture
def open_(run: Path) -> Path:
    (run / "audit" / "audit.json").unlink()
    return run


def waiver(**changes: object) -> dict[str, object]:
    return {
        "rule": "rows",
        "fingerprint": "0" * 32,
        "reason": "a small corpus was agreed upon",
        "approved_by": "A. Officer",
        "expires": "2999-12-31",
    } | changes


def write_waivers(*waivers: dict[str, object]) -> Path:
    path = Path("waivers.yaml")
    path.write_text(json.dumps({"schema": "privdistill.waivers/v1", "waivers": waivers}))
    return path


def asked(cli: Callable, run: Path) -> str:
    """The fingerprint that the gate prints for the open soft rule."""
    decision = json.loads(cli("gate", run, "--policy", "soft.yaml", "--format", "json").out)
    (rule,) = (rule for rule in decision["rules"] if rule["id"] == "rows")
    return rule["fingerprint"]


@pytest.fixture
def soft(in_folder: Path) -> Path:
    path = in_folder / "soft.yaml"
    path.write_text(SOFT)
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize(("state", "code"), [("run", 0), ("denied", 10), ("open_", 3)])
def test_the_exit_code_never_depends_on_the_format(
    cli: Callable, request: pytest.FixtureRequest, form: str, state: str, code: int
) -> None:
    run = request.getfixturevalue(state)
    ended = cli("gate", run, "--policy", "internal", "--format", form)
    assert (ended.code, ended.err) == (code, f"next: privdistill audit {run}\n" if state == "open_" else "")
    filed = cli("gate", run, "--policy", "internal", "--format", form, "--output", "report")
    assert filed.code == code
    assert filed.out.splitlines()[0] == cli("gate", run, "--policy", "internal").out.splitlines()[0]
    if form not in ("json", "junit"):  # those two carry the moment of the decision
        assert Path("report").read_text().splitlines()[0] == ended.out.splitlines()[0]


def test_several_reports_at_once(cli: Callable, run: Path) -> None:
    ended = cli(
        "gate", run, "--policy", "internal", "--format", "github",
        "--output", "sarif=a.sarif", "--output", "junit=b.xml", "--output", "markdown=c.md", "--output", "json=d.json",
    )  # fmt: skip
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith("ALLOWED")
    assert json.loads(Path("a.sarif").read_text())["version"] == "2.1.0"
    assert Path("b.xml").read_text().startswith("<?xml")
    assert Path("c.md").read_text().startswith("## Allowed")
    assert json.loads(Path("d.json").read_text())["verdict"] == "allow"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--format", "html"), "--format"),
        (("--fail-on", "never"), "--fail-on"),
        (("--output", "x", "--output", "json=x"), "own"),
        (("--output", "run/run.json/x"), "no folder"),
        (("--output", "run"), "cannot be written"),
        (("--output", "sarif=absent/gate.sarif"), "there is no folder absent"),
        (("--output", "sarfi=gate.sarif"), "text, json, junit, sarif, github, markdown, found 'sarfi'"),
        (("--waivers", "absent.yaml"), "no waivers"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(cli: Callable, run: Path, arguments: tuple[str, ...], said: str) -> None:
    ended = cli("gate", run, "--policy", "internal", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_refused_output_leaves_nothing_behind(cli: Callable, run: Path) -> None:
    before = sorted(path for path in run.parent.rglob("*"))
    for output in ("sarfi=gate.sarif", "sarif=absent/gate.sarif"):
        assert cli("gate", run, "--policy", "internal", "--output", output).code == 2
    assert sorted(path for path in run.parent.rglob("*")) == before
    assert cli("gate", run, "--policy", "internal", "--output", "./sarfi=gate.sarif").code == 0
    assert Path("sarfi=gate.sarif").is_file()


def test_a_release_without_an_audit_names_the_next_step(cli: Callable, open_: Path) -> None:
    ended = cli("release", open_, "--policy", "internal", "--out", "bundle")
    assert (ended.code, ended.err) == (3, f"next: privdistill audit {open_}\n")
    assert cli("release", open_, "--out", "bundle", "-q").err == ""
    assert "audit-verdict" in ended.out
    line = next(line for line in ended.out.splitlines() if "audit-verdict" in line)
    assert line.endswith("(required under every policy)")


def test_a_report_is_there_also_when_the_answer_is_no(cli: Callable, denied: Path) -> None:
    assert cli("gate", denied, "--policy", "internal", "--output", "sarif=gate.sarif").code == 10
    assert json.loads(Path("gate.sarif").read_text())["runs"][0]["results"]


def test_fail_on_warn(cli: Callable, run: Path, soft: Path) -> None:
    assert cli("gate", run, "--policy", "internal", "--fail-on", "warn").code == 0
    soft.write_text(SOFT.replace("level: soft", "level: advisory"))
    assert cli("gate", run, "--policy", "soft.yaml").code == 0
    for form in FORMATS:
        assert cli("gate", run, "--policy", "soft.yaml", "--fail-on", "warn", "--format", form).code == 10


# -- waivers


def test_a_waiver_sets_a_soft_rule_aside_and_is_counted(cli: Callable, run: Path, soft: Path) -> None:
    assert cli("gate", run, "--policy", "soft.yaml").code == 10
    write_waivers(waiver(fingerprint=asked(cli, run)))
    ended = cli("gate", run, "--policy", "soft.yaml", "--waivers", "waivers.yaml")
    assert ended.code == 0
    assert "1 waived" in ended.out
    assert "A. Officer" in ended.out
    assert "2999-12-31" in ended.out
    assert cli("gate", run, "--policy", "soft.yaml", "--waivers", "waivers.yaml", "--fail-on", "warn").code == 10


def test_a_released_waiver_is_printed_and_verified(cli: Callable, run: Path, soft: Path) -> None:
    write_waivers(waiver(fingerprint=asked(cli, run)), waiver(reason="meant for another candidate"))
    ended = cli("release", run, "--policy", "soft.yaml", "--waivers", "waivers.yaml", "--out", "bundle")
    assert ended.code == 0, ended.out + ended.err
    decision = json.loads(Path("bundle/decision.json").read_text())
    assert decision["waived"] == ["rows"]
    assert [use["approved_by"] for use in decision["waivers"]] == ["A. Officer"]
    assert "meant for another" not in "".join(p.read_text("latin-1") for p in Path("bundle").rglob("*.*"))
    assert cli("verify", "bundle").code == 0
    for forged in ({"fingerprint": "1" * 32}, {"expires": "2020-01-01"}, {"rule": "claim-made"}, {"state": "expired"}):
        edit(Path("bundle/decision.json"), lambda d, forged=forged: d["waivers"][0].update(forged))
        mend(Path("bundle"))
        ended = cli("verify", "bundle")
        assert ended.code == 10
        assert "waivers" in ended.out or "not a Decision" in ended.out
        Path("bundle/decision.json").write_text(json.dumps(decision, indent=2) + "\n")


def test_the_gate_decides_about_a_bundle_as_of_now(
    cli: Callable, run: Path, soft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_waivers(waiver(fingerprint=asked(cli, run), expires="2030-01-01"))
    assert cli("release", run, "--policy", "soft.yaml", "--waivers", "waivers.yaml", "--out", "bundle").code == 0
    assert cli("gate", "bundle", "--policy", "soft.yaml").code == 0
    write_waivers(waiver(expires="2020-01-01"))
    assert cli("gate", "bundle", "--policy", "soft.yaml", "--waivers", "waivers.yaml").code == 10
    monkeypatch.setattr("privdistill.settlement.now", lambda: "2030-01-02T00:00:00+00:00")
    ended = cli("gate", "bundle", "--policy", "soft.yaml")
    assert ended.code == 10
    assert "the waiver of rows has expired" in ended.out
    assert cli("verify", "bundle").code == 0, "what was decided then is still what was decided then"


def test_a_bundle_that_was_edited_is_refused_and_reports_are_for_their_owner(cli: Callable, run: Path) -> None:
    assert cli("gate", run, "--policy", "internal", "--output", "json=decision.json").code == 0
    assert Path("decision.json").stat().st_mode & 0o077 == 0
    assert cli("release", run, "--policy", "internal", "--out", "bundle").code == 0
    assert cli("gate", "bundle", "--policy", "internal").code == 0
    edit(Path("bundle/claim.json"), lambda d: d.update(epsilon=1.0))
    ended = cli("gate", "bundle", "--policy", "internal")
    assert ended.code == 10
    assert ended.out.splitlines()[1:] == ["  fail  the bundle does not verify (checksums); see privdistill verify"]
    complete = json.loads(cli("gate", "bundle", "--policy", "internal", "--format", "json").out)
    assert len(complete["rules"]) > 15


def mend(bundle: Path) -> None:
    from privdistill.bundle import layout

    files = {name: (bundle / name).read_bytes() for name in layout.FILES}
    (bundle / layout.SUMS).write_text(layout.sums_text(files))


@pytest.mark.parametrize("command", ["gate", "release"])
def test_an_expired_waiver_turns_the_answer_to_no(cli: Callable, run: Path, soft: Path, command: str) -> None:
    out = ("--out", "bundle") if command == "release" else ()
    for candidate in (asked(cli, run), "0" * 32):
        write_waivers(waiver(fingerprint=candidate, expires="2026-01-01"))
        ended = cli(command, run, "--policy", "soft.yaml", "--waivers", "waivers.yaml", *out)
        assert ended.code == 10
        assert "the waiver of rows has expired" in ended.out
    # ... also where nothing needs it
    ended = cli(command, run, "--policy", "internal", "--waivers", "waivers.yaml", *out)
    assert ended.code == 10
    assert not Path("bundle").exists()


@pytest.mark.parametrize("rule", ["claim-made", "audit-verdict"])
def test_a_hard_rule_is_never_waived(cli: Callable, run: Path, rule: str) -> None:
    write_waivers(waiver(rule=rule))
    ended = cli("gate", run, "--policy", "internal", "--waivers", "waivers.yaml")
    assert ended.code == 10
    assert "hard rule, which is never waived" in ended.out


def test_a_waiver_is_for_one_candidate_under_one_policy(cli: Callable, run: Path, soft: Path, in_folder: Path) -> None:
    write_waivers(waiver(fingerprint=asked(cli, run)))
    other = build_run(in_folder / "other", texts=[f"Another text, number {i}." for i in range(150)])
    ended = cli("gate", other, "--policy", "soft.yaml", "--waivers", "waivers.yaml")
    assert ended.code == 10
    assert "1 waiver(s) fit nothing here" in ended.out
    soft.write_text(SOFT.replace("For tests", "For more tests"))
    assert cli("gate", run, "--policy", "soft.yaml", "--waivers", "waivers.yaml").code == 10


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "soon"},
        {"expires": 20991231},
        {"expires": "20991231"},
        {"reason": "short"},
        {"approved_by": ""},
        {"fingerprint": "x"},
        {"extra": 1},
    ],
)
def test_a_malformed_waiver_is_refused_before_anything_is_decided(
    cli: Callable, run: Path, change: dict[str, object]
) -> None:
    write_waivers(waiver(**change))
    ended = cli("gate", run, "--policy", "internal", "--waivers", "waivers.yaml")
    assert (ended.code, ended.out) == (2, "")
    assert "waivers" in ended.err
    assert not (run / "decision.json").exists()
