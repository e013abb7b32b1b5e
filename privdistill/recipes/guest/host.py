"""A guest as a recipe: the run's side of the conversation, which believes nothing that it hears.

Each answer is read through a strict model; mechanisms, requests and rows are held to what a recipe may do. Any answer
that breaks the contract ends the guest's process and the run; what was drawn stays charged. It does not know the
corpus.
"""

from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from audits.findings import PlugIn
from privdistill.errors import RecipeError
from privdistill.mechanisms.release import MechanismRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task
from privdistill.recipes.forecast import BlockForecast, Forecast
from privdistill.recipes.guest.channel import Arrays, ChannelError
from privdistill.recipes.guest.messages import (
    Asking,
    Done,
    Expected,
    Failed,
    Floor,
    Planned,
    Question,
    Ready,
    Said,
    Stage,
    Told,
)
from privdistill.recipes.guest.process import GuestProcess
from privdistill.recipes.guest.specs import REQUESTS, SpecError, read_spec, write_spec

__all__ = ["GuestRecipe", "invite"]

_RESERVED = "labels"
"""The plan's own name, for the label threshold."""
_MAX_STAGES = 20
_Answer = TypeVar("_Answer", bound=BaseModel)


class GuestRecipe:
    """A recipe of another package, in a process of its own.

    Planning and running are two processes: nothing that a guest remembers of the first is there in the second.
    """

    def __init__(self, entry: EntryPoint) -> None:
        """Start it for planning.

        Raises:
            RecipeError: it does not start, or is no recipe.
        """
        self.name = entry.name
        self._entry = entry
        self.package = _plain(entry.dist.name if entry.dist else "unknown")
        self.version = _plain(entry.dist.version if entry.dist else "unknown")
        self._start(())

    @property
    def plug_in(self) -> PlugIn:
        """Who wrote it and what held it, for the claim."""
        return PlugIn(
            package=self.package,
            version=self.version,
            file_fence="landlock" if self._fences.files else "none",
            socket_fence="seccomp" if self._fences.sockets else "none",
        )

    @property
    def sentence(self) -> str:
        """Who wrote it and what holds it, in words."""
        held = self.plug_in
        return (
            f"of package {held.package} {held.version}, in a process of its own "
            f"(file fence: {held.file_fence}, socket fence: {held.socket_fence})"
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not hold it on this machine."""
        held, found = self.plug_in, []
        if held.file_fence == "none":
            found.append(f"this kernel has no Landlock, so recipe {self.name!r} can open every file that you can")
        if held.socket_fence == "none":
            found.append(f"sockets cannot be refused on this machine, so recipe {self.name!r} can use the network")
        return tuple(found)

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """What it says that it will ask for; never a disclosure."""
        found = self._ask("mechanisms", Planned, task=task).mechanisms
        names = [mechanism.name for mechanism in found]
        if any(mechanism.kind == "none" for mechanism in found):
            self._refuse("plans to be handed records as they are, which no recipe of another package is")
        if len(set(names)) != len(names) or _RESERVED in names:
            self._refuse(f"plans two mechanisms of one name, or one that is called {_RESERVED!r}")
        if any(m.kind == "gaussian" and (m.sample_rate, m.steps) != (1.0, 1) for m in found):
            self._refuse("plans a gaussian mechanism of several steps; sampled-gaussian is the kind that has them")
        if any(m.kind == "sampled-gaussian" and m.sample_rate == 1.0 for m in found):
            self._refuse("plans a sampled-gaussian mechanism without sampling; its sample rate must be below 1")
        return tuple(PlannedMechanism(m.name, m.kind, m.share, m.sample_rate, m.steps) for m in found)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """What it says."""
        return self._ask("floor", Floor, task=task, noise_multipliers=dict(noise_multipliers)).records

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast | None:
        """What it expects, if it can say."""
        if not self._forecasts:
            return None
        said = self._ask("forecast", Expected, task=task, noise_multipliers=dict(noise_multipliers))
        blocks = tuple(BlockForecast(**b.model_dump()) for b in said.blocks)
        return Forecast(
            blocks, said.texts, said.vocabulary_cells, said.remarks, classes=said.classes, hopeless=said.hopeless
        )

    def run(self, context: Context) -> RecipeRun:
        """Pass requests on and releases back; its process ends with the run."""
        if context.located is None:
            self._refuse("needs models that lie in files, and none are known")
        where = context.located
        self.close()
        self._start((where.encoder, where.language_model))
        try:
            return (yield from self._converse(context))
        finally:
            self.close()

    def close(self) -> None:
        """End its process."""
        self._process.end()

    def _converse(self, context: Context) -> RecipeRun:
        self._tell(
            "begin",
            task=context.task,
            noise_multipliers=dict(context.noise_multipliers),
            located=context.located,
            performance=context.performance.model_dump(),
        )
        planned = set(context.noise_multipliers) - {_RESERVED}
        left, stages = set(planned), set[str]()
        while True:
            said, arrays = self._hear()
            match said:
                case Stage():
                    stages.add(said.stage)
                    if len(stages) <= _MAX_STAGES:
                        context.progress(said.stage, said.done, said.total)
                case Asking():
                    request = self._request(said, arrays)
                    if request.name not in left:
                        why = "a second time" if request.name in planned else "outside its plan"
                        self._refuse(f"asked for a mechanism {why}; each planned mechanism is drawn once")
                    left.discard(request.name)
                    release = yield request
                    self._tell("release", release=release)
                case Done() if left:
                    self._refuse("returned rows without asking for every mechanism of its plan")
                case Done():
                    return self._rows(said, arrays, context.task)
                case _:
                    self._refuse("said something that nobody had asked for")

    def _request(self, said: Asking, arrays: Arrays) -> MechanismRequest:
        allowed = {kind.__name__: kind for kind in REQUESTS}
        if said.request is None or said.request.get("spec") not in allowed:
            self._refuse(
                f"asked for something other than {' or '.join(allowed)}; all other kinds are for built-in recipes"
            )
        try:
            request: MechanismRequest = read_spec(allowed[str(said.request["spec"])], said.request, arrays)
        except SpecError as error:
            self._refuse(f"sent a request that cannot be read (at {error})")
        return request

    def _rows(self, said: Done, arrays: Arrays, task: Task) -> Rows:
        if not len(said.texts) == len(said.labels) == task.rows:
            self._refuse(
                f"returned {len(said.texts)} texts and {len(said.labels)} labels, expected {task.rows} of each"
            )
        names = set(said.class_names)
        if len(names) != len(said.class_names) or not set(said.below_noise) <= names:
            self._refuse("returned class names that repeat, or notices about others")
        if task.labelled and task.labels is not None and not (names | set(said.labels)) <= set(task.labels):
            self._refuse("returned labels that are not in the label list")
        if set(arrays) - {"soft_labels"}:
            self._refuse("returned arrays that have no meaning")
        soft = arrays.get("soft_labels")
        if soft is not None and not _probabilities(soft, (task.rows, len(said.class_names))):
            self._refuse("returned soft labels that are not one probability a row and class")
        return Rows(said.texts, said.labels, soft, said.class_names, said.below_noise, dict(said.facts))

    def _start(self, models: tuple[Path, ...]) -> None:
        self._process = GuestProcess(self._entry, models)
        self._fences = self._expect(Ready)
        self._forecasts = self._expect(Told).forecasts

    def _ask(self, kind: str, answer: type[_Answer], **about: object) -> _Answer:
        self._tell(kind, **about)
        return self._expect(answer)

    def _tell(self, kind: Any, **about: object) -> None:
        arrays: dict[str, np.ndarray] = {}
        written = {name: write_spec(value, arrays) for name, value in about.items()}
        question = Question(kind=kind, about=written["release"] if kind == "release" else written)
        try:
            self._process.channel.send(question.model_dump_json().encode(), arrays)
        except (OSError, ValueError):
            self._gone()

    def _expect(self, answer: type[_Answer]) -> _Answer:
        said, _ = self._hear()
        if not isinstance(said, answer):
            self._refuse("said something that nobody had asked for")
        return said

    def _hear(self) -> tuple[Any, Arrays]:
        try:
            text, arrays = self._process.channel.receive()
            said = Said.validate_json(text)
        except EOFError:
            self._gone()
        except ChannelError as error:
            self._refuse(f"broke the channel: {error}")
        except ValidationError as error:
            first = error.errors(include_input=False, include_context=False, include_url=False)[0]
            self._refuse(f"sent a message that cannot be read ({first['type']} in a message of {len(text)} bytes)")
        except (OSError, ValueError):
            self._gone()
        if isinstance(said, Failed):
            self._refuse(f"failed: {said.type} at {said.place}")
        return said, arrays

    def _gone(self) -> NoReturn:
        code = self._process.exit_code()
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self._refuse(f"{how} before it had answered")

    def _refuse(self, what: str) -> NoReturn:
        self.close()
        raise RecipeError(
            f"recipe {self.name!r} of package {self.package} {self.version} {what}; nothing is written and what was "
            f"drawn stays charged. Tell its author, or name another --recipe"
        )


def invite(entry: EntryPoint) -> GuestRecipe:
    """Start the recipe of an entry point in a process of its own.

    Raises:
        RecipeError: it does not start, or is no recipe.
    """
    return GuestRecipe(entry)


def _probabilities(array: np.ndarray, shape: tuple[int, int]) -> bool:
    return (
        array.dtype == np.float64
        and array.shape == shape
        and bool(np.isfinite(array).all() and (array >= 0).all() and (abs(array.sum(axis=1) - 1) < 1e-3).all())
    )


def _plain(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "._+-") else "?" for c in name)[:80]
