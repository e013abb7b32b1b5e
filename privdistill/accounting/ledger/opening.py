"""How a source begins: declared by every run, and written down for good with the first one that is charged.

Until then nothing of it is final. Its id and key are drawn once on this machine and kept in the private folder, so runs
that begin at the same time divide their units alike; unit, holdout and cap are what the newest run declares, and a run
that is refused leaves no entry. It does not know charges.
"""

from dataclasses import asdict

import sqlalchemy as sa

from privdistill.accounting.filter import Cap
from privdistill.accounting.ledger.chain import Entry, append, last
from privdistill.accounting.ledger.keyring import Keyring, key_check
from privdistill.accounting.ledger.standing import Source
from privdistill.errors import ConfigError, RunError

__all__ = ["DEFAULT_CAP", "declare", "declared_before", "find", "opened_elsewhere", "write_opened"]

DEFAULT_CAP = Cap(epsilon=48.0, delta=1e-4)
"""For a source that is declared without one: what the most permissive shipped policy would still accept."""
_Asked = tuple[float | None, float | None]


def find(keyring: Keyring, entry: Entry, *, unit: str, holdout: float, cap: _Asked) -> Source:
    """The source that an entry opened, as long as it is declared as it was then.

    Raises:
        ConfigError: it was opened with another unit, holdout or cap, or its key is not on this machine.
    """
    kept, final = entry.body, Cap(**entry.body["cap"])
    if (kept["unit"], kept["holdout"]) != (unit, holdout):
        raise ConfigError(
            f"source {entry.name!r} is kept with unit {kept['unit']!r} and holdout {kept['holdout']}, found {unit!r} "
            f"and {holdout}; use the same, or name another source with --source if these are other people"
        )
    asked = Cap(cap[0] or final.epsilon, cap[1] or final.delta)
    if asked != final:
        raise ConfigError(
            f"source {entry.name!r} was opened with a cap of epsilon {final.epsilon:g}, delta {final.delta:g}, found "
            f"{asked.epsilon:g}, {asked.delta:g}; the cap is final, so leave it out"
        )
    return Source(entry.source_id, entry.name, keyring.key(entry.source_id, kept["key_check"]), unit, holdout, final)


def declare(keyring: Keyring, name: str, *, unit: str, holdout: float, cap: _Asked) -> Source:
    """A source that no run was charged to yet. Called in a writing transaction, which keeps other processes out."""
    asked = Cap(cap[0] or DEFAULT_CAP.epsilon, cap[1] or DEFAULT_CAP.delta)
    source_id, key = keyring.begin(name, {"unit": unit, "holdout": holdout, "cap": asdict(asked)})
    return Source(source_id, name, key, unit, holdout, asked)


def declared_before(keyring: Keyring, name: str) -> Source | None:
    """A source as a run on this machine declared it last, if one did."""
    begun = keyring.begun(name)
    if begun is None:
        return None
    source_id, key, said = begun
    return Source(source_id, name, key, said["unit"], said["holdout"], Cap(**said["cap"]))


def write_opened(db: sa.Connection, ledger_id: str, keyring: Keyring, source: Source) -> None:
    """Make a source final, unless it is; in the transaction of what needs it.

    Raises:
        ConfigError: another run has opened it otherwise in the meantime, or its key was replaced in the meantime.
        RunError: another machine has opened a source of that name in the meantime.
    """
    entry = last(db, "opened", name=source.name)
    if entry is not None and entry.source_id != source.id:
        raise opened_elsewhere(source.name)
    keyring.key(source.id, key_check(source.key))
    if entry is None:
        body = {
            "unit": source.unit,
            "holdout": source.holdout,
            "key_check": key_check(source.key),
            "cap": asdict(source.cap),
        }
        append(db, ledger_id, "opened", source_id=source.id, name=source.name, body=body)
        return
    final, cap = Cap(**entry.body["cap"]), source.cap
    find(keyring, entry, unit=source.unit, holdout=source.holdout, cap=(final.epsilon, final.delta))
    if final != cap:  # a cap that nobody gave is no longer told from the default
        raise ConfigError(
            f"source {source.name!r} was opened by another run while this one was prepared, with a cap of epsilon "
            f"{final.epsilon:g}, delta {final.delta:g}, which is final; this one reckoned with epsilon "
            f"{cap.epsilon:g}, delta {cap.delta:g}. Nothing was spent; start again, without a cap"
        )


def opened_elsewhere(name: str) -> RunError:
    """What is said when a source of that name was opened under another id, so under another key."""
    return RunError(
        f"source {name!r} was opened by another machine while this run was prepared; nothing was spent. "
        "Start again, with the ledger's private folder of that machine"
    )
