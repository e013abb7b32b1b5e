"""What the shared database must not hold: each source's secret key, and the keyed hashes of its units.

A folder on this machine (mode 0700, files 0600): next to an SQLite ledger, under the state directory for PostgreSQL.

    begun-DIGEST          id of the source of that name, drawn when a run on this machine first declared it
    SOURCE/key            32 random bytes
    SOURCE/declared       how a run declared it last, while no run was charged to it
    SOURCE/units-VERSION  sorted 16-byte PRF values of every unit that was ever charged under this source
    head                  the newest entry that this machine wrote

A set of units is written under a fresh random name before the database points to it, so a crash in between leaves the
older set in force, and nothing in the database tells whether a set changed or how large it is. It does not know how a
unit is hashed, nor what an overlap means.
"""

import hashlib
import hmac
import json
import os
import re
import secrets
from pathlib import Path
from typing import Any

from privdistill.atomic import write_atomically
from privdistill.errors import ConfigError

__all__ = ["Keyring", "key_check"]

_WIDTH = 16
_KEY_BYTES = 32
_SEAL = b"privdistill/unit-set/v1\0"
_CHECK = b"privdistill/key-check/v1\0"


class Keyring:
    """The private folder of one ledger on this machine."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.folder = folder

    def begin(self, name: str, declared: dict[str, Any]) -> tuple[str, bytes]:
        """Id and key of a source that the ledger does not hold yet, on disk before they are used, and then the same.

        The caller holds the ledger's writing transaction, so no two processes draw them at once.

        Raises:
            ConfigError: they were drawn before and are damaged; others would divide the units anew.
        """
        begun = self._drawn(name)
        if begun is None:
            source_id, key = secrets.token_hex(8), secrets.token_bytes(_KEY_BYTES)
            self._place(source_id).mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            write_atomically(self._place(source_id) / "key", key.hex().encode() + b"\n")
        else:
            source_id, key = begun
        write_atomically(self._place(source_id) / "declared", json.dumps(declared).encode() + b"\n")
        write_atomically(self._begun(name), source_id.encode() + b"\n")
        return source_id, key

    def begun(self, name: str) -> tuple[str, bytes, dict[str, Any]] | None:
        """Id, key and declaration of a source that was begun on this machine under that name.

        Raises:
            ConfigError: it was begun, and its key is damaged.
        """
        drawn = self._drawn(name)
        if drawn is None:
            return None
        try:
            return *drawn, json.loads((self._place(drawn[0]) / "declared").read_bytes())
        except (OSError, ValueError):
            return None

    def key(self, source_id: str, check: str) -> bytes:
        """A source's key.

        Raises:
            ConfigError: it is not on this machine, not whole, or not the one that the ledger knows.
        """
        file = self._place(source_id) / "key"
        try:
            key = _read_key(file)
        except (OSError, ValueError):
            raise ConfigError(
                f"the secret key of a source is not at {file}, so neither its sides nor an overlap with another corpus "
                "can be told; copy the folder from the machine or backup that has it"
            ) from None
        if not hmac.compare_digest(key_check(key), check):
            raise ConfigError(f"{file} is not the key of this source; restore the one that was there")
        return key

    def store(self, source_id: str, key: bytes, units: frozenset[bytes]) -> tuple[str, str]:
        """Write a set of units under a fresh name; returns (version, seal) for the ledger."""
        version, content = secrets.token_hex(8), b"".join(sorted(units))
        if any(len(unit) != _WIDTH for unit in units):
            raise ValueError("expected hashes of 16 bytes")
        write_atomically(self._units(source_id, version), content)
        return version, _sealed(key, version, content)

    def units(self, source_id: str, key: bytes, version: str, seal: str) -> frozenset[bytes]:
        """Read the set that the ledger points to.

        Raises:
            ConfigError: it is not on this machine, or was changed.
        """
        file = self._units(source_id, version)
        try:
            content = file.read_bytes()
        except OSError:
            content = b""
        if not hmac.compare_digest(_sealed(key, version, content), seal):
            raise ConfigError(
                f"{file} is not the set of units that the ledger recorded last, so an overlap cannot be told; copy the "
                "folder from the machine or backup that has it"
            )
        return frozenset(content[i : i + _WIDTH] for i in range(0, len(content), _WIDTH))

    def forget_others(self, source_id: str, *versions: str) -> None:
        """Delete the sets that the ledger no longer points to."""
        kept = {f"units-{version}" for version in versions}
        for file in self._place(source_id).glob("units-*"):
            if file.name not in kept:
                file.unlink(missing_ok=True)

    def head(self) -> tuple[int, str] | None:
        """(number, digest) of the newest entry that this machine is known to have written."""
        try:
            found = json.loads((self.folder / "head").read_bytes())
            return int(found["number"]), str(found["digest"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def note_head(self, number: int, digest: str) -> None:
        """Remember an entry after its commit; only forward."""
        seen = self.head()
        if seen is None or seen[0] < number:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            temporary = self.folder / f".head.{secrets.token_hex(4)}"
            temporary.write_text(json.dumps({"number": number, "digest": digest}), encoding="ascii")
            os.chmod(temporary, 0o600)
            temporary.replace(self.folder / "head")

    def _drawn(self, name: str) -> tuple[str, bytes] | None:
        begun = self._begun(name)
        try:
            source_id = begun.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, ValueError):
            source_id = ""
        if re.fullmatch("[0-9a-f]{16}", source_id) is None:
            raise ConfigError(
                f"{begun} does not name the source that was begun under {name!r}; restore it, or remove it to have "
                "that source begun anew, as no run was charged to it"
            )
        file = self._place(source_id) / "key"
        try:
            return source_id, _read_key(file)
        except (OSError, ValueError):
            raise ConfigError(
                f"expected the secret key of source {name!r}, {_KEY_BYTES} bytes, at {file}, found none or another "
                f"thing; restore it, or remove {begun} to have that source begun anew, as no run was charged to it"
            ) from None

    def _place(self, source_id: str) -> Path:
        return self.folder / source_id

    def _begun(self, name: str) -> Path:
        return self.folder / f"begun-{hashlib.sha256(name.encode()).hexdigest()[:32]}"

    def _units(self, source_id: str, version: str) -> Path:
        return self._place(source_id) / f"units-{version}"


def _read_key(file: Path) -> bytes:
    key = bytes.fromhex(file.read_text(encoding="ascii"))
    if len(key) != _KEY_BYTES:
        raise ValueError("not a key")
    return key


def key_check(key: bytes) -> str:
    """What the ledger keeps of a key: enough to recognise it, nothing to compute with."""
    return hashlib.sha256(_CHECK + key).hexdigest()


def _sealed(key: bytes, version: str, content: bytes) -> str:
    return hmac.digest(key, _SEAL + version.encode() + b"\0" + content, "sha256").hex()
