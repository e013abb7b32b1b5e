"""What a guest may say, as strict frozen models: everything that comes out of its process is read through these.

Its numbers are finite, its names short, and what may reach a terminal is printable. Messages to the guest are of our
own making and need no such care (`Question`). It does not know who sends or what is done with an answer.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter

__all__ = ["Asking", "Done", "Expected", "Failed", "Floor", "Planned", "Question", "Ready", "Said", "Stage", "Told"]

_MAX_MECHANISMS, _MAX_FACTS = 64, 2**16


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text


def _small(facts: dict[str, JsonValue]) -> dict[str, JsonValue]:
    if len(json.dumps(facts, allow_nan=False)) > _MAX_FACTS:
        raise ValueError("expected a few facts")
    return facts


_Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Words = Annotated[str, Field(max_length=400), AfterValidator(_printable)]
_Positive = Annotated[float, Field(gt=0.0)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


class Ready(_Message):
    """Said before any code of the guest runs: whether the fences stand."""

    kind: Literal["ready"] = "ready"
    files: bool
    sockets: bool


class Told(_Message):
    """The recipe was loaded."""

    kind: Literal["told"] = "told"
    forecasts: bool


class Mechanism(_Message):
    """A planned mechanism."""

    name: _Name
    kind: Literal["gaussian", "sampled-gaussian", "none"]
    share: Annotated[float, Field(gt=0.0, le=1.0)]
    sample_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    steps: Annotated[int, Field(ge=1, le=100_000)]


class Planned(_Message):
    """Every mechanism the guest will ask for."""

    kind: Literal["planned"] = "planned"
    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1, max_length=_MAX_MECHANISMS)]


class Floor(_Message):
    """Its noise floor."""

    kind: Literal["floor"] = "floor"
    records: Annotated[float, Field(ge=0.0)]


class Block(_Message):
    """Forecast of one block."""

    name: _Name
    deviation: _Positive
    cells: Annotated[int, Field(ge=0)] | None
    shared: bool
    cells_a_token: Annotated[int, Field(ge=0)]
    norm: _Positive
    whole: bool


class Expected(_Message):
    """Its forecast."""

    kind: Literal["expected"] = "expected"
    blocks: Annotated[tuple[Block, ...], Field(max_length=_MAX_MECHANISMS)]
    texts: Annotated[int, Field(ge=0)]
    vocabulary_cells: Annotated[int, Field(ge=0)]
    remarks: Annotated[tuple[_Words, ...], Field(max_length=20)]
    classes: Annotated[int, Field(ge=1)] | None = None
    hopeless: _Words | None = None


class Stage(_Message):
    """Progress."""

    kind: Literal["stage"] = "stage"
    stage: Annotated[str, Field(max_length=60, pattern=r"^[a-z0-9 ,.'()-]+$")]
    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]


class Asking(_Message):
    """A request, as `specs` writes it; None stands for a kind that it does not write."""

    kind: Literal["asking"] = "asking"
    request: dict[str, JsonValue] | None


class Done(_Message):
    """The rows; soft labels are the array `soft_labels`."""

    kind: Literal["done"] = "done"
    texts: tuple[str, ...]
    labels: tuple[_Words, ...]
    class_names: tuple[_Words, ...]
    below_noise: tuple[_Words, ...]
    facts: Annotated[dict[str, JsonValue], AfterValidator(_small)]


class Failed(_Message):
    """The guest raised an error: its type and place, nothing of its message."""

    kind: Literal["failed"] = "failed"
    type: Annotated[str, Field(pattern=r"^\w{1,80}$")]
    place: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.<>?-]{1,80}:\d{1,7}$")]


_Anything = Annotated[
    Ready | Told | Planned | Floor | Expected | Stage | Asking | Done | Failed, Field(discriminator="kind")
]
Said: TypeAdapter[Any] = TypeAdapter(_Anything)
"""Reads whatever a guest says."""


class Question(BaseModel):
    """What a guest is told; `about` is what `specs` writes of our own dataclasses."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["mechanisms", "floor", "forecast", "begin", "release"]
    about: dict[str, Any]
