"""The secret that hides an audit behind its commitment. It stays in the run; without it the commitment says nothing.

It does not know what is committed to.
"""

import os
import secrets
from pathlib import Path

from privdistill.errors import RunError

__all__ = ["load_or_create_salt"]

_BYTES = 32


def load_or_create_salt(path: Path) -> bytes:
    """Read the salt, or draw it from the operating system and keep it with mode 0600.

    Raises:
        RunError: the file has another length, or cannot be read or written.
    """
    try:
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            salt = path.read_bytes()
        else:
            salt = secrets.token_bytes(_BYTES)
            with os.fdopen(descriptor, "wb") as file:
                file.write(salt)
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise RunError(f"the salt of the audit cannot be kept in the run ({error.strerror})") from None
    if len(salt) != _BYTES:
        raise RunError(f"expected a salt of {_BYTES} bytes in the run, found {len(salt)}; delete it and release again")
    return salt
