"""One attempt on a source, from the check that spends nothing to the entry that closes it.

It does not know where entries go; the ledger hands it its steps.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, NamedTuple

from privdistill.errors import MechanismError, PrivdistillError, RunError
from privdistill.mechanisms.release import MechanismRecord

__all__ = ["Attempt", "Begun", "Charging"]


class Begun(NamedTuple):
    """How far an interrupted run had come.

    Attributes:
        drawn: mechanism name -> its record.
        kept: those of them whose release was durably written.
    """

    drawn: Mapping[str, Mapping[str, Any]]
    kept: frozenset[str]


class Charging:
    """What a door tells the ledger while one run draws."""

    def __init__(
        self,
        reserve: Callable[[], None],
        draw: Callable[[MechanismRecord], None],
        keep: Callable[[str], None],
        begun: Begun | None,
    ) -> None:
        """Nothing is said yet; `begun` is that of a resumed run."""
        self._reserve, self._draw, self._keep = reserve, draw, keep
        self._drawn = dict(begun.drawn) if begun is not None else {}
        self._noted = set(begun.kept) if begun is not None else set()
        self.reserved = begun is not None
        self.claim_sha256: str | None = None

    def __call__(self, record: MechanismRecord) -> None:
        """Called before each noise. The whole plan is reserved at the first call.

        Raises:
            MechanismError: it has no open reservation, or was drawn with other parameters before.
            RunError: its release was kept, and is gone.
        """
        if not self.reserved:
            self._reserve()
            self.reserved = True
        if record.name in self._noted:
            raise RunError(
                f"what this run released as {record.name!r} is no longer in its private folder, and a second draw is "
                "not covered by the charge; restore the folder, or start a new run"
            )
        if not self._drawn_before(record):
            self._draw(record)

    def kept(self, record: MechanismRecord) -> None:
        """Called once a release is durably written, before it is handed out: from here on it is never drawn again.

        Raises:
            MechanismError: it is not charged, or was drawn with other parameters.
        """
        self._drawn_before(record)
        self._noted.discard(record.name)  # handed out now; to ask again is to draw again, which the ledger refuses
        self._keep(record.name)

    def claimed(self, claim_sha256: str | None) -> None:
        """Called when the candidate is written: the entry that closes the run says which claim was made of it."""
        self.claim_sha256 = claim_sha256

    def _drawn_before(self, record: MechanismRecord) -> bool:
        before = self._drawn.pop(record.name, None)
        if before is not None and before != asdict(record):
            raise MechanismError(
                f"mechanism {record.name!r} was drawn with other parameters before this run was resumed; "
                "nothing is released"
            )
        return before is not None


class Attempt:
    """A plan that would fit, not yet charged; or one that was charged before and is taken up again."""

    def __init__(
        self,
        reserve: Callable[[str], None],
        draw: Callable[[str, MechanismRecord], None],
        keep: Callable[[str, str], None],
        commit: Callable[[str, str | None], None],
        abandon: Callable[[str], None],
        reopen: Callable[[str], Begun] | None = None,
    ) -> None:
        """Take the steps; each is handed a run id. `reopen` is that of a resumed run."""
        self._reserve, self._draw, self._keep = reserve, draw, keep
        self._commit, self._abandon, self._reopen = commit, abandon, reopen

    @contextmanager
    def charging(self, run_id: str) -> Iterator[Charging]:
        """Give what a door tells of its draws; commit at the end of the block, or abandon.

        A run that fails before its first draw costs nothing. One that is interrupted, or whose files cannot be
        written, is left open: that counts as much, and it may be resumed. A resumed run may go through each mechanism
        that it had drawn at most once more, with the same parameters, and pays nothing for it: what was kept is read,
        and what was never kept was seen by nobody. What was kept and is gone is not drawn again.
        """
        said = Charging(
            lambda: self._reserve(run_id),
            lambda record: self._draw(run_id, record),
            lambda name: self._keep(run_id, name),
            self._reopen(run_id) if self._reopen is not None else None,
        )
        try:
            yield said
        except (KeyboardInterrupt, OSError, RunError):
            raise
        except BaseException:
            if said.reserved:
                # The run's own failure is what the operator has to see; an open reservation counts as much.
                with suppress(PrivdistillError):
                    self._abandon(run_id)
            raise
        self._commit(run_id, said.claim_sha256)
