"""One attempt on a source, from the check that spends nothing to the entry that closes it.

It does not know where entries go; the ledger hands it its steps.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from privdistill.errors import MechanismError, PrivdistillError, RunError
from privdistill.mechanisms.release import MechanismRecord

__all__ = ["Attempt"]


class Attempt:
    """A plan that would fit, not yet charged; or one that was charged before and is taken up again."""

    def __init__(
        self,
        reserve: Callable[[str], None],
        draw: Callable[[str, MechanismRecord], None],
        commit: Callable[[str], None],
        abandon: Callable[[str], None],
        reopen: Callable[[str], Mapping[str, Mapping[str, Any]]] | None = None,
    ) -> None:
        """Take the steps; each is handed a run id. `reopen` gives what a resumed run has drawn, by name."""
        self._reserve, self._draw, self._commit, self._abandon = reserve, draw, commit, abandon
        self._reopen = reopen

    @contextmanager
    def charging(self, run_id: str) -> Iterator[Callable[[MechanismRecord], None]]:
        """Give what a door calls before each noise; commit at the end of the block, or abandon.

        The whole plan is reserved at the first call, so a run that fails earlier costs nothing. A run that is
        interrupted, or whose files cannot be written, is left open: that counts as much, and it may be resumed. A
        resumed run may go through each mechanism that it had drawn at most once more, with the same parameters, and
        pays nothing for it: what was kept is read, and what was never kept was seen by nobody.
        """
        drawn = dict(self._reopen(run_id)) if self._reopen is not None else {}
        reserved = self._reopen is not None

        def charge(record: MechanismRecord) -> None:
            nonlocal reserved
            if not reserved:
                self._reserve(run_id)
                reserved = True
            before = drawn.pop(record.name, None)
            if before is None:
                self._draw(run_id, record)
            elif before != asdict(record):
                raise MechanismError(
                    f"mechanism {record.name!r} was drawn with other parameters before this run was resumed; "
                    "nothing is released"
                )

        try:
            yield charge
        except (KeyboardInterrupt, OSError, RunError):
            raise
        except BaseException:
            if reserved:
                # The run's own failure is what the operator has to see; an open reservation counts as much.
                with suppress(PrivdistillError):
                    self._abandon(run_id)
            raise
        self._commit(run_id)
