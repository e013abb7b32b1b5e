"""What comes out of a guest's process is bytes of a stranger: whatever they are, they end in a sentence or a spec."""

import io
import json
import struct
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.errors import RecipeError
from privdistill.mechanisms.release import (
    CountBlock,
    DisclosureRequest,
    ExpertRequest,
    FinetuneRequest,
    MechanismRecord,
    Release,
    StatisticRequest,
)
from privdistill.recipes.guest.channel import MAX_BYTES, Channel, ChannelError
from privdistill.recipes.guest.host import GuestRecipe
from privdistill.recipes.guest.specs import REQUESTS, SpecError, read_spec, write_spec
from tests.privdistill.mechanisms.test_soundness import BLOCKS, EXPERT, of

PICKLE = b"\x80\x04cbuiltins\nprint\n."
RECORD = MechanismRecord("m", "gaussian", 1.0, 1.0, 1, 1.0, {"a": 1.0}, "full-batch", "discrete-gaussian", 1, 2.0, 0, 0)


def frame(text: bytes, packed: bytes = b"") -> bytes:
    return struct.pack(">QQ", len(text), len(packed)) + text + packed


def guest(*frames: bytes, code: int = 1) -> GuestRecipe:
    """A guest whose process has said just this, and ended."""
    made = GuestRecipe.__new__(GuestRecipe)
    made.name, made.package, made.version = "acme", "acme", "1"
    made._entry = EntryPoint("acme", "acme:Recipe", "privdistill.recipes")
    channel = Channel(io.BytesIO(b"".join(frames)), io.BytesIO())
    made._process = SimpleNamespace(channel=channel, end=lambda: None, exit_code=lambda: code)
    return made


def same(one: object, other: object) -> bool:
    """Equal, arrays included."""
    arrays: tuple[dict[str, np.ndarray], dict[str, np.ndarray]] = {}, {}
    first, second = write_spec(one, arrays[0]), write_spec(other, arrays[1])
    return first == second and all(np.array_equal(arrays[0][name], arrays[1][name]) for name in arrays[0])


@pytest.mark.parametrize(
    "value", [of(*BLOCKS), of(BLOCKS[0]), EXPERT, Release({"count": np.ones(2)}, {}, RECORD, ("a",))]
)
def test_specs_cross_the_channel_unchanged(value: object) -> None:
    pipe = io.BytesIO()
    arrays: dict[str, np.ndarray] = {}
    Channel(pipe, pipe).send(json.dumps(write_spec(value, arrays)).encode(), arrays)
    pipe.seek(0)
    text, received = Channel(pipe, pipe).receive()
    found = read_spec(type(value), json.loads(text), received)
    assert type(found) is type(value)
    assert same(found, value)


def test_records_and_live_models_have_no_spec() -> None:
    assert set(REQUESTS) == {StatisticRequest, ExpertRequest}
    for request in (DisclosureRequest("d", 5), FinetuneRequest.__new__(FinetuneRequest)):
        with pytest.raises(SpecError):
            write_spec(request, {})


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_refused(data: bytes) -> None:
    channel = Channel(io.BytesIO(data), io.BytesIO())
    with pytest.raises((EOFError, ChannelError)):
        [channel.receive() for _ in range(len(data) + 1)]


@given(st.binary(max_size=300))
def test_any_message_ends_in_one_sentence(text: bytes) -> None:
    with pytest.raises(RecipeError, match="recipe 'acme' of package acme 1 "):
        guest(frame(text))._hear()


def changed(**fields: object) -> dict[str, object]:
    """A request for counts, with other fields."""
    return {**write_spec(of(CountBlock(1.0)), {}), **fields}


REQUEST = {
    "a kind that is none": {"spec": "Path"},
    "a kind for built-in recipes": {"spec": "DisclosureRequest", "name": "all", "rows": 5},
    "a release": {"spec": "Release"},
    "a field too many": changed(seed=0),
    "a field too few": {"spec": "StatisticRequest", "name": "s"},
    "a block that is a rule": changed(blocks=[changed()["classes"]]),
    "a bare block": changed(blocks=[{"spec": "Block", "scale": 1.0}]),
    "a scale that is a word": changed(blocks=[{"spec": "CountBlock", "scale": "1"}]),
    "a scale that is true": changed(blocks=[{"spec": "CountBlock", "scale": True}]),
    "a scale beyond numbers": changed(blocks=[{"spec": "CountBlock", "scale": 10**400}]),
    "a name that is a list": changed(name=[]),
    "an array that was not sent": changed(classes={"spec": "ClassRule", "names": ["a"], "centres": {"array": "a9"}}),
    "no request": None,
}


@pytest.mark.parametrize("what", REQUEST)
def test_a_request_that_is_none_is_refused(what: str) -> None:
    said = frame(json.dumps({"kind": "asking", "request": REQUEST[what]}).encode())
    made = guest(said)
    with pytest.raises(RecipeError, match=r"cannot be read|for built-in recipes|no meaning|broke"):
        made._request(*made._hear())


MESSAGES = {
    "longer than it may be": struct.pack(">QQ", MAX_BYTES + 1, 0),
    "more arrays than there may be": struct.pack(">QQ", 2, MAX_BYTES + 1) + b"{}",
    "broken off": frame(b'{"kind": "told", "forecasts": true}')[:-3],
    "a pickle": frame(PICKLE),
    "a pickle for arrays": frame(b"{}", PICKLE),
    "arrays of another type": frame(
        b"{}", struct.pack("<Q", 56) + b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}}  ' + b"\0\0"
    ),
    "arrays that claim more than they are": frame(
        b"{}", struct.pack("<Q", 64) + b'{"a":{"dtype":"F64","shape":[99999999999],"data_offsets":[0,8]}}' + b"\0" * 8
    ),
    "deeper than one can read": frame(b'{"kind": "asking", "request": {"a": ' + b"[" * 10**6 + b"]" * 10**6 + b"}}"),
    "two kinds": frame(b'{"kind": "told", "forecasts": true, "rows": []}'),
    "a progress that paints": frame(json.dumps({"kind": "stage", "stage": "\x1b[2J", "done": 0, "total": 1}).encode()),
    "a place that is a text": frame(json.dumps({"kind": "failed", "type": "E", "place": "the patient said"}).encode()),
    "nothing": b"",
}


@pytest.mark.parametrize("what", MESSAGES)
def test_a_crafted_message_is_refused(what: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe 'acme' of package acme 1 (broke|sent|ended)") as refused:
        guest(MESSAGES[what])._hear()
    assert "patient" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_an_answer_to_another_question_is_refused() -> None:
    from privdistill.recipes.guest.messages import Floor, Told

    with pytest.raises(RecipeError, match="nobody had asked for"):
        guest(frame(b'{"kind": "told", "forecasts": true}'))._expect(Floor)
    assert guest(frame(b'{"kind": "told", "forecasts": true}'))._expect(Told).forecasts
