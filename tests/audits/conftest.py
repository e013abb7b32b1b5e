"""Corpora of template sentences, and ways to run the examiner on them."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from audits.evidence import Settings
from audits.examination import Request, examine
from audits.findings import AuditReport, Finding
from tests.leaky_generators import sentences, side_of, write_jsonl

# A short holdout cannot reach the power that is asked by default; where a pass is wanted, less is asked.
LENIENT = Settings(max_detectable=0.25)


@dataclass(frozen=True)
class Corpora:
    """One private corpus on two sides, and rows that have nothing to do with either."""

    train: list[str]
    holdout: list[str]
    rows: list[str]


@pytest.fixture(scope="session")
def corpora() -> Corpora:
    private = sentences(3_000, seed=1)
    held = [text for text in private if side_of(text, 0.4)]
    chosen = set(held)
    return Corpora([text for text in private if text not in chosen], held, sentences(500, seed=2))


@pytest.fixture
def files(corpora: Corpora, tmp_path: Path) -> dict[str, Path]:
    return {
        "source": write_jsonl(tmp_path / "train.jsonl", corpora.train),
        "holdout": write_jsonl(tmp_path / "holdout.jsonl", corpora.holdout),
        "synthetic": write_jsonl(tmp_path / "rows.jsonl", corpora.rows),
    }


Audit = Callable[..., AuditReport]


@pytest.fixture
def audit(files: dict[str, Path], tmp_path: Path) -> Audit:
    """Audit some rows against the corpora, in this process, without plug-ins."""

    def run(rows: list[str] | None = None, **options: object) -> AuditReport:
        arguments: dict[str, object] = dict(files)
        if rows is not None:
            arguments["synthetic"] = write_jsonl(tmp_path / "given.jsonl", rows)
        arguments |= {"plug_ins": False, "settings": LENIENT} | options
        return examine(Request(**arguments))

    return run


@pytest.fixture
def audit_only(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> Audit:
    """Audit with the checks of the given ids alone."""
    import audits.examination as examination
    from audits.registry import load

    def run(ids: tuple[str, ...], rows: list[str] | None = None, **options: object) -> AuditReport:
        chosen = tuple(check for check in load(plug_ins=False)[0] if check.id in ids)
        monkeypatch.setattr(examination, "load", lambda *, plug_ins: (chosen, ()))
        return audit(rows, **options)

    return run


def finding(report: AuditReport, id: str) -> Finding:
    return next(found for found in report.findings if found.id == id)


def command(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `python -m audits` in a process of its own."""
    root = Path(__file__).resolve().parent.parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    line = [sys.executable, "-m", "audits", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def write_claim(path: Path, claim: dict[str, object]) -> Path:
    path.write_text(json.dumps(claim), encoding="utf-8")
    return path


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
