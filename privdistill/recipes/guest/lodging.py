"""What a guest's process is given: an environment, an empty folder, and the places that it may read.

Only names on a list are taken over from the environment. Folders that an installer filled are given as they are; of
every other folder on the module path (a checkout, the place where a command is run), in which a corpus or runs may lie,
only modules and packages are, through links in a folder of their own. It does not know what a guest is asked.
"""

import os
import shutil
import site
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

__all__ = ["Lodging", "files_of"]

_KEPT = (
    "CUDA_VISIBLE_DEVICES",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PATH",
    "TZ",
)
_SYSTEM = (
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/openssl.cnf",
    "/lib",
    "/lib64",
    "/proc/cpuinfo",
    "/proc/driver",
    "/proc/meminfo",
    "/proc/self",
    "/sys",
    "/usr",
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/kfd", "/dev/dri")
_OWN = ("privdistill", "audits")


@dataclass(frozen=True, slots=True)
class Lodging:
    """Where a guest stays.

    Attributes:
        folder: everything below is removed at the end.
        path: its module path.
        readable: places that it may read.
        devices: places that it may read and write.
    """

    folder: Path
    path: tuple[str, ...]
    readable: tuple[str, ...]
    devices: tuple[str, ...]

    @property
    def home(self) -> Path:
        """Empty at the start; working directory, home and temporary folder."""
        return self.folder / "home"

    @property
    def probe(self) -> Path:
        """A file that a guest behind a fence cannot open."""
        return self.folder / "probe"

    @classmethod
    def prepare(cls, entry: EntryPoint) -> "Lodging":
        """Make the folder; `end` removes it."""
        folder = Path(tempfile.mkdtemp(prefix="privdistill-guest-")).resolve()
        try:
            lodging = cls(folder, *_module_path(folder / "path", entry), tuple(_devices()))
            lodging.home.mkdir(mode=0o700)
            lodging.probe.write_bytes(b"not for guests\n")
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return lodging

    def environment(self) -> dict[str, str]:
        """Environment of the process; nothing but what is listed here."""
        home = str(self.home)
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        fixed = {"HOME": home, "TMPDIR": home, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        return {**kept, **fixed, "PYTHONPATH": self.path[0], "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def given(self) -> dict[str, object]:
        """What its process is told of all this before anything else."""
        return {
            "path": self.path,
            "readable": self.readable,
            "devices": self.devices,
            "home": str(self.home),
            "probe": str(self.probe),
            "parent": os.getpid(),
        }

    def end(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)


def files_of(model: Path) -> tuple[str, ...]:
    """A model and whatever its links lead to (a hub's cache keeps content elsewhere)."""
    inside = model.rglob("*") if model.is_dir() else ()
    return tuple(sorted({str(model), str(model.resolve()), *(str(file.resolve()) for file in inside)}))


def _module_path(links: Path, entry: EntryPoint) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The module path of the guest, in the order of ours, and what of it may be read."""
    here, installed = Path.cwd().resolve(), _installed()
    own = links / "own"
    own.mkdir(parents=True, mode=0o700)
    readable = [*_SYSTEM, *installed, str(links), *_libraries()]
    for name in (*_OWN, entry.module.partition(".")[0]):
        readable += _link(own, *_places(name, installed))
    path = [str(own)]
    for i, part in enumerate(dict.fromkeys(sys.path)):
        folder = Path(part or here).resolve()
        if str(folder) in installed or folder.is_file():
            path.append(str(folder))
            readable.append(str(folder))
        elif folder != here and folder.is_dir():
            (links / str(i)).mkdir(mode=0o700)
            path.append(str(links / str(i)))
            readable += _link(links / str(i), *filter(_is_module, sorted(folder.iterdir())))
    return tuple(path), tuple(dict.fromkeys(readable))


def _installed() -> set[str]:
    """Folders that only installers write to."""
    stdlib = sysconfig.get_path("stdlib")
    named = [sysconfig.get_path(name) for name in ("platstdlib", "purelib", "platlib")]
    named += [stdlib, str(Path(stdlib) / "lib-dynload"), *site.getsitepackages()]
    named += [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return {str(Path(folder).resolve()) for folder in named}


def _libraries() -> list[str]:
    """Where the interpreter and shared libraries lie."""
    prefixes = {Path(prefix).resolve() for prefix in (sys.prefix, sys.base_prefix)}
    found = [str(prefix / name) for prefix in sorted(prefixes) for name in ("bin", "lib", "pyvenv.cfg")]
    return found + [
        part for part in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if Path(part).is_absolute()
    ]


def _places(name: str, installed: set[str]) -> list[Path]:
    """Files or folders of a top-level module that no installed folder holds; finding it does not run it."""
    try:
        spec = find_spec(name) if name.isidentifier() else None
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None or not spec.has_location:
        return []  # a folder without __init__.py is nobody's package: it may be the one that runs lie in
    found = [Path(place) for place in spec.submodule_search_locations or (spec.origin,)]
    return [place for place in found if str(place.resolve().parent) not in installed]


def _is_module(path: Path) -> bool:
    if path.is_dir():
        return (path / "__init__.py").is_file() or path.suffix in (".dist-info", ".egg-info")
    return path.suffix in (".py", ".so")


def _link(folder: Path, *places: Path) -> list[str]:
    """Link places into a folder; returns where they really lie."""
    for place in places:
        if not (folder / place.name).is_symlink():
            (folder / place.name).symlink_to(place.resolve())
    return [str(place.resolve()) for place in places]


def _devices() -> list[str]:
    return [*_DEVICES, *sorted(str(device) for device in Path("/dev").glob("nvidia*"))]
