"""`doctor` says what is there, and that something is missing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.models import assets


def test_an_empty_cache_is_not_ready(cli: Callable, in_folder: Path) -> None:
    ended = cli("doctor")
    assert ended.code == 3
    assert "absent     language-model" in ended.out
    assert "NOT READY" in ended.out
    assert "passthrough (privdistill, copies records: no protection)" in ended.out
    assert "doctor --fetch" in ended.err


def test_json_is_one_document_and_hints_stay_on_stderr(cli: Callable, in_folder: Path) -> None:
    ended = cli("doctor", "--json")
    facts = json.loads(ended.out)
    assert facts["ready"] is False
    assert {entry["name"]: entry["state"] for entry in facts["assets"]} == dict.fromkeys(assets.ASSETS, "absent")
    assert facts["offline"] is True


def test_quiet_has_no_hint(cli: Callable, in_folder: Path) -> None:
    assert cli("doctor", "-q").err == ""


def test_fetching_is_refused_offline(cli: Callable, in_folder: Path) -> None:
    ended = cli("doctor", "--fetch")
    assert ended.code == 2
    assert "PRIVDISTILL_OFFLINE" in ended.err


@pytest.mark.network
def test_fetch_makes_the_machine_ready(cli: Callable, in_folder: Path) -> None:
    ended = cli("doctor", "--fetch", "--rehash")
    assert ended.code == 0
    assert "READY" in ended.out
    assert cli("doctor").code == 0
