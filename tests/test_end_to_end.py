"""The main job on real text with the embedded models: one command from a corpus to a verified bundle.

Film-review sentences are fetched at run time; none is kept here. `make bench` measures quality; this test measures that
the promises about form, privacy accounts and release hold.
"""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]

ROWS = 120


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "privdistill", *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the film-review sentences and a configuration file; fewer leave the examiner without power."""
    from privdistill.models.assets import fetch

    folder = tmp_path_factory.mktemp("main-job")
    with fetch("demo-corpus").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    (folder / "privdistill.yaml").write_text(
        "source:\n  path: reviews.csv\n  label_column: category\n  labels: [fresh, rotten]\n  size: 12000\n"
        "  name: end-to-end\n"
        f"synthesis:\n  rows: {ROWS}\n  describe: short film reviews\n"
        "performance:\n  pool_factor: 4\n",  # a third of what a run writes by default, and of its time
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def released(place: Path) -> Path:
    """One command, one bundle.

    At a level of 5 % the examiner turns an honest candidate down about once in twenty. The product retries nothing;
    the test starts a new source then, and three refusals in a row are no chance.
    """
    told = []
    for attempt in ("a", "b", "c"):
        done = command(
            "run", "--epsilon", "8", "--policy", "internal", "--run", f"run-{attempt}", "--out", "bundle",
            "--ledger", f"ledger-{attempt}.sqlite3", cwd=place,
        )  # fmt: skip
        told.append(done.stdout + done.stderr)
        if done.returncode not in (3, 10):
            break
    assert done.returncode == 0, "\n".join(told)
    assert "ALLOWED" in done.stdout
    (place / "run").symlink_to(place / f"run-{attempt}")
    (place / "ledger.sqlite3").symlink_to(place / f"ledger-{attempt}.sqlite3")
    return place / "bundle"


def test_one_command_makes_a_bundle_that_verifies(released: Path) -> None:
    done = command("verify", str(released), cwd=released.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    claim = json.loads((released / "claim.json").read_text())
    assert 7.92 <= claim["epsilon"] <= 8
    assert [m["kind"] for m in claim["mechanisms"]] == ["gaussian"]


def test_rows_are_exactly_as_many_as_asked_for_and_read_like_sentences(released: Path) -> None:
    from privdistill.evaluation.fidelity import near_duplicate_share

    table = pq.read_table(next((released / "data").glob("*.parquet"))).to_pydict()
    texts = table["text"]
    assert len(texts) == ROWS
    assert set(table["label"]) <= {"fresh", "rotten"}
    assert all(abs(sum(p.values()) - 1) < 1e-3 for p in table["soft_label"])
    assert near_duplicate_share(texts) < 0.01
    manners = r"(here is|here's|sure|certainly|as an ai|i'm sorry|examples?)\b|reviews?:"
    openings = re.compile(manners, re.IGNORECASE)
    assert not [text for text in texts if openings.match(text)]
    assert not [text for text in texts if "short film reviews" in text.lower()]
    assert not [text for text in texts if text.rstrip()[-1].isalnum()], "cut off"


def test_nothing_private_is_in_the_bundle(released: Path) -> None:
    run = released.parent / "run"
    content = b"".join(file.read_bytes() for file in released.rglob("*") if file.is_file())
    key = (run / "private" / "split.key").read_text().strip().encode()
    assert key not in content
    assert str(released.parent).encode() not in content
    private = pq.read_table(run / "private" / "train.parquet")["text"].to_pylist()
    assert not [text for text in private if len(text) > 30 and text.encode() in content]


def test_the_ledger_carries_the_charge(released: Path) -> None:
    from privdistill.accounting.ledger import Ledger

    book = Ledger(released.parent / "ledger.sqlite3")
    (source,) = book.sources()
    assert source[1] == "end-to-end"
    assert book.total(source[0]).attempts == 1
    assert 7.9 < book.total(source[0]).epsilon < 8.001


def test_passthrough_is_found_and_refused_on_real_text(place: Path, released: Path) -> None:
    made = command("generate", "--recipe", "passthrough", "--run", "leaky", "--ledger", "ledger.sqlite3", cwd=place)
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip().endswith("leaky")
    audit = command("audit", "leaky", "--json", cwd=place)
    assert audit.returncode == 10
    findings = {f["id"]: f["status"] for f in json.loads(audit.stdout)["findings"]}
    assert findings["PD201"] == findings["PD203"] == "fail"
    assert command("gate", "leaky", "--policy", "research", cwd=place).returncode == 10
    assert command("release", "leaky", "--policy", "internal", "--out", "leaked", cwd=place).returncode == 10
    assert not (place / "leaked").exists()
