"""`python -m audits` from outside: exit codes, files, silence about texts, the same bytes for the same seed."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audits.findings import AuditReport
from tests.audits.conftest import Corpora, command, write_claim
from tests.leaky_generators import claim_for, sentences, write_jsonl

HEAVY = ("numpy", "scipy", "sklearn", "torch", "pyarrow", "opacus", "privdistill", "rapidfuzz", "dp_accounting")


def arguments(files: dict[str, Path], *more: object) -> list[object]:
    given = [part for name, path in files.items() for part in (f"--{name}", path)]
    return [*given, "--no-plug-ins", "--view", "internal", *more]


def test_importing_and_help_load_nothing_heavy() -> None:
    code = f"""
import sys
import audits, audits.findings, audits.registry
try:
    import audits.__main__ as m
    m.main(["--help"])
except SystemExit as stop:
    assert stop.code == 0
loaded = [name for name in {HEAVY!r} if name in sys.modules]
sys.exit("loaded " + ", ".join(loaded) if loaded else 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in (
        "--synthetic",
        "--source",
        "--holdout",
        "--claim",
        "--split-key",
        "--require",
        "--seed",
        "--json",
        "--out",
    ):
        assert flag in done.stdout


def test_audits_never_reaches_the_generator() -> None:
    code = """
import sys, pkgutil, importlib, audits
for module in pkgutil.walk_packages(audits.__path__, "audits."):
    importlib.import_module(module.name)
sys.exit(any(name.split(".")[0] in ("privdistill", "opacus", "torch") for name in sys.modules))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_exit_code_ten_json_and_no_text_anywhere(corpora: Corpora, files: dict[str, Path], tmp_path: Path) -> None:
    files["synthetic"] = write_jsonl(tmp_path / "copy.jsonl", corpora.train[:300])
    done = command(*arguments(files, "--out", tmp_path / "out", "--json"))
    assert done.returncode == 10, done.stderr
    written = (tmp_path / "out" / "audit.json").read_text()
    assert done.stdout == written
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "audit.json"]
    report = AuditReport.model_validate_json(written)
    assert report.verdict == "fail"
    assert json.loads(written) == json.loads(json.dumps(json.loads(written), sort_keys=True))
    everything = written + done.stderr + done.stdout
    assert str(tmp_path) not in everything
    assert "/" not in "".join(report.libraries)
    words = {word.strip(",.;!") for text in corpora.train for word in text.split()}
    long = {word for word in words if len(word) >= 7} - {"promised", "certain"}
    assert not [word for word in long if word in everything]


def test_exit_code_zero_three_and_the_same_bytes(tmp_path: Path) -> None:
    private = sentences(900, seed=5)
    files = {
        "synthetic": write_jsonl(tmp_path / "s.jsonl", sentences(100, seed=6)),
        "source": write_jsonl(tmp_path / "t.jsonl", private[:500]),
        "holdout": write_jsonl(tmp_path / "h.jsonl", private[500:]),
    }

    def run(out: str, *more: object) -> tuple[int, bytes]:
        done = command(*arguments(files, "--out", tmp_path / out, "--require", "PD201,PD203", *more))
        assert done.stderr == ""
        return done.returncode, (tmp_path / out / "audit.json").read_bytes()

    first = run("a")
    assert first == run("b"), "the same inputs and seed give the same bytes"
    assert first[0] == 0
    other = run("c", "--seed", 5, "--max-detectable", "0.001")
    assert other[0] == 3
    assert other[1] != first[1]
    refused = command(*arguments(files | {"source": tmp_path / "absent.csv"}, "--out", tmp_path / "a"))
    assert refused.returncode == 2
    assert not (tmp_path / "a" / "audit.json").exists(), "an older answer must not stand for this one"
    del files["holdout"]
    done = command(*arguments(files, "--out", tmp_path / "e"))
    assert done.returncode == 3
    assert "INCONCLUSIVE" in done.stdout
    assert re.search(r"^holdout +none given$", done.stdout, re.MULTILINE)


def test_formats_and_views_from_outside(files: dict[str, Path], corpora: Corpora, tmp_path: Path) -> None:
    """One audit, all formats to files, the public view in a pipe; the exit code is that of the verdict."""
    files["synthetic"] = write_jsonl(tmp_path / "copy.jsonl", corpora.train[:300])
    given = [part for name, path in files.items() for part in (f"--{name}", path)] + ["--no-plug-ins"]
    summary = write(tmp_path / "step.md", b"earlier\n")
    outputs = [tmp_path / "a.xml", tmp_path / "a.sarif", tmp_path / "a.md"]
    line = [*given, "--out", tmp_path / "out", "--require", "PD201", "--format", "sarif"]
    for format, file in zip(("junit", "sarif", "markdown"), outputs, strict=True):
        line += ["--output", f"{format}={file}"]
    done = command(*line, "--output", f"github={summary}")
    assert done.returncode == 10, done.stderr
    assert done.stdout == outputs[1].read_text()
    assert summary.read_text().startswith("earlier\n## Audit")
    audit = json.loads((tmp_path / "out" / "audit.json").read_text())
    everything = done.stdout + summary.read_text() + "".join(file.read_text() for file in outputs)
    pointers = [case["unit"] for found in audit["findings"] for case in found["worst_cases"]]
    assert pointers
    assert not [pointer for pointer in pointers if pointer in everything]
    assert str(audit["inputs"]["train"]["units_used"]) not in everything
    assert sorted(path.name for path in tmp_path.glob(".audit-*")) == []


def test_a_claim_of_another_file_is_a_fail(corpora: Corpora, files: dict[str, Path], tmp_path: Path) -> None:
    claim = write_claim(tmp_path / "claim.json", claim_for(files["source"], len(corpora.rows)))
    done = command(*arguments(files, "--claim", claim, "--out", tmp_path / "out"))
    assert done.returncode == 10
    assert "claim of another file" in done.stdout


BAD = {
    "synthetic is source": (lambda f, t: f | {"synthetic": f["source"]}, "the synthetic file is the source file"),
    "holdout is source": (lambda f, t: f | {"holdout": f["source"]}, "the holdout file is the source file"),
    "holdout is synthetic": (lambda f, t: f | {"holdout": f["synthetic"]}, "the holdout file is the synthetic file"),
    "empty": (lambda f, t: f | {"synthetic": write(t / "e.csv", b"")}, "is empty"),
    "one row": (lambda f, t: f | {"synthetic": write(t / "o.csv", b"text\nsecretword\n")}, "fewer than two rows"),
    "one source row": (lambda f, t: f | {"source": write(t / "s.csv", b"text\nsecretword\n")}, "fewer than two units"),
    "all empty": (lambda f, t: f | {"synthetic": write(t / "n.csv", b'text\n""\n""\n')}, "fewer than two rows"),
    "broken parquet": (
        lambda f, t: f | {"synthetic": write(t / "b.parquet", b"PAR1secretword")},
        "not readable parquet",
    ),
    "wrong column": (lambda f, t: f | {"source": write(t / "w.csv", b"body\nsecretword\n")}, "has no column 'text'"),
    "absent": (lambda f, t: f | {"source": t / "absent.csv"}, "does not exist"),
    "claim is no JSON": (lambda f, t: f | {"claim": write(t / "c.json", b"secretword")}, "is not JSON"),
    "split key": (lambda f, t: f | {"split-key": write(t / "k", b"secretword")}, "64 hexadecimal digits"),
    "a gigabyte": (lambda f, t: f | {"source": sparse(t / "g.jsonl", 2**30)}, "holds more than 512 MiB"),
    "huge": (lambda f, t: f | {"max-megabytes": 0}, "raise --max-megabytes"),
    "unknown format": (lambda f, t: f | {"output": "pdf=x"}, "is not FORMAT=FILE"),
    "output over an input": (lambda f, t: f | {"output": f"junit={f['source']}"}, "is an input of this audit"),
    "output nowhere": (lambda f, t: f | {"output": f"junit={t}/no/x.xml"}, "a folder that is there"),
    "canaries": (lambda f, t: f | {"canaries": write(t / "e.json", b"secretword")}, "is not an envelope"),
    "no canaries": (lambda f, t: f | {"canaries": t / "absent.json"}, "cannot read the envelope"),
    "encoder": (lambda f, t: f | {"encoder": t}, "holds no safetensors weights"),
    "unknown check": (lambda f, t: f | {"require": "PD999"}, "unknown checks: PD999"),
}


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_never_a_pass(case: str, tmp_path: Path) -> None:
    files = {
        "synthetic": write_jsonl(tmp_path / "s.jsonl", sentences(20, 1)),
        "source": write_jsonl(tmp_path / "t.jsonl", sentences(20, 2)),
        "holdout": write_jsonl(tmp_path / "h.jsonl", sentences(20, 3)),
    }
    change, expected = BAD[case]
    done = command(*arguments(change(files, tmp_path), "--out", tmp_path / "out"))
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert "secretword" not in done.stderr + done.stdout
    assert not (tmp_path / "out" / "audit.json").exists()


def test_usage_errors_are_two(tmp_path: Path) -> None:
    assert command("--synthetic", "x").returncode == 2
    assert command("--nonsense").returncode == 2
    place = write(tmp_path / "file", b"x")
    assert command("--synthetic", "x", "--source", "y", "--out", place).returncode == 2


def test_ctrl_c_is_130_and_leaves_no_report(files: dict[str, Path], tmp_path: Path) -> None:
    root = Path(__file__).resolve().parent.parent.parent
    line = [sys.executable, "-m", "audits", *map(str, arguments(files, "--out", tmp_path / "out"))]
    process = subprocess.Popen(
        line, cwd=root, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=listen_to_interrupts
    )
    wait_until_at_work(process)
    while process.poll() is None:  # a library that is just being loaded may swallow the first
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert not (tmp_path / "out" / "audit.json").exists()
    assert "Traceback" not in errors


def listen_to_interrupts() -> None:
    """Background jobs of a shell and workers of a test run ignore SIGINT, and so do their children: undo that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_until_at_work(process: subprocess.Popen[str]) -> None:
    """A busy machine takes seconds to start Python: wait until the examiner has loaded what it compares texts with."""
    maps = Path(f"/proc/{process.pid}/maps")
    if not maps.exists():
        time.sleep(1.5)
    while process.poll() is None and maps.exists() and "rapidfuzz" not in maps.read_text():
        time.sleep(0.02)
