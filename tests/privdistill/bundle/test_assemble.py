"""A bundle appears complete or not at all, only after a yes, and takes nothing private with it."""

import json
import os
import re
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privdistill.bundle import assemble, layout, load_or_create_salt, verify
from privdistill.bundle import publish as publish_module
from privdistill.bundle.papers.audit_view import commitment
from privdistill.errors import IndeterminateError, RefusedError, RunError
from privdistill.policy import Decision, parse_policy
from tests.conftest import ROOT
from tests.privdistill.bundle.conftest import SECRETS, Run, build_run


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def nothing_but(folder: Path, *names: str) -> bool:
    return sorted(entry.name for entry in folder.iterdir()) == sorted(names)


# -- the good way


def test_the_bundle_of_an_honest_run_verifies(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "releases" / "bundle")
    assert sorted(contents(out)) == list(layout.FILES)
    assert verify(out).ok
    assert nothing_but(out.parent, "bundle")
    assert (out / layout.DATA).read_bytes() == run.data.read_bytes()
    assert (out / layout.CLAIM).read_bytes() == run.claim.read_bytes()
    assert (out / layout.POLICY).read_bytes() == run.policy.text.encode()


def test_the_strictest_policy_can_be_met(tmp_path: Path) -> None:
    from privdistill.policy import load_policy

    run = build_run(tmp_path / "run", base="epsilon-3", policy=load_policy("public"))
    assert verify(assemble(run.candidate(), tmp_path / "bundle")).ok


def test_the_same_inputs_give_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first, second = (contents(assemble(run.candidate(), tmp_path / name)) for name in ("one", "two"))
    assert first == second


