"""A run is released once, and under the policy that it was decided by.

    refuse_edited_policy(decision, loaded)     the policy of that name was another when the gate decided
    refuse_released(record)                    the run has left before
    recorded(record, sums_sha256, decision)    writes down that it leaves, before it does

The record exists before the bundle does: a crash in between leaves a run that is refused, never one that leaves twice.
It does not know what a bundle holds.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from privdistill.errors import RefusedError, RunError
from privdistill.policy.decision import Decision
from privdistill.policy.load import LoadedPolicy

__all__ = ["RELEASE_SCHEMA", "recorded", "refuse_edited_policy", "refuse_released"]

RELEASE_SCHEMA = "privdistill.release/v1"


def refuse_edited_policy(decision: Path, loaded: LoadedPolicy) -> None:
    """Refuse a policy that was edited since the gate decided under it; without an earlier decision nothing is refused.

    Raises:
        RefusedError: the recorded decision names this policy with another digest.
    """
    try:
        before = Decision.model_validate_json(decision.read_bytes()).policy
    except (OSError, ValidationError):
        return  # nothing was decided, or nothing that can be read: the release decides afresh
    if before.name == loaded.policy.name and before.sha256 != loaded.sha256:
        raise RefusedError(
            f"the policy {loaded.policy.name} was edited after the decision (sha256 {before.sha256[:8]} then, "
            f"{loaded.sha256[:8]} now); run the gate again and look at its answer"
        )


def refuse_released(record: Path) -> None:
    """Refuse a run that has left before.

    Raises:
        RefusedError: there is a record of a release.
    """
    if os.path.lexists(record):
        raise RefusedError(
            f"this run was released before ({_told(record)}); copy that bundle instead of making a second one. If it "
            f"was never published, remove {record.name} from the run"
        )


@contextmanager
def recorded(record: Path, sums_sha256: str, decision: Decision) -> Iterator[None]:
    """Hold the record of a release while the bundle is published; it goes again if that fails.

    Raises:
        RefusedError: the run has left before, or is leaving at this moment.
        RunError: the run cannot be written.
    """
    document = {
        "schema": RELEASE_SCHEMA,
        "sums_sha256": sums_sha256,
        "policy": decision.policy.name,
        "decided_at": decision.decided_at,
    }
    try:
        descriptor = os.open(record, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(document, indent=2).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        refuse_released(record)
    except OSError as error:
        raise RunError(f"the release cannot be written down in the run ({error.strerror})") from None
    try:
        yield
    except BaseException:
        record.unlink(missing_ok=True)
        raise


def _told(record: Path) -> str:
    try:
        document = json.loads(record.read_bytes())
        return f"under policy {document['policy']}, decided {document['decided_at']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "its record cannot be read"
