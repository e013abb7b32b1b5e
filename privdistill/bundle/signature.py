"""Who made a bundle: an Ed25519 signature over SHA256SUMS, which names every other file by its digest.

    signer(key_file) -> (sums) -> content of SHA256SUMS.sig.json
    read_signature(content, sums) -> Signature     raises unless it is a signature of exactly these sums
    key_id_of(public_key_file) -> str              what a reader compares with `Signature.key_id`

The file carries its public key, so that damage is found without the key at hand; it proves who signed only to a reader
who got the public key, or its id, by another way. It does not know certificates, time stamps or revocation.
"""

import base64
import binascii
import hashlib
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from privdistill.bundle.strict_json import read_document
from privdistill.errors import ConfigError, RefusedError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = ["SIGNATURE_SCHEMA", "Signature", "Signer", "key_id_of", "read_signature", "signer"]

Signer = Callable[[bytes], bytes]
"""SHA256SUMS -> the content of its signature file."""
SIGNATURE_SCHEMA = "privdistill.signature/v1"
_CONTEXT = b"privdistill/bundle/v1\0"
"""Signed before the sums, so that a signature made here is of no use anywhere else, and conversely."""
_HOW = "openssl genpkey -algorithm ed25519 -out key.pem"


class Signature(BaseModel):
    """SHA256SUMS.sig.json. The signed message is `privdistill/bundle/v1`, a zero byte, and SHA256SUMS."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )

    schema_: Literal["privdistill.signature/v1"] = Field(default="privdistill.signature/v1", alias="schema")
    algorithm: Literal["ed25519"] = "ed25519"
    key_id: str
    """sha256 of the 32 bytes of the public key."""
    public_key: str
    """base64 of those 32 bytes."""
    signature: str
    """base64 of 64 bytes."""

    def to_json(self) -> str:
        """Canonical ASCII text; any other spelling of the same signature is refused."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2) + "\n"


def signer(key_file: Path) -> Signer:
    """Read a private key (PEM, PKCS#8, Ed25519, not encrypted, readable by its owner only) and sign with it.

    Raises:
        ConfigError: it is none of that.
    """
    key = _private_key(key_file)

    def sign(sums: bytes) -> bytes:
        public = key.public_key().public_bytes_raw()
        return (
            Signature(
                key_id=hashlib.sha256(public).hexdigest(),
                public_key=base64.b64encode(public).decode(),
                signature=base64.b64encode(key.sign(_CONTEXT + sums)).decode(),
            )
            .to_json()
            .encode()
        )

    return sign


def read_signature(content: bytes, sums: bytes) -> Signature:
    """Read a signature and hold it against the sums.

    Raises:
        RefusedError: it is not one, not in canonical form, or not of these sums by the key that it names.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    found = read_document(Signature, content, "SHA256SUMS.sig.json")
    try:
        public, signature = (base64.b64decode(each, validate=True) for each in (found.public_key, found.signature))
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _CONTEXT + sums)
    except (ValueError, binascii.Error):
        raise RefusedError("the signature is not readable") from None
    except InvalidSignature:
        raise RefusedError("the signature is not one of this SHA256SUMS") from None
    spelt = found.model_copy(
        update={
            "key_id": hashlib.sha256(public).hexdigest(),
            "public_key": base64.b64encode(public).decode(),
            "signature": base64.b64encode(signature).decode(),
        }
    )
    if content != spelt.to_json().encode():
        raise RefusedError("the signature is not in canonical form")
    return found


def key_id_of(public_key_file: Path) -> str:
    """Id of a public key (PEM).

    Raises:
        ConfigError: it cannot be read, or is not an Ed25519 public key.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key: object = load_pem_public_key(_read(public_key_file))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(
            f"expected an Ed25519 public key as PEM, found something else in {public_key_file.name}; make one from the "
            "private key with: openssl pkey -in key.pem -pubout -out key.pub.pem"
        )
    return hashlib.sha256(_raw(key)).hexdigest()


def _raw(key: "Ed25519PublicKey") -> bytes:
    return key.public_bytes_raw()


def _private_key(key_file: Path) -> "Ed25519PrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _read(key_file)
    if key_file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"the signing key {key_file.name} may be read by others; chmod 600 it, or make another")
    try:
        key: object = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"expected an Ed25519 private key as PEM without a password in {key_file.name}, found something else; "
            f"make one with: {_HOW}"
        )
    return key


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ConfigError(f"the key {str(file)!r} cannot be read ({error.strerror})") from None