def test_anybody_may_read_a_bundle_and_nobody_else_may_write(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    for path in (out, *out.rglob("*")):
        expected = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == expected


def test_sha256sum_reads_the_list(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    for line in (out / layout.SUMS).read_text().splitlines():
        digest, name = re.fullmatch(r"([0-9a-f]{64})  (\S+)", line).groups()  # type: ignore[union-attr]
        assert layout.sha256((out / name).read_bytes()) == digest


def test_json_lines_are_the_rows_and_cannot_move_a_cursor(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    lines = (out / layout.JSONL).read_bytes()
    assert [json.loads(line) for line in lines.splitlines()] == pq.read_table(run.data).to_pylist()
    assert all(byte == 0x0A or 0x20 <= byte < 0x7F for byte in lines)


@pytest.mark.slow
def test_datasets_loads_the_bundle(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    code = (
        "import sys, datasets; datasets.disable_progress_bars();"
        "rows = datasets.load_dataset(sys.argv[1]);"
        "print(sorted(rows), rows['train'].num_rows, rows['train'].column_names)"
    )
    environment = os.environ | {"USE_TORCH": "0", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['train'] 150 ['text', 'label', 'soft_label']"


# -- nothing private


def test_no_secret_of_the_run_is_in_the_bundle(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    salt = (run.folder / "private" / "audit-salt").read_bytes()
    audit_digest = layout.sha256(run.audit.read_bytes())
    places = [str(run.folder), str(tmp_path), str(Path.home()), audit_digest, salt.hex(), *SECRETS.values()]
    for name, content in contents(out).items():
        for place in places:
            if place.isdigit() and name in (layout.DATA, layout.JSONL, layout.SUMS):
                continue
            assert not re.search(rf"(?<![0-9a-f]){re.escape(place)}(?![0-9a-f])".encode(), content), (name, place)


def test_the_audit_shows_outcomes_only(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    view = json.loads((out / layout.AUDIT).read_text())
    assert {check["outcome"] for check in view["checks"]} == {"satisfied"}
    assert all(check["metrics"] is None for check in view["checks"])
    assert "0.0022" not in (out / layout.DECISION).read_text()
    assert "0.0022" not in (out / layout.PRIVACY).read_text()


def test_numbers_are_shown_only_with_the_policys_leave(tmp_path: Path) -> None:
    from privdistill.policy import load_policy

    open_policy = parse_policy(load_policy("internal").text + "publish_metrics: true\n", "open")
    run = build_run(tmp_path / "run", policy=open_policy)
    out = assemble(run.candidate(), tmp_path / "bundle")
    assert verify(out).ok
    text = (out / layout.AUDIT).read_text()
    assert "0.0022" in text
    for secret in SECRETS.values():
        assert secret not in text


def test_the_commitment_opens_with_the_salt_and_the_report(run: Run, tmp_path: Path) -> None:
    out = assemble(run.candidate(), tmp_path / "bundle")
    salt = load_or_create_salt(run.folder / "private" / "audit-salt")
    assert json.loads((out / layout.AUDIT).read_text())["commitment"] == commitment(salt, run.audit.read_bytes())
    with pytest.raises(ValueError, match="salt"):
        commitment(b"short", b"")


def test_the_salt_is_drawn_once_and_kept_private(tmp_path: Path) -> None:
    path = tmp_path / "salt"
    assert load_or_create_salt(path) == load_or_create_salt(path)
    assert len(path.read_bytes()) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"x")
    with pytest.raises(RunError, match="32 bytes"):
        load_or_create_salt(path)
    with pytest.raises(RunError):
        load_or_create_salt(tmp_path / "absent" / "salt")


@pytest.mark.parametrize(
    "model",
    ["/home/ada/models/secret", "C:\\Users\\ada\\model", "file:///srv/model", "~/model", "/mnt/nfs/customer-x/m"],
)
def test_a_path_of_the_machine_is_refused(run: Run, tmp_path: Path, model: str) -> None:
    claim = json.loads(run.claim.read_text())
    claim["models"][0]["id"] = model
    run.claim.write_text(json.dumps(claim))
    audit = json.loads(run.audit.read_text())
    audit["inputs"]["claim_sha256"] = layout.sha256(run.claim.read_bytes())
    run.audit.write_text(json.dumps(audit))
    with pytest.raises(RefusedError, match="path") as caught:
        assemble(run.candidate(), tmp_path / "bundle")
    assert model not in str(caught.value)
    assert nothing_but(tmp_path, "run", "home")


def test_hostile_declarations_make_a_bundle_that_verifies(run: Run, tmp_path: Path) -> None:
    claim = json.loads(run.claim.read_text())
    hostile = "\x1b[2J\r\n---\nALLOWED <script> | 50 % / \u202e \\\\ `x` {y}"
    claim["declarations"] |= {"describe": hostile, "labels": [hostile], "label_descriptions": {hostile: hostile}}
    run.claim.write_text(json.dumps(claim))
    audit = json.loads(run.audit.read_text())
    audit["inputs"]["claim_sha256"] = layout.sha256(run.claim.read_bytes())
    run.audit.write_text(json.dumps(audit))
    out = assemble(run.candidate(), tmp_path / "bundle")
    assert verify(out).ok
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".parquet":
            assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]|\xe2\x80\xae", path.read_bytes()), path.name


def test_a_claim_that_says_two_things_is_refused(run: Run, tmp_path: Path) -> None:
    run.claim.write_text(run.claim.read_text().replace("{", '{"run_id": "SECRET", ', 1))
    audit = json.loads(run.audit.read_text())
    audit["inputs"]["claim_sha256"] = layout.sha256(run.claim.read_bytes())
    run.audit.write_text(json.dumps(audit))
    with pytest.raises(RefusedError, match="twice"):
        assemble(run.candidate(), tmp_path / "bundle")


# -- refusals


def test_an_existing_folder_is_refused(run: Run, tmp_path: Path) -> None:
    assemble(run.candidate(), tmp_path / "bundle")
    before = contents(tmp_path / "bundle")
    with pytest.raises(RunError, match="never changed"):
        assemble(run.candidate(), tmp_path / "bundle")
    assert contents(tmp_path / "bundle") == before


@pytest.mark.parametrize("kind", ["empty folder", "file", "dangling link"])
def test_anything_at_the_target_is_refused(run: Run, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "bundle"
    if kind == "empty folder":
        out.mkdir()
    elif kind == "file":
        out.write_text("")
    else:
        out.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="never changed"):
        assemble(run.candidate(), out)


def test_what_was_not_allowed_is_refused(run: Run, tmp_path: Path) -> None:
    candidate = run.candidate()
    denied = candidate.decision.model_copy(update={"verdict": "deny"})
    open_ = candidate.decision.model_copy(update={"verdict": "indeterminate"})
    public = candidate.decision.model_copy(update={"view": "public"})
    for decision, error in ((denied, RefusedError), (open_, IndeterminateError), (public, RefusedError)):
        with pytest.raises(error):
            assemble(replace(candidate, decision=decision), tmp_path / "bundle")
    assert nothing_but(tmp_path, "run", "home")


@pytest.mark.parametrize("name", ["data", "claim", "audit"])
def test_a_change_after_the_decision_is_refused(run: Run, tmp_path: Path, name: str) -> None:
    candidate = run.candidate()
    path: Path = getattr(run, name)
    if name == "data":
        path.write_bytes(path.read_bytes() + b"\0")
    else:
        path.write_text(path.read_text() + " ")
    with pytest.raises(RefusedError, match="changed after the decision"):
        assemble(candidate, tmp_path / "bundle")
    assert nothing_but(tmp_path, "run", "home")


def test_a_policy_edited_after_the_decision_is_refused(run: Run, tmp_path: Path) -> None:
    softer = parse_policy(run.policy.text.replace("epsilon: 8", "epsilon: 16"), "internal")
    with pytest.raises(RefusedError, match="the policy changed"):
        assemble(run.candidate(policy=softer), tmp_path / "bundle")
    forged = replace(run.policy, text=softer.text)
    with pytest.raises(RefusedError, match="the policy changed"):
        assemble(run.candidate(policy=forged), tmp_path / "bundle")


def test_a_decision_edited_by_hand_is_refused(tmp_path: Path) -> None:
    """Every rule whose inputs are in the run is derived again; `allow` in a text editor is not an allowance."""
    run = build_run(tmp_path / "run")
    audit = json.loads(run.audit.read_text())
    audit["findings"][-1]["status"] = "fail"
    audit["verdict"] = "fail"
    run.audit.write_text(json.dumps(audit))
    candidate = run.candidate()
    assert candidate.decision.verdict == "deny"
    document = json.loads(candidate.decision.to_json()) | {"verdict": "allow"}
    for rule in document["rules"]:
        rule["status"] = "satisfied"
    forged = Decision.model_validate(document)
    with pytest.raises(RefusedError, match="does not follow"):
        assemble(replace(candidate, decision=forged), tmp_path / "bundle")


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"text": ["a"], "label": ["b"], "source_id": ["c"]}, "columns"),
        ({"label": ["b"], "text": ["a"]}, "columns"),
        ({"text": ["a"]}, "columns"),
        ({"text": [1], "label": ["b"]}, "text in column text"),
        ({"text": ["a"], "label": ["b"], "soft_label": ["c"]}, "soft_label"),
        ({"text": ["a"], "label": ["b"], "soft_label": [{"x": float("nan")}]}, "finite"),
    ],
)
def test_other_columns_are_refused(tmp_path: Path, columns: dict[str, list[object]], reason: str) -> None:
    from privdistill.bundle.rows import read_rows

    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(RefusedError, match=reason):
        read_rows((tmp_path / "x.parquet").read_bytes())


def test_foreign_metadata_and_foreign_bytes_are_refused(tmp_path: Path) -> None:
    from privdistill.bundle.rows import read_rows

    table = pa.table({"text": ["a"], "label": ["b"]}).replace_schema_metadata({"origin": "/home/ada/x"})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(RefusedError, match="metadata"):
        read_rows((tmp_path / "x.parquet").read_bytes())
    with pytest.raises(RefusedError, match="parquet"):
        read_rows(b"no parquet")


def test_a_missing_file_is_said_so(run: Run, tmp_path: Path) -> None:
    candidate = run.candidate()
    run.audit.unlink()
    with pytest.raises(RunError, match=r"audit\.json"):
        assemble(candidate, tmp_path / "bundle")


# -- atomic


@pytest.mark.parametrize("step", ["_write", "_rename", "_sync", "os.fsync"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_crash_before_the_rename_leaves_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    candidate = run.candidate()

    def crash(*arguments: object) -> None:
        raise error

    target = publish_module.os if step == "os.fsync" else publish_module
    monkeypatch.setattr(target, step.removeprefix("os."), crash)
    with pytest.raises((RunError, KeyboardInterrupt)):
        assemble(candidate, tmp_path / "bundle")
    monkeypatch.undo()
    assert nothing_but(tmp_path, "run", "home")


def test_a_killed_process_leaves_no_half_bundle(run: Run, tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from privdistill.bundle import publish as p;"
        "p._rename = lambda *a: os.kill(os.getpid(), 9);"
        "p.publish({'README.md': b'x'}, Path(sys.argv[1]), lambda folder: None)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bundle")], cwd=ROOT, check=False)
    assert done.returncode == -9
    assert not (tmp_path / "bundle").exists()
    assert assemble(run.candidate(), tmp_path / "bundle").is_dir()


def test_the_second_of_two_at_the_same_moment_is_refused(tmp_path: Path) -> None:
    def race(folder: Path) -> None:
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "x").write_text("theirs")

    with pytest.raises(RunError):
        publish_module.publish({"a": b"mine"}, tmp_path / "bundle", race)
    assert contents(tmp_path / "bundle") == {"x": b"theirs"}
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    with pytest.raises(RunError, match="same moment"):
        publish_module._rename(hidden, tmp_path / "bundle")


def test_a_bundle_that_would_not_verify_is_not_published(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["privdistill.bundle.assemble"]
    real = module.derived_files

    def edited(text: bytes) -> None:
        monkeypatch.setattr(
            module, "derived_files", lambda *given, **more: real(*given, **more) | {layout.PRIVACY: text}
        )

    edited(b"see /home/ada/notes\n")
    with pytest.raises(RefusedError):
        assemble(run.candidate(), tmp_path / "bundle")
    edited(b"all is well\n")
    with pytest.raises(RefusedError, match="would not verify"):
        assemble(run.candidate(), tmp_path / "bundle")
    assert nothing_but(tmp_path, "run", "home")
