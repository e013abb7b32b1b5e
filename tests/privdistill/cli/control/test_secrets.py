"""Secrets planted in every private place of a run; a bundle searched for them byte by byte; gate and verify timed."""

import base64
import json
import os
import re
import resource
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.privdistill.cli.control.runs import bind, build_run, digest, edit, private_sentences, side

MARK = "PLANTED-SECRET-"


def plant(run: Path) -> set[str]:
    """Secrets in every private place; what must not be found."""
    secrets = {*side(run, "train"), *side(run, "holdout")}

    def secret(place: str) -> str:
        secrets.add(MARK + place)
        return MARK + place

    for name in ("audit.stderr", "traceback.txt", "canaries.json", "cache.bin"):
        (run / "private" / name).write_text(secret(name.replace(".", "-")))
    (run / "private" / "audit-salt").write_bytes(secret("salt").ljust(32, "x").encode()[:32])
    secrets.add((run / "private" / "split.key").read_text().strip())

    def in_audit(audit: dict[str, Any]) -> None:
        audit["inputs"]["train"] |= {"units_used": 704_417, "units_available": 704_417}
        for finding in audit["findings"]:
            finding |= {"summary": secret("summary"), "notes": [secret("note")]}
            case = {"unit": secret("unit"), "side": "train", "synthetic_row": 7, "score": 0.123454321}
            finding["worst_cases"] = [case]
            for estimate in finding.get("estimates", {}).values():
                estimate |= {"method": secret("method"), "n": 704_417}
            if finding.get("power"):
                finding["power"] |= {"sentence": secret("sentence"), "detectable": 0.00123321}

    edit(run / "audit" / "audit.json", in_audit)
    bind(run)
    corpus = {"path": f"/srv/{secret('path')}.csv", "name": secret("name")}
    edit(run / "run.json", lambda d: d["facts"].update(note=secret("facts")))
    edit(run / "run.json", lambda d: d["config"]["source"].update(corpus))
    waivers = {
        "schema": "privdistill.waivers/v1",
        "waivers": [
            {
                "rule": "source-total",
                "fingerprint": "ab" * 16,
                "reason": secret("about-another-candidate"),
                "approved_by": secret("person"),
                "expires": "2999-01-01",
            }
        ],
    }
    (run.parent / "waivers.yaml").write_text(json.dumps(waivers))
    return secrets | {"704417", "704,417", "0.123454321", "0.00123321", str(run), str(run.parent), MARK}


def forms(secret: str) -> set[bytes]:
    raw = secret.encode()
    return {raw, raw.hex().encode(), base64.b64encode(raw)[:-4], json.dumps(secret)[1:-1].encode()} - {b""}


@pytest.mark.parametrize("policy", ["internal", "research"])
def test_nothing_private_is_in_a_bundle(cli: Callable, in_folder: Path, policy: str) -> None:
    run = build_run(in_folder / "run", private=private_sentences(60))
    secrets = plant(run)
    arguments = ("--policy", policy, "--waivers", "waivers.yaml")
    reports = [f"--output={form}={form}.out" for form in ("junit", "sarif", "github", "markdown")]
    assert cli("gate", run, *arguments, *reports).code == 0
    assert cli("release", run, *arguments, "--out", "bundle").code == 0
    secrets |= {digest(run / "audit" / "audit.json"), str(Path.home())}
    bundle = [path for path in Path("bundle").rglob("*") if path.is_file()]
    assert len(bundle) > 15
    for path in [*bundle, *Path().glob("*.out")]:
        content = path.read_bytes()
        for secret in secrets:
            found = [form for form in forms(secret) if form in content]
            assert not found, (path, secret)
    machine = re.compile(rf"(?<![\w-]){re.escape(socket.gethostname())}(?![\w-])".encode())
    assert not [path for path in bundle if machine.search(path.read_bytes())]


def test_the_search_finds_what_is_there(cli: Callable, in_folder: Path) -> None:
    """The control: a secret in a published place is found by the same search."""
    private = private_sentences(60)
    run = build_run(in_folder / "run", texts=[*private, *(f"Row {i}." for i in range(100))], private=private)
    secrets = plant(run)
    assert cli("release", run, "--policy", "research", "--out", "bundle").code == 0
    content = b"".join(path.read_bytes() for path in Path("bundle").rglob("*") if path.is_file())
    assert any(form in content for secret in secrets for form in forms(secret))


@pytest.mark.parametrize(("command", "seconds"), [("gate", 2.0), ("verify", 5.0)])
def test_gate_and_verify_of_ten_thousand_rows_are_quick(
    cli: Callable, in_folder: Path, command: str, seconds: float
) -> None:
    """Processor time of the whole process, the best of three: other load on the machine should not count."""
    run = build_run(in_folder / "run", texts=[f"A synthetic review, number {i}, about nothing." for i in range(10_000)])
    assert cli("release", run, "--policy", "internal", "--out", "bundle").code == 0
    arguments = ["gate", "bundle", "--policy", "bundle/policy.yaml"] if command == "gate" else ["verify", "bundle"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    spent = []
    while len(spent) < 3 and not (spent and min(spent) < seconds):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-m", "privdistill", *arguments], env=environment, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(spent) < seconds, spent
