"""The guest's side of the conversation: loads the plug-in, asks it what the run asks, and carries its answers.

It runs behind the fences. It has the task, public models and releases, and it does not know the corpus, the ledger or
where either lies. It judges nothing that a plug-in says: the reader does, who trusts neither of them.
"""

import re
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
from pydantic_core import to_json

from privdistill.config import Performance
from privdistill.mechanisms.release import Release
from privdistill.models.loading import Located, load_located
from privdistill.recipes.base import Context, Recipe, Rows, Task
from privdistill.recipes.guest.channel import Arrays, Channel
from privdistill.recipes.guest.messages import Question
from privdistill.recipes.guest.specs import REQUESTS, SpecError, read_spec, write_spec

__all__ = ["serve"]


def serve(channel: Channel, module: str, attribute: str) -> None:
    """Load the plug-in and answer until the channel closes or it fails."""
    try:
        try:
            recipe = EntryPoint(module, f"{module}:{attribute}", "privdistill.recipes").load()()
            if not isinstance(recipe, Recipe):
                raise TypeError("not a recipe")
            channel.send(_said("told", forecasts=callable(getattr(recipe, "forecast", None))))
            while True:
                _answer(channel, recipe, *channel.receive())
        except EOFError:
            return
        except Exception as error:  # whatever a plug-in raises ends here; the run is told its type and place
            channel.send(_failure(error))
    except BrokenPipeError:
        return


def _answer(channel: Channel, recipe: Any, text: bytes, arrays: Arrays) -> None:
    question = Question.model_validate_json(text)
    about = question.about
    task = read_spec(Task, about["task"], arrays) if "task" in about else None
    match question.kind:
        case "mechanisms":
            channel.send(_said("planned", mechanisms=[asdict(mechanism) for mechanism in recipe.mechanisms(task)]))
        case "floor":
            channel.send(_said("floor", records=recipe.noise_floor(task, about["noise_multipliers"])))
        case "forecast":
            channel.send(_said("expected", **asdict(recipe.forecast(task, about["noise_multipliers"]))))
        case "begin" if task is not None:
            channel.send(*_made(_run(channel, recipe.run(_context(channel, task, about, arrays)))))
        case _:
            raise ValueError(f"nobody asked for a {question.kind}")


def _context(channel: Channel, task: Task, about: Mapping[str, Any], arrays: Arrays) -> Context:
    located = read_spec(Located, about["located"], arrays)
    performance = Performance.model_validate(about["performance"])
    encoder, language_model = load_located(located, performance)

    def progress(stage: str, done: int, total: int) -> None:
        channel.send(_said("stage", stage=stage, done=done, total=total))

    noise = about["noise_multipliers"]
    return Context(task, noise, encoder, language_model, performance, np.random.default_rng(), progress, located)


def _run(channel: Channel, steps: Any) -> Rows:
    release: Release | None = None
    while True:
        try:
            request = steps.send(release)
        except StopIteration as end:
            if not isinstance(end.value, Rows):
                raise TypeError("expected Rows") from None
            return end.value
        channel.send(*_asked(request))
        text, arrays = channel.receive()
        release = read_spec(Release, Question.model_validate_json(text).about, arrays)


def _asked(request: object) -> tuple[bytes, Arrays]:
    arrays: dict[str, np.ndarray] = {}
    try:
        if not isinstance(request, REQUESTS):
            raise SpecError
        return _said("asking", request=write_spec(request, arrays)), arrays
    except SpecError:
        return _said("asking", request=None), {}


def _made(rows: Rows) -> tuple[bytes, Arrays]:
    soft = {} if rows.soft_labels is None else {"soft_labels": np.asarray(rows.soft_labels, dtype=np.float64)}
    names = ("texts", "labels", "class_names", "below_noise")
    lists: dict[str, Iterable[object]] = {name: list(getattr(rows, name)) for name in names}
    return _said("done", **lists, facts=dict(rows.facts)), soft


def _said(kind: str, **message: object) -> bytes:
    return to_json({"kind": kind, **message}, fallback=_plain)


def _plain(value: object) -> object:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot be sent")


def _failure(error: Exception) -> bytes:
    frames = traceback.extract_tb(error.__traceback__)
    file, line = (Path(frames[-1].filename).name, frames[-1].lineno or 0) if frames else ("nowhere", 0)
    return _said("failed", type=type(error).__name__, place=f"{re.sub(r'[^A-Za-z0-9_.<>-]', '?', file)[:80]}:{line}")
