"""A run directory: what lies where, who may read it, and whether the run is complete or dead.

    RUN/run.json                 manifest; its status `complete` is written last
    RUN/private/                 split, split key, traceback: never leaves (files 0600, folders 0700)
    RUN/candidate/data.parquet   the synthetic rows
    RUN/candidate/claim.json     what is claimed of them
    RUN/teacher.safetensors      the classifier that was read off the releases, for `evaluate`; no bundle takes it
    RUN/audit/audit.json         the examiner's report
    RUN/decision.json            the gate's answer

A run is made by one process at a time, which holds a lock on it until it ends, however it ends. A run that was killed
or interrupted may be resumed, as long as it is told nothing else than before. It does not know how any of it is made.
"""

import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privdistill.atomic import write_atomically
from privdistill.config import RunConfig
from privdistill.errors import RunError

__all__ = ["Manifest", "RunDirectory", "canonical_json", "now"]

_RUN_SCHEMA = "privdistill.run/v1"
_SPEC = "spec.sha256"
_LOCK = "lock"


class Manifest(BaseModel):
    """run.json."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    schema_: Literal["privdistill.run/v1"] = Field(default="privdistill.run/v1", alias="schema")
    run_id: str
    created_at: str
    status: Literal["running", "complete", "interrupted", "failed"]
    process: int
    config: RunConfig
    ledger: str
    source_id: str
    resumed: bool = False
    """Whether the run was ever interrupted: then nobody knows how long it stood still."""
    facts: dict[str, Any] = {}
    """Public numbers of the run (noised counts, pool size, seconds)."""


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths of one run."""

    path: Path

    @property
    def private(self) -> Path:
        """What never leaves."""
        return self.path / "private"

    @property
    def data(self) -> Path:
        """Synthetic rows."""
        return self.path / "candidate" / "data.parquet"

    @property
    def claim(self) -> Path:
        """What is claimed."""
        return self.path / "candidate" / "claim.json"

    @property
    def teacher(self) -> Path:
        """The DP teacher, where the recipe has one."""
        return self.path / "teacher.safetensors"

    @property
    def audit(self) -> Path:
        """The examiner's report."""
        return self.path / "audit" / "audit.json"

    @property
    def decision(self) -> Path:
        """The gate's answer."""
        return self.path / "decision.json"

    @classmethod
    def create(cls, path: Path | None, run_id: str) -> "RunDirectory":
        """Make an empty run directory, by default `runs/<run id>`.

        Raises:
            RunError: it is occupied or cannot be written.
        """
        if path is None:
            path = Path("runs") / run_id
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(path.iterdir()):
                raise RunError(f"run directory {path} is not empty; name a new one with --run")
            path.chmod(0o700)
            for name in ("private", "candidate", "audit"):
                (path / name).mkdir(mode=0o700)
        except OSError as error:
            raise RunError(
                f"run directory {path} cannot be written ({error.strerror}); name another with --run"
            ) from None
        return cls(path)

    @classmethod
    def begin(
        cls, path: Path | None, *, config: RunConfig, ledger: str, source_id: str
    ) -> tuple["RunDirectory", Manifest]:
        """Make the directory of a new run and its first manifest (not yet written: see `recording`).

        Raises:
            RunError: the directory is occupied or cannot be written.
        """
        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"  # sorts by time, shared by no other run
        manifest = Manifest(
            run_id=run_id,
            created_at=now(),
            status="running",
            process=os.getpid(),
            config=config,
            ledger=ledger,
            source_id=source_id,
        )
        directory = cls.create(path, run_id)
        write_atomically(directory.private / _SPEC, _digest(config))
        return directory, manifest

    @classmethod
    def resume(
        cls, path: Path | None, *, config: RunConfig, ledger: str, source_id: str
    ) -> tuple["RunDirectory", Manifest]:
        """Find a run that did not complete, and the manifest under which it goes on.

        Raises:
            RunError: there is nothing to resume, or it was begun otherwise.
        """
        if path is None:
            raise RunError("expected the run directory to resume, found none; name the one that generate made")
        run = cls(path)
        manifest = run.manifest()
        if manifest.status == "complete":
            raise RunError(f"run {path} is complete; there is nothing to resume")
        try:
            spec = (run.private / _SPEC).read_bytes()
        except OSError:
            raise RunError(f"run {path} kept nothing to go on from; start a new run with generate") from None
        if (manifest.config, spec) != (config, _digest(config)):
            raise RunError(
                f"run {path} was begun with other settings, or by another version, and is resumed as it was begun or "
                "not at all; start a new run with generate"
            )
        if (manifest.ledger, manifest.source_id) != (ledger, source_id):
            raise RunError(
                f"run {path} is charged to another ledger or source than the one found now; name that one, or start "
                "a new run"
            )
        return run, manifest.model_copy(update={"status": "running", "process": os.getpid(), "resumed": True})

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Open a complete run.

        Raises:
            RunError: there is no run, or it never completed.
        """
        run = cls(path)
        status = run.manifest().status
        if status != "complete":
            said = "did not complete" if status == "running" else f"was {status}"
            raise RunError(
                f"run {path} {said}; what it drew stays charged. Go on with `privdistill generate --resume {path}`, or "
                "start a new run"
            )
        return run

    @property
    def id(self) -> str:
        """Name of the run in claim and ledger."""
        return self.manifest().run_id

    def manifest(self) -> Manifest:
        """Read run.json.

        Raises:
            RunError: it is absent or not a manifest.
        """
        file = self.path / "run.json"
        try:
            return Manifest.model_validate_json(file.read_bytes())
        except OSError:
            raise RunError(f"{self.path} is not a run directory (no run.json); name one made by generate") from None
        except ValidationError:
            raise RunError(
                f"{file} is not a manifest of {_RUN_SCHEMA}; it was edited or written by another version"
            ) from None

    def write_manifest(self, manifest: Manifest) -> None:
        """Replace run.json in one step."""
        write_atomically(self.path / "run.json", manifest.model_dump_json(by_alias=True, indent=2).encode() + b"\n")

    @contextmanager
    def recording(self, manifest: Manifest) -> Iterator[None]:
        """Keep the status true: `running` now, `complete` at the end, `interrupted` or `failed` by an exception.

        A process that is killed leaves `running`, which `open` takes for dead: `complete` is written last.

        Raises:
            RunError: another process is making this run, or has completed it.
        """
        with self._held():
            if (self.path / "run.json").exists() and self.manifest().status == "complete":
                raise RunError(f"run {self.path} is complete; there is nothing to resume")
            for left in self.private.glob(".*.????????"):
                left.unlink()  # half-written by a process that was killed: nobody has read it, and nobody will
            self.write_manifest(manifest)
            try:
                yield
            except BaseException as error:
                status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
                self._end(status)
                raise
            self._end("complete")

    def note(self, facts: Mapping[str, Any]) -> None:
        """Keep public numbers of the run that is being made."""
        self.write_manifest(self.manifest().model_copy(update={"facts": dict(facts)}))

    def has_claim(self, sha256: str | None) -> bool:
        """Whether the claim with this digest lies here whole; it is written after all that it speaks of."""
        if sha256 is None or not self.claim.exists():
            return False
        return hashlib.sha256(self.claim.read_bytes()).hexdigest() == sha256

    def _end(self, status: str) -> None:
        self.write_manifest(self.manifest().model_copy(update={"status": status}))

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the run; the operating system lets go of it when this process ends."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.private / _LOCK, timeout=0, mode=0o600)
        try:
            lock.acquire()
        except Timeout:
            raise RunError(f"run {self.path} is being made by another process right now; wait for it to end") from None
        try:
            yield
        finally:
            lock.release()


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _digest(config: RunConfig) -> bytes:
    """What the run was told, and by which version, in one line."""
    told = {"version": version("privdistill"), "config": config.model_dump(mode="json")}
    return hashlib.sha256(canonical_json(told)).hexdigest().encode() + b"\n"


def canonical_json(value: object) -> bytes:
    """Sorted, indented, newline-terminated JSON without NaN."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"
