"""Whether a corpus belongs to a known source: shared units join it by declaration, or are refused.

The units of a corpus are compared, under each known source's own key, with the set that is kept for that source. Any
shared unit or content counts. What is said about an overlap is that there is one, and with which source: never how
much, nowhere but to the operator, and no entry of the ledger depends on it.

It is handed fingerprints by whoever may read the corpus; it does not see records.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import sqlalchemy as sa

from privdistill.accounting.ledger.chain import append, last
from privdistill.accounting.ledger.keyring import Keyring
from privdistill.accounting.ledger.opening import opened_elsewhere
from privdistill.accounting.ledger.standing import Source, linked, opened
from privdistill.accounting.ledger.storage import Storage
from privdistill.errors import BudgetError, ConfigError

__all__ = ["Fingerprints", "Identity"]

Fingerprints = Callable[[bytes], frozenset[bytes]]
"""Key of a source -> 16-byte PRF values of every unit of the corpus at hand."""
_Versions = dict[str, tuple[str, str]]


class Identity:
    """The units of one corpus, held to every source of a ledger."""

    def __init__(self, storage: Storage, keyring: Keyring, source: Source, fingerprints: Fingerprints) -> None:
        """Remember who asks; nothing is compared yet."""
        self._storage, self._keyring, self._source, self._fingerprints = storage, keyring, source, fingerprints
        self._own: frozenset[bytes] | None = None
        self._cleared: _Versions = {}

    def check(self) -> _Versions:
        """Compare with every source that is not linked to this one; returns what was known when it was done.

        Raises:
            BudgetError: units are shared with another source.
            ConfigError: that cannot be told, because keys or sets are not on this machine.
            RunError: another machine has opened a source of that name in the meantime.
        """
        while True:
            with self._storage.reading() as db:
                known, names = self._known(db), {id_: entry.name for id_, entry in opened(db).items()}
                checks = {id_: str(entry.body["key_check"]) for id_, entry in opened(db).items()}
                own = set(linked(db, self._source.id))
            try:
                for source_id in known.keys() - own:
                    if names[source_id] == self._source.name:
                        raise opened_elsewhere(self._source.name)
                    if self._cleared.get(source_id) != known[source_id]:
                        key = self._keyring.key(source_id, checks[source_id])
                        units = self._keyring.units(source_id, key, *known[source_id])
                        if not units.isdisjoint(self._fingerprints(key)):
                            raise _overlap(names[source_id], self._source.name)
                        self._cleared[source_id] = known[source_id]
            except ConfigError:
                # A set is deleted when a newer one takes its place; only then is it worth another look.
                with self._storage.reading() as db:
                    if self._known(db) == known:
                        raise
                continue
            return known

    def join(
        self, writing: Callable[[], AbstractContextManager[sa.Connection]], opening: Callable[[sa.Connection], None]
    ) -> None:
        """Add the corpus' units to its source's set, unless another source got any of them in the meantime.

        Args:
            writing: opens a writing transaction of the ledger.
            opening: writes in it what makes the source final, once no other source has these units.
        """
        if self._own is None:
            self._own = self._fingerprints(self._source.key)
        while True:
            known = self.check()
            version = known.get(self._source.id)
            before = self._keyring.units(self._source.id, self._source.key, *version) if version else frozenset()
            written, seal = self._keyring.store(self._source.id, self._source.key, before | self._own)
            with writing() as db:
                settled = self._known(db) == known
                if settled:
                    opening(db)
                    append(
                        db,
                        self._storage.id,
                        "joined",
                        source_id=self._source.id,
                        name=written,
                        body={"units": written, "seal": seal},
                    )
            if settled:
                self._keyring.forget_others(self._source.id, written)
                return

    def _known(self, db: sa.Connection) -> _Versions:
        found: _Versions = {}
        for source_id in opened(db):
            entry = last(db, "joined", source_id=source_id)
            if entry is not None:
                found[source_id] = (str(entry.body["units"]), str(entry.body["seal"]))
        return found


def _overlap(known: str, declared: str) -> BudgetError:
    return BudgetError(
        f"this corpus shares units with the source {known!r}, but was declared as {declared!r}; nothing was spent. If "
        f"it is the same data or a later export, say --source {known!r}. If two sources overlap, join their accounts "
        f"with `privdistill ledger link`. If ids of different people happen to be equal, make them distinct"
    )
