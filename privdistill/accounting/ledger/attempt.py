"""One attempt on a source, from the check that spends nothing to the entry that closes it.

It does not know where entries go; the ledger hands it four steps.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from privdistill.errors import PrivdistillError
from privdistill.mechanisms.release import MechanismRecord

__all__ = ["Attempt"]


class Attempt:
    """A plan that would fit, not yet charged."""

    def __init__(
        self,
        reserve: Callable[[str], None],
        draw: Callable[[str, MechanismRecord], None],
        commit: Callable[[str], None],
        abandon: Callable[[str], None],
    ) -> None:
        """Take the steps; each is handed a run id."""
        self._reserve, self._draw, self._commit, self._abandon = reserve, draw, commit, abandon

    @contextmanager
    def charging(self, run_id: str) -> Iterator[Callable[[MechanismRecord], None]]:
        """Give what a door calls before each noise; commit at the end of the block, or abandon.

        The whole plan is reserved at the first call, so a run that fails earlier costs nothing.
        """
        reserved = False

        def charge(record: MechanismRecord) -> None:
            nonlocal reserved
            if not reserved:
                self._reserve(run_id)
                reserved = True
            self._draw(run_id, record)

        try:
            yield charge
        except BaseException:
            if reserved:
                # The run's own failure is what the operator has to see; an open reservation counts as much.
                with suppress(PrivdistillError):
                    self._abandon(run_id)
            raise
        self._commit(run_id)
