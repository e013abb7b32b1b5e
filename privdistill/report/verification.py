"""What the verification of a bundle found: the record, and its text.

Three kinds of line: verified, failed, and not-checked, which says what a reader still has to take on trust. It does
not know how anything was checked.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from privdistill.report.plain import plain

__all__ = ["VERIFICATION_SCHEMA", "Verification", "VerifiedItem", "render_broken", "render_verification"]

VERIFICATION_SCHEMA = "privdistill.verification/v1"
_MARKS = {"verified": "ok", "failed": "FAIL", "not-checked": "–"}


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class VerifiedItem(_Frozen):
    """One thing that was looked at."""

    name: str
    status: Literal["verified", "failed", "not-checked"]
    sentence: str


class Verification(_Frozen):
    """The result of `verify`; `ok` if something was verified and nothing failed."""

    schema_: Literal["privdistill.verification/v1"] = Field(default="privdistill.verification/v1", alias="schema")
    bundle: str
    """Name of the folder, without its path."""
    checks: tuple[VerifiedItem, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that could be checked holds."""
        statuses = {check.status for check in self.checks}
        return "verified" in statuses and "failed" not in statuses

    @property
    def exit_code(self) -> int:
        """0 or 10."""
        return 0 if self.ok else 10

    def of(self, status: Literal["verified", "failed", "not-checked"]) -> tuple[VerifiedItem, ...]:
        """The items of one status."""
        return tuple(check for check in self.checks if check.status == status)

    def to_json(self) -> str:
        """Canonical JSON text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def render_broken(what: str, checks: tuple[VerifiedItem, ...]) -> str:
    """Say which checks failed, and nothing of what the papers say of themselves."""
    failed = [f"  FAIL  {plain(item.name)}: {plain(item.sentence)}" for item in checks if item.status == "failed"]
    return "\n".join((f"NOT VERIFIED  {plain(what)}", *failed, "nothing that it says of itself is shown")) + "\n"


def render_verification(verification: Verification) -> str:
    """Render for a terminal: verdict, failures, what was verified, what was not."""
    counts = {status: len(verification.of(status)) for status in ("verified", "failed", "not-checked")}
    lines = [f"{'VERIFIED' if verification.ok else 'NOT VERIFIED'}  bundle {plain(verification.bundle)}"]
    for status in ("failed", "verified", "not-checked"):
        for item in verification.of(status):
            lines.append(f"  {_MARKS[status]:<4}  {plain(item.name)}: {plain(item.sentence)}")
    lines.append(
        f"{counts['verified']} verified, {counts['failed']} failed, {counts['not-checked']} could not be checked here"
    )
    return "\n".join(lines) + "\n"
