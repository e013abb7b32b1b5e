"""Verification finds every flipped byte, and whatever no longer follows when somebody mends the checksums too."""

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audits.findings import Claim
from privdistill.accounting.accountant import Event as AccountingEvent
from privdistill.accounting.accountant import second_opinion
from privdistill.bundle import Verification, assemble, layout, verify
from privdistill.bundle.rederive import epsilon_problems
from privdistill.errors import RunError
from privdistill.report import render_verification
from tests.conftest import ROOT
from tests.privdistill.bundle.conftest import build_run


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("original")
    return assemble(build_run(folder / "run").candidate(), folder / "bundle")


@pytest.fixture
def bundle(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "bundle"))


def failed(verification: Verification) -> set[str]:
    return {item.name for item in verification.of("failed")}


def mend(bundle: Path) -> None:
    """What a forger with sha256sum does last."""
    files = {name: (bundle / name).read_bytes() for name in layout.FILES}
    (bundle / layout.SUMS).write_text(layout.sums_text(files))


def change(bundle: Path, name: str, edit: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((bundle / name).read_text())
    edit(document)
    (bundle / name).write_text(json.dumps(document, indent=2) + "\n")
    mend(bundle)


def test_an_untouched_bundle_verifies_and_says_what_it_could_not_check(bundle: Path) -> None:
    verification = verify(bundle)
    assert verification.ok
    assert verification.exit_code == 0
    unchecked = " ".join(item.sentence for item in verification.of("not-checked"))
    for word in ("salted commitment", "ledger", "signature", "ledger-charges", "core-checks", "code version"):
        assert word in unchecked
    assert Verification.model_validate_json(verification.to_json()) == verification
    assert render_verification(verification).startswith("VERIFIED  bundle bundle\n")
    assert str(bundle.parent) not in verification.to_json()


# -- bytes


@pytest.mark.parametrize("name", layout.FILES)
def test_any_flipped_byte_is_found(original: Path, bundle: Path, name: str) -> None:
    path = bundle / name
    content = (original / name).read_bytes()
    draw = random.Random(name)
    places = {0, len(content) - 1, *(draw.randrange(len(content)) for _ in range(8))}
    for place in places:
        flipped = bytearray(content)
        flipped[place] ^= 1 << draw.randrange(8)
        path.write_bytes(bytes(flipped))
        verification = verify(bundle)
        assert not verification.ok, (name, place)
        assert verification.exit_code == 10
    path.write_bytes(content)
    assert verify(bundle).ok


@pytest.mark.parametrize("name", layout.FILES)
@pytest.mark.parametrize("how", ["truncated", "grown", "emptied", "removed"])
def test_any_other_damage_is_found(bundle: Path, name: str, how: str) -> None:
    path = bundle / name
    content = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes({"truncated": content[:-1], "grown": content + b"\n", "emptied": b""}[how])
    assert not verify(bundle).ok


@settings(max_examples=30)
@given(st.binary(max_size=200), st.sampled_from([name for name in layout.FILES if name != layout.SUMS]))
def test_garbage_with_mended_checksums_is_refused_without_a_traceback(
    original: Path, tmp_path_factory: pytest.TempPathFactory, garbage: bytes, name: str
) -> None:
    bundle = Path(shutil.copytree(original, tmp_path_factory.mktemp("garbage") / "bundle"))
    (bundle / name).write_bytes(garbage)
    mend(bundle)
    assert not verify(bundle).ok
    shutil.rmtree(bundle.parent)


# -- layout


def test_an_extra_file_is_found(bundle: Path) -> None:
    for name in ("notes.txt", "data/more.parquet", ".hidden", "extra/file"):
        path = bundle / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        assert failed(verify(bundle)) == {"layout"}
        path.unlink()
        if name == "extra/file":
            path.parent.rmdir()
    assert verify(bundle).ok


def test_links_are_never_followed(bundle: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes((bundle / layout.CARD).read_bytes())
    (bundle / layout.CARD).unlink()
    (bundle / layout.CARD).symlink_to(outside)
    assert failed(verify(bundle)) == {"layout"}


def test_a_linked_data_folder_is_not_followed(bundle: Path, tmp_path: Path) -> None:
    shutil.move(bundle / "data", tmp_path / "data")
    (bundle / "data").symlink_to(tmp_path / "data")
    assert failed(verify(bundle)) == {"layout"}


def test_names_of_strangers_cannot_act(bundle: Path) -> None:
    (bundle / "\x1b[2J\nVERIFIED").write_text("x")
    text = render_verification(verify(bundle))
    assert text.startswith("NOT VERIFIED")
    assert "\x1b" not in text
    assert "\nVERIFIED" not in text


def test_what_is_not_a_file_is_never_opened(bundle: Path) -> None:
    (bundle / layout.CARD).unlink()
    os.mkfifo(bundle / layout.CARD)
    assert failed(verify(bundle)) == {"layout"}
    (bundle / layout.CARD).unlink()
    (bundle / layout.CARD).mkdir()
    assert failed(verify(bundle)) == {"layout"}


def test_a_folder_that_cannot_be_listed_is_said_so(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", refuse)
    assert failed(verify(bundle)) == {"layout"}


def test_a_second_value_for_a_key_is_found(bundle: Path) -> None:
    for name in (layout.CLAIM, layout.DECISION, layout.AUDIT, layout.PROVENANCE, layout.PRIVACY_JSON):
        content = (bundle / name).read_text()
        (bundle / name).write_text(content.replace("{", '{"run_id": "SECRET",', 1))
        mend(bundle)
        assert not verify(bundle).ok
        assert "SECRET" not in verify(bundle).to_json()
        (bundle / name).write_text(content)
        mend(bundle)
    assert verify(bundle).ok


def test_no_folder_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("absent", "file"):
        with pytest.raises(RunError):
            verify(tmp_path / name)


def test_a_folder_that_is_something_else_is_a_usage_error(bundle: Path, tmp_path: Path) -> None:
    """CI can tell a mistyped path from a bundle that is damaged, or lacks its sums or its claim."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(RunError, match="a folder without a bundle"):
        verify(tmp_path / "empty")
    (tmp_path / "some").mkdir()
    for name in ("run.json", "decision.json"):
        (tmp_path / "some" / name).write_text("{}")
    with pytest.raises(RunError, match=r"found a run, not a bundle.*privdistill release makes one"):
        verify(tmp_path / "some")
    for name in (layout.SUMS, layout.CLAIM):
        content = (bundle / name).read_bytes()
        (bundle / name).unlink()
        assert failed(verify(bundle)) == {"layout"}
        (bundle / name).write_bytes(content)


# -- forgeries with mended checksums


def relabel(document: dict[str, Any], **changes: object) -> None:
    document.update(changes)


FORGERIES: list[tuple[str, str, Callable[[dict[str, Any]], object]]] = [
    ("epsilon understated", layout.CLAIM, lambda d: relabel(d, epsilon=1.0)),
    ("other rows promised", layout.CLAIM, lambda d: relabel(d, rows=2000)),
    ("mechanism dropped", layout.CLAIM, lambda d: relabel(d, mechanisms=[])),
    ("noise overstated", layout.CLAIM, lambda d: d["mechanisms"][0].update(noise_multiplier=5.0)),
    ("claim of nothing", layout.CLAIM, lambda d: relabel(d, epsilon=None)),
    ("private note", layout.CLAIM, lambda d: relabel(d, note="x")),
    ("verdict", layout.DECISION, lambda d: relabel(d, verdict="deny")),
    ("internal view", layout.DECISION, lambda d: relabel(d, view="internal")),
    ("other policy", layout.DECISION, lambda d: d["policy"].update(name="public")),
    ("other run", layout.DECISION, lambda d: relabel(d, run_id="other")),
    ("other claim", layout.DECISION, lambda d: d["digests"].update(claim="0" * 64)),
    ("rule dropped", layout.DECISION, lambda d: d["rules"].pop()),
    ("rule demoted", layout.DECISION, lambda d: d["rules"][7].update(level="advisory")),
    ("rule turned", layout.DECISION, lambda d: d["rules"][7].update(status="violated")),
    ("rule waived", layout.DECISION, lambda d: relabel(d, waived=["power"])),
    ("number shown", layout.DECISION, lambda d: next(r for r in d["rules"] if r["id"] == "power").update(value=0.1)),
    ("smuggled field", layout.DECISION, lambda d: d["digests"].update(secret="x")),
    ("smuggled blank", layout.DECISION, lambda d: d["rules"][6].update(finding="epsilon 8 at delta  1e-06")),
    ("commitment", layout.DECISION, lambda d: relabel(d, audit_commitment="0" * 64)),
    ("check turned", layout.AUDIT, lambda d: d["checks"][0].update(outcome="violated")),
    ("check dropped", layout.AUDIT, lambda d: d["checks"].pop()),
    ("other rows audited", layout.AUDIT, lambda d: relabel(d, data_sha256="0" * 64)),
    ("audit commitment", layout.AUDIT, lambda d: relabel(d, commitment="0" * 64)),
    ("statement", layout.PRIVACY_JSON, lambda d: d["guarantee"].update(epsilon=0.1)),
    ("statement, attack", layout.PRIVACY_JSON, lambda d: d["guarantee"].update(mu=0.1)),
    ("statement, rows", layout.PRIVACY_JSON, lambda d: relabel(d, rows=5)),
    ("provenance", layout.PROVENANCE, lambda d: relabel(d, recipe="other")),
    ("path", layout.PROVENANCE, lambda d: d["packages"].update(secret="/home/ada/thing")),
]


@pytest.mark.parametrize(("name", "edit"), [f[1:] for f in FORGERIES], ids=[f[0] for f in FORGERIES])
def test_a_forgery_with_mended_checksums_is_found(
    bundle: Path, name: str, edit: Callable[[dict[str, Any]], object]
) -> None:
    change(bundle, name, edit)
    found = failed(verify(bundle))
    assert found
    assert not found & {"layout", "checksums"}


def test_a_softened_policy_is_found(bundle: Path) -> None:
    path = bundle / layout.POLICY
    path.write_text(path.read_text().replace("detectable: 0.05", "detectable: 0.5"))
    mend(bundle)
    assert "decision" in failed(verify(bundle))


def test_exchanged_rows_are_found(bundle: Path) -> None:
    table = pq.read_table(bundle / layout.DATA)
    rows = table.to_pylist()
    rows[0]["text"] = "another text"
    pq.write_table(pa.Table.from_pylist(rows, table.schema), bundle / layout.DATA)
    mend(bundle)
    assert {"rows", "decision", "documents"} <= failed(verify(bundle))


@pytest.mark.parametrize("name", [layout.PRIVACY, layout.CARD])
def test_an_edited_document_is_found(bundle: Path, name: str) -> None:
    path = bundle / name
    path.write_text(path.read_text().replace("epsilon", "epsi1on", 1))
    mend(bundle)
    assert failed(verify(bundle)) == {"documents"}


def test_prose_of_another_version_is_left_to_the_reader(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["privdistill.bundle.verify"], "_own_version", lambda: "9.9.9")
    verification = verify(bundle)
    assert verification.ok
    assert "0.1.0" in " ".join(item.sentence for item in verification.of("not-checked"))


def test_a_consistent_forgery_still_needs_its_mechanisms_to_add_up(bundle: Path) -> None:
    """Claim, decision and checksums all rewritten: epsilon is derived from the noise, and does not follow."""
    change(bundle, layout.CLAIM, lambda d: relabel(d, epsilon=2.0))
    claim = layout.sha256((bundle / layout.CLAIM).read_bytes())
    change(bundle, layout.DECISION, lambda d: d["digests"].update(claim=claim))
    change(bundle, layout.AUDIT, lambda d: relabel(d, claim_sha256=claim))
    change(bundle, layout.PROVENANCE, lambda d: relabel(d, claim_sha256=claim))
    assert "epsilon" in failed(verify(bundle))


# -- accounting of other mechanisms


def sampled(original: Path, epsilon: float) -> Claim:
    claim = Claim.model_validate_json((original / layout.CLAIM).read_bytes())
    mechanism = claim.mechanisms[0].model_copy(
        update={
            "kind": "sampled-gaussian",
            "sampler": "poisson",
            "sample_rate": 0.02,
            "steps": 200,
            "noise_multiplier": 1.0,
            "noise": "float-gaussian",
            "noise_grid_steps": None,
            "delta_discretisation": 0.0,
        }
    )
    return claim.model_copy(update={"mechanisms": (mechanism,), "epsilon": epsilon, "mu": None, "privacy_profile": ()})


def test_sampled_mechanisms_are_composed_too(original: Path) -> None:
    claim = Claim.model_validate_json((original / layout.CLAIM).read_bytes())
    assert claim.delta_parts is not None
    epsilon = second_opinion([AccountingEvent(1.0, 0.02, 200)], claim.delta_parts.composition).epsilon
    assert epsilon_problems(sampled(original, epsilon)) == ()
    assert epsilon_problems(sampled(original, epsilon * 0.99)) != ()
    point = claim.privacy_profile[0].model_copy(update={"epsilon": 0.5, "delta": 1e-9})
    lying = sampled(original, epsilon).model_copy(update={"privacy_profile": (point,)})
    assert "profile" in epsilon_problems(lying)[0]


def test_a_grid_that_books_too_little_delta_is_found(original: Path) -> None:
    claim = Claim.model_validate_json((original / layout.CLAIM).read_bytes())
    thin = claim.mechanisms[0].model_copy(update={"delta_discretisation": 0.0})
    assert "integer grid" in epsilon_problems(claim.model_copy(update={"mechanisms": (thin,)}))[0]
    for fault in ({"noise_grid_steps": 2.0}, {"noise_grid_steps": None}, {"dimension": 0}):
        unbooked = claim.mechanisms[0].model_copy(update={**fault, "delta_discretisation": 0.0})
        assert "no grid fine enough" in epsilon_problems(claim.model_copy(update={"mechanisms": (unbooked,)}))[0]
    noiseless = claim.mechanisms[0].model_copy(update={"kind": "none"})
    assert epsilon_problems(claim.model_copy(update={"mechanisms": (noiseless,)})) == ("a mechanism added no noise",)


# -- offline, light, quick


def test_verifying_needs_neither_torch_nor_network(original: Path) -> None:
    code = (
        "import sys, socket; socket.socket.connect = None; from pathlib import Path;"
        "from privdistill.bundle import verify;"
        "assert verify(Path(sys.argv[1])).ok; print([m for m in ('torch', 'opacus', 'datasets') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(original)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
