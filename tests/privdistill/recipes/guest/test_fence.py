"""A guest that knows where everything lies looks for it, and says what it found; a fence is not believed but tried."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill import pipeline
from privdistill.candidate import read_claim
from privdistill.recipes.guest.lodging import Lodging
from tests.privdistill.recipes.guest.conftest import Told

Install = Callable[..., Path]

FENCED = """
import os, sys
from pathlib import Path
from privdistill.recipes.guest.fence import fence_files, fence_sockets
folder = Path(sys.argv[1])
files = fence_files(["/usr", "/lib", "/proc/self"], ["/dev/null"], [str(folder / "home")], str(folder / "probe"))
print(files, fence_sockets())
"""

CURIOUS = """
def rows(self, context, release):
    import mmap, os, socket, subprocess, sys
    found = {}
    def attempt(name, action):
        try:
            found[name] = f"open: {str(action())[:60]}"
        except Exception as error:
            found[name] = type(error).__name__
    parent = os.getppid()
    for path in PATHS:
        attempt(path, lambda: open(path, "rb").read(9))
        attempt("write " + path, lambda: open(path, "ab"))
        attempt("list " + path, lambda: os.listdir(os.path.dirname(path)))
        attempt("link " + path, lambda: (os.symlink(path, "link"), open("link", "rb").read(9)))
        os.path.lexists("link") and os.unlink("link")
        attempt("copy " + path, lambda: os.link(path, "copy"))
        attempt("cat " + path, lambda: subprocess.run(["cat", path], check=True, capture_output=True).stdout)
    for name in ("cmdline", "environ", "mem", "maps", "status"):
        attempt(name, lambda: open(f"/proc/{parent}/{name}", "rb").read(9))
    for name in ("fd", "task", "cwd"):
        attempt(name, lambda: os.listdir(f"/proc/{parent}/{name}"))
    attempt("processes", lambda: os.listdir("/proc"))
    attempt("terminal", lambda: open("/dev/tty"))
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        attempt(f"socket {family.name}", lambda: socket.socket(family))
    found["control"] = open(__file__).read(4)
    open("own", "w").write("mine")
    import privdistill.corpus.reader
    known = repr((sys.argv, sorted(os.environ.items()), os.getcwd(), context.task, context.located))
    found["known"] = [path for path in PATHS if path in known]
    found["files"] = sorted(os.readlink(f"/proc/self/fd/{fd}").partition(":")[0] for fd in os.listdir("/proc/self/fd")
                            if os.path.lexists(f"/proc/self/fd/{fd}"))
    found["left"] = sorted(set(os.environ) - {"LC_CTYPE"})
    return super().rows(context, release, found)
"""


@pytest.fixture(scope="module")
def fences(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip aloud where the kernel has no fences."""
    folder = tmp_path_factory.mktemp("fences")
    (folder / "home").mkdir()
    (folder / "probe").write_text("x")
    done = subprocess.run([sys.executable, "-c", FENCED, str(folder)], capture_output=True, text=True, check=True)
    if done.stdout.split() != ["True", "True"]:
        pytest.skip(f"this kernel has not both fences (files, sockets: {done.stdout.strip()}); they were not tried")


def test_a_curious_guest_finds_nothing(fences: None, install: Install, told: Told) -> None:
    private = told.run / "private" / "train.parquet"
    paths = [told.config.source.path, told.ledger, str(private), str(Path.home() / "notes.txt"), "/etc/passwd"]
    (Path.home() / "notes.txt").write_text("mine")
    os.environ["PRIVDISTILL_TOKEN"] = "secret"
    try:
        install(f"PATHS = {paths!r}" + CURIOUS.replace("PATHS", "self.PATHS"))
        run = told.generate()
    finally:
        del os.environ["PRIVDISTILL_TOKEN"]
    facts = run.manifest().facts
    claim = read_claim(run)
    assert claim.plug_in is not None
    assert (claim.plug_in.file_fence, claim.plug_in.socket_fence) == ("landlock", "seccomp")
    assert private.is_file()
    tried = {name: what for name, what in facts.items() if isinstance(what, str) and name != "control"}
    assert len(tried) == 6 * len(paths) + 8 + 2 + 3
    assert not {name: what for name, what in tried.items() if what.startswith("open")}
    assert {what for name, what in tried.items() if name.startswith(("socket", *paths))} == {"PermissionError"}
    assert facts["control"] == "\nimp", "what it may read, it can"
    assert facts["known"] == [], "no path that it was told of is private"
    assert set(facts["files"]) <= {"pipe", "/dev/null", "/proc/"} | {
        f for f in facts["files"] if f.startswith("/proc/")
    }
    assert not {name for name in facts["left"] if "TOKEN" in name or "LEDGER" in name or "STATE" in name}


def test_a_fence_that_does_not_hold_is_not_claimed(
    install: Install, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    install()
    given = Lodging.given
    # Without a fence the probe can be opened, as it can here, because it lies where the guest may read.
    monkeypatch.setattr(Lodging, "given", lambda self: {**given(self), "probe": os.devnull})
    intent = pipeline.plan(told.config)
    assert intent.as_dict()["plug_in"]["file_fence"] == "none"
    assert any("file fence: none" in line for line in intent.lines())
    assert [warning for warning in intent.warnings if "can open every file that you can" in warning]


def test_other_processes_cannot_read_this_one_while_a_guest_lives(install: Install, told: Told) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is hidden on Linux only")
    install()
    intent = pipeline.plan(told.config)
    assert _dumpable() == 0
    intent.recipe.close()
    assert _dumpable() == 1


def _dumpable() -> int:
    import ctypes

    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
