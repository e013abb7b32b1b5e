"""`release --sign-key` and `verify --key`: who made a bundle, and what a signature does not hide."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from privdistill.bundle import layout
from tests.privdistill.cli.control.runs import build_run


def write_key(path: Path, key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey, password: bytes = b"") -> Path:
    sealed = form.BestAvailableEncryption(password) if password else form.NoEncryption()
    path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, sealed))
    path.chmod(0o600)
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    path.with_suffix(".pub").write_bytes(public)
    return path


@pytest.fixture
def run(in_folder: Path) -> Path:
    return build_run(in_folder / "run")


@pytest.fixture
def key(in_folder: Path) -> Path:
    return write_key(in_folder / "key.pem", ed25519.Ed25519PrivateKey.generate())


@pytest.fixture
def bundle(cli: Callable, run: Path, key: Path) -> Path:
    ended = cli("release", run, "--policy", "internal", "--out", "bundle", "--sign-key", key)
    assert ended.code == 0, ended.err
    return Path("bundle")


def test_a_signed_bundle_verifies_with_its_key_only(cli: Callable, bundle: Path, in_folder: Path) -> None:
    ended = cli("verify", bundle, "--key", "key.pub")
    assert ended.code == 0
    assert "ok    signature: by the key " in ended.out
    other = write_key(in_folder / "other.pem", ed25519.Ed25519PrivateKey.generate())
    ended = cli("verify", bundle, "--key", other.with_suffix(".pub"))
    assert ended.code == 10
    assert "not by the one that was named" in ended.out
    ended = cli("verify", bundle)
    assert ended.code == 0
    assert "author's only if the author says so" in ended.out, "without the key, a signature proves nothing"


def test_the_key_itself_does_not_leave(bundle: Path, key: Path) -> None:
    private = form.load_pem_private_key(key.read_bytes(), None)
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    for path in bundle.rglob("*"):
        if path.is_file():
            assert private.private_bytes_raw() not in path.read_bytes()
            assert key.read_bytes().splitlines()[1] not in path.read_bytes()


def test_any_flipped_byte_of_sums_or_signature_is_found_also_without_the_key(bundle: Path) -> None:
    from privdistill.bundle import verify

    for name in (layout.SIGNATURE, layout.SUMS):
        content = (bundle / name).read_bytes()
        for place in range(1, len(content), 41):
            flipped = bytearray(content)
            flipped[place] ^= 1 << place % 8
            (bundle / name).write_bytes(bytes(flipped))
            assert not verify(bundle).ok, (name, place)
        (bundle / name).write_bytes(content)
    assert verify(bundle).ok


def test_who_mends_the_checksums_cannot_mend_the_signature(cli: Callable, bundle: Path) -> None:
    table = (bundle / layout.LICENSE).read_bytes()
    (bundle / layout.LICENSE).write_bytes(table + b"You may do anything.\n")
    files = {name: (bundle / name).read_bytes() for name in layout.FILES}
    (bundle / layout.SUMS).write_text(layout.sums_text(files))
    assert "not one of this SHA256SUMS" in cli("verify", bundle, "--key", "key.pub").out
    (bundle / layout.SIGNATURE).unlink()
    assert cli("verify", bundle, "--key", "key.pub").code == 10


def test_the_signature_of_another_bundle_is_found(cli: Callable, bundle: Path, key: Path, in_folder: Path) -> None:
    other = build_run(in_folder / "other", texts=[f"Another text, number {i}." for i in range(150)])
    assert cli("release", other, "--policy", "internal", "--out", "second", "--sign-key", key).code == 0
    shutil.copy(bundle / layout.SIGNATURE, Path("second") / layout.SIGNATURE)
    assert cli("verify", "second", "--key", "key.pub").code == 10


def test_unsigned_where_a_signature_is_expected(cli: Callable, run: Path, key: Path) -> None:
    assert cli("release", run, "--policy", "internal", "--out", "bundle").code == 0
    ended = cli("verify", "bundle", "--key", "key.pub")
    assert ended.code == 10
    assert "the bundle is not signed" in ended.out


def test_keys_that_are_none_are_refused_before_anything_is_released(cli: Callable, run: Path, in_folder: Path) -> None:
    good = ed25519.Ed25519PrivateKey.generate()
    write_key(in_folder / "curve.pem", ec.generate_private_key(ec.SECP256R1()))
    write_key(in_folder / "sealed.pem", good, b"secret")
    write_key(in_folder / "open.pem", good).chmod(0o644)
    (in_folder / "junk.pem").write_bytes(b"junk")
    (in_folder / "junk.pem").chmod(0o600)
    for name in ("curve", "sealed", "open", "junk", "absent"):
        ended = cli("release", run, "--policy", "internal", "--out", "bundle", "--sign-key", f"{name}.pem")
        assert (ended.code, ended.out) == (2, "")
        assert f"{name}.pem" in ended.err
    assert not Path("bundle").exists()
    assert cli("release", run, "--policy", "internal", "--out", "bundle").code == 0
    for name in ("curve.pub", "open.pem", "junk.pem", "absent"):
        assert cli("verify", "bundle", "--key", name).code == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_agrees(bundle: Path, in_folder: Path) -> None:
    """A reader without this package checks the signature with a tool that everybody has."""
    import base64
    import json

    (in_folder / "message").write_bytes(b"privdistill/bundle/v1\0" + (bundle / layout.SUMS).read_bytes())
    signature = json.loads((bundle / layout.SIGNATURE).read_text())["signature"]
    (in_folder / "signature").write_bytes(base64.b64decode(signature))
    command = "openssl pkeyutl -verify -pubin -inkey key.pub -rawin -in message -sigfile signature"
    done = subprocess.run(command.split(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
