"""The wheel: what is in it, that it works without the checkout, and that the constraints pin what is declared."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
POLICIES = ("finance.yaml", "health.yaml", "internal.yaml", "public.yaml", "research.yaml")


def run(*command: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "-w", folder, ROOT)
    (built,) = folder.glob("privdistill-*.whl")
    return built


def test_the_wheel_holds_both_packages_and_the_policies(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"privdistill/_policies/{name}" for name in POLICIES} <= names
    assert {f"audits/schemas/{name}.json" for name in ("audit-v1", "audit-public-v1", "claim-v1")} <= names
    pages = {path.name for path in (ROOT / "docs" / "checks").glob("*.md")}
    assert {f"audits/_pages/{name}" for name in pages} <= names
    for package in ("privdistill", "audits"):
        for path in (ROOT / package).rglob("*.py"):
            assert path.relative_to(ROOT).as_posix() in names
    top = {name.split("/")[0] for name in names}
    assert top == {"privdistill", "audits", f"privdistill-{PROJECT['version']}.dist-info"}
    assert not [name for name in names if name.endswith((".bin", ".gguf", ".safetensors", ".csv", ".pyc"))]


def test_the_wheel_declares_script_plug_ins_and_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    about = f"privdistill-{PROJECT['version']}.dist-info"
    declared = archive.read(f"{about}/entry_points.txt").decode()
    assert "privdistill = privdistill.cli.main:main" in declared
    assert "[privdistill.recipes]" in declared
    metadata = Parser().parsestr(archive.read(f"{about}/METADATA").decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert f"{about}/licenses/LICENSE" in archive.namelist()


def test_the_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'installed')!r})\n"
        "import privdistill, audits\n"
        "from privdistill.policy.load import load_policy, shipped_policies\n"
        "names = shipped_policies()\n"
        "print(privdistill.__file__, *names, *(load_policy(name).policy.name for name in names))\n"
    )
    place, *names = run(sys.executable, "-c", code, cwd=tmp_path).split()
    assert Path(place).is_relative_to(tmp_path / "installed")
    assert names == ["finance", "health", "internal", "public", "research"] * 2


def test_the_checkout_reads_its_own_policies() -> None:
    from privdistill.policy.load import load_policy

    for name in POLICIES:
        assert load_policy(Path(name).stem).text == (ROOT / "policies" / name).read_text(encoding="utf-8")


def test_the_installed_entry_points_load() -> None:
    for entry in entry_points(group="privdistill.recipes"):
        if entry.dist is not None and entry.dist.name == "privdistill":
            assert entry.load().__name__.endswith("Recipe")


def test_constraints_pin_every_direct_dependency_and_nothing_else() -> None:
    def name(requirement: str) -> str:
        found = re.match(r"[A-Za-z0-9._-]+", requirement)
        assert found
        return re.sub(r"[-_.]+", "-", found.group()).lower()

    declared = {name(item) for item in (*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"])}
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert all(re.fullmatch(r"[a-z0-9._-]+==[\w.]+", line) for line in lines)
    assert {name(line) for line in lines} == declared
    assert lines == sorted(lines)
    assert "torch==2.13.0" in lines


def test_the_version_is_written_once() -> None:
    assert version("privdistill") == PROJECT["version"]
    assert f"## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_make_has_the_targets_that_the_readme_promises() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "check", "bench"):
        assert re.search(rf"^{target}: \$\(READY\)$", makefile, re.MULTILINE), f"{target} must do its own set-up"
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make check" in ci
    assert "make test" in ci
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
