"""A guest's process ends with the run, however the run ends, and starts with nothing that is not its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from privdistill.recipes.guest.lodging import Lodging
from privdistill.recipes.registry import find_recipe
from tests.audits.test_cli import listen_to_interrupts
from tests.conftest import ROOT
from tests.privdistill.recipes.guest.conftest import Told

Install = Callable[..., Path]

HANGS = """
def mechanisms(self, task):
    import signal, time
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(1)
"""


@pytest.fixture
def planning(install: Install, told: Told, in_folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The command `plan` waiting for a guest that never answers, and the process number of the guest."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("children are found in /proc")
    site = install(HANGS)
    source = told.config.source
    line = [sys.executable, "-m", "privdistill", "plan", source.path, "--epsilon", "4", "--label-column", "label"]
    line += ["--labels", "good,bad", "--size", "400", "--recipe", "acme"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site)))}
    process = subprocess.Popen(
        line,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen_to_interrupts,
    )
    try:
        yield process, _waited(lambda: next(iter(_children(process.pid)), 0))
    finally:
        process.kill()
        process.communicate()


def test_an_interrupt_ends_a_guest_that_hangs(planning: tuple[subprocess.Popen[str], int]) -> None:
    process, guest = planning
    time.sleep(1.0)  # now or a little later it hangs; either must do
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert (process.returncode, out) == (130, "")
    assert "interrupted" in err
    assert _waited(lambda: not _alive(guest))


def test_a_guest_dies_with_a_run_that_is_killed(planning: tuple[subprocess.Popen[str], int]) -> None:
    process, guest = planning
    time.sleep(1.0)
    process.kill()
    assert _waited(lambda: not _alive(guest))


def test_an_interrupt_while_rows_are_made_leaves_the_charge_and_no_process(install: Install, told: Told) -> None:
    install(
        "def rows(self, context, release):\n    context.progress('hanging', 0, 1)\n    import time\n    time.sleep(600)"
    )
    guests: list[int] = []

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "hanging":
            guests.extend(_children(os.getpid()))
            raise KeyboardInterrupt

    from privdistill import pipeline

    with pytest.raises(KeyboardInterrupt):
        pipeline.generate(told.config, run=told.run, ledger=told.ledger, progress=progress)
    assert guests
    assert not [guest for guest in guests if _alive(guest)]
    assert json.loads((told.run / "run.json").read_text())["status"] == "interrupted"
    assert 3.96 < told.charged <= 4.0


def test_a_guest_is_told_only_what_is_listed(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PRIVDISTILL_LEDGER", "PGPASSWORD", "AWS_SECRET_ACCESS_KEY", "PYTHONSTARTUP", "LD_PRELOAD"):
        monkeypatch.setenv(name, "secret")
    from importlib.metadata import EntryPoint

    install()
    lodging = Lodging.prepare(EntryPoint("acme", "acme_recipe:Recipe", "privdistill.recipes"))
    try:
        assert "secret" not in str(lodging.environment())
        assert Path(lodging.environment()["HOME"]) == lodging.home
        assert not list(lodging.home.iterdir())
        assert not {str(Path.cwd()), str(Path.home()), str(ROOT), "/", "/etc", "/proc", "/tmp"} & set(lodging.readable)
        assert not [place for place in lodging.readable if ROOT.is_relative_to(place)]
    finally:
        lodging.end()
    assert not lodging.folder.exists()


def test_of_a_folder_on_the_module_path_only_modules_are_given(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib.metadata import EntryPoint

    place = tmp_path / "checkout"
    (place / "package").mkdir(parents=True)
    (place / "runs" / "private").mkdir(parents=True)
    for file in ("package/__init__.py", "module.py", "corpus.csv", "ledger.sqlite3", "runs/private/train.parquet"):
        (place / file).write_text("")
    monkeypatch.syspath_prepend(str(place))
    install()
    lodging = Lodging.prepare(EntryPoint("acme", "acme_recipe:Recipe", "privdistill.recipes"))
    try:
        inside = {
            Path(given).relative_to(place).as_posix() for given in lodging.readable if given.startswith(str(place))
        }
        assert inside == {"package", "module.py"}
        assert str(place) not in lodging.path
    finally:
        lodging.end()


def test_an_entry_point_that_names_a_folder_of_records_is_not_given_it(in_folder: Path, monkeypatch) -> None:
    from importlib.metadata import EntryPoint

    (in_folder / "runs" / "one" / "private").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(in_folder))  # as `python -m` does
    for value in ("runs:Recipe", "runs.one.private:Recipe", "__main__:Recipe", "no_such_module:Recipe"):
        lodging = Lodging.prepare(EntryPoint("acme", value, "privdistill.recipes"))
        try:
            assert not [given for given in lodging.readable if given.startswith(str(in_folder))], value
        finally:
            lodging.end()


def test_before_the_fence_stands_nothing_but_the_standard_library_is_loaded() -> None:
    code = "import sys, privdistill.recipes.guest.__main__; print([m.partition('.')[0] for m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(json.loads(done.stdout.replace("'", '"')))
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print([m.partition('.')[0] for m in sys.modules])"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    stood = set(json.loads(bare.stdout.replace("'", '"')))  # what .pth files load in every Python
    assert loaded - stood - set(sys.stdlib_module_names) == {"privdistill"}


def test_a_guest_that_is_dropped_is_ended(install: Install) -> None:
    install()
    recipe = find_recipe("acme")
    (guest,) = _children(os.getpid())
    del recipe
    assert _waited(lambda: not _alive(guest))


def _waited(found: Callable[[], int]) -> int:
    until = time.monotonic() + 240  # a busy machine takes its time to start a Python
    while time.monotonic() < until:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def _children(parent: int) -> list[int]:
    """Guests among the children of a process."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, of = stat.read_text().rpartition(")")[2].split()[:2]
            if int(of) == parent and state != "Z" and b"recipes.guest" in (stat.parent / "cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
