"""The house rules, held by machine: imports, names, sizes, `__all__`, README tree, no side effects of importing."""

import ast
import importlib
import json
import re
import statistics
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = ("privdistill", "audits")
SHIPPED = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PYTHON = sorted(
    path
    for folder in (*PACKAGES, "tests", "benchmarks", "examples")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
MAX_LINES, MEDIAN_LINES, MAX_MODULES = 400, 150, 12
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "core"}


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> set[str]:
    """Dotted names of every import in a file, wherever it stands; `from a import b` gives `a` and `a.b`."""
    found = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter over the packages in `folder`, in a process of its own: it re-configures logging."""
    command = (
        "import sys; sys.path.insert(0, ''); from importlinter.cli import lint_imports_command; lint_imports_command()"
    )
    return subprocess.run(
        [sys.executable, "-c", command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False
    )


def test_import_contracts_hold() -> None:
    done = lint_imports(ROOT)
    assert done.returncode == 0, done.stdout
    assert re.search(r"[1-9]\d* kept, 0 broken", done.stdout)


def test_an_import_contract_can_break(tmp_path: Path) -> None:
    """The contracts bind: with one forbidden import planted in a copy, the linter fails and names it."""
    for package in PACKAGES:
        for path in SHIPPED:
            if path.is_relative_to(ROOT / package):
                copy = tmp_path / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(path.read_bytes())
    (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    planted = {
        "audits/registry.py": "import opacus",
        "privdistill/matching/__init__.py": "from privdistill.corpus import read",
        "privdistill/synthesis/__init__.py": "from privdistill.mechanisms.noise import *",
        "privdistill/report/__init__.py": "import audits.registry",
        "privdistill/policy/__init__.py": "import torch",
        "privdistill/errors.py": "import privdistill.config",
    }
    for path, line in planted.items():
        with (tmp_path / path).open("a", encoding="utf-8") as stream:
            stream.write(f"\n{line}\n")
    done = lint_imports(tmp_path)
    assert done.returncode == 1
    report = " ".join(done.stdout.split())
    for path in planted:
        assert module_of(ROOT / path) in report.partition("Broken contracts")[2], path
    assert report.count("BROKEN") >= len(planted)


@pytest.mark.parametrize("path", [p for p in SHIPPED if p.is_relative_to(ROOT / "privdistill")], ids=name_of)
def test_privdistill_sees_only_the_findings_of_audits(path: Path) -> None:
    seen = {name for name in imports_of(path) if name.split(".")[0] == "audits"}
    assert all(name == "audits" or name.startswith("audits.findings") for name in seen), seen
    assert "audits" not in seen or "audits.findings" in seen


def test_only_pipeline_joins_corpus_and_mechanisms() -> None:
    for path in SHIPPED:
        seen = imports_of(path)
        corpus = any(name.startswith("privdistill.corpus") for name in seen)
        doors = any(
            name.startswith("privdistill.mechanisms.") and not name.startswith("privdistill.mechanisms.release")
            for name in seen
        )
        assert not (corpus and doors) or name_of(path) == "privdistill/pipeline.py", name_of(path)


def test_there_are_no_import_cycles() -> None:
    import grimp

    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            chain = graph.find_shortest_chain(importer=imported, imported=module)
            assert chain is None or chain == (imported,), f"{module} -> {' -> '.join(chain or ())}"


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_no_file_outgrows_its_limit(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("package", PACKAGES)
def test_the_median_file_is_short(package: str) -> None:
    lengths = [
        len(path.read_text(encoding="utf-8").splitlines()) for path in SHIPPED if path.is_relative_to(ROOT / package)
    ]
    assert statistics.median(lengths) <= MEDIAN_LINES


def test_pipeline_stays_a_map() -> None:
    assert len((ROOT / "privdistill" / "pipeline.py").read_text(encoding="utf-8").splitlines()) <= 150


def test_no_folder_holds_too_many_modules() -> None:
    for folder in {path.parent for path in SHIPPED}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MAX_MODULES, f"{name_of(folder)}: {len(modules)}"


def test_no_module_has_a_name_that_says_nothing() -> None:
    for path in PYTHON:
        words = {part.removeprefix("_") for part in path.relative_to(ROOT).with_suffix("").parts}
        assert not words & FORBIDDEN_NAMES, name_of(path)


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_all_is_sorted_and_true(path: Path) -> None:
    if path.name == "__main__.py":
        return
    module = importlib.import_module(module_of(path))
    names = getattr(module, "__all__", None)
    if names is None:
        assert path.name == "__init__.py", "every module says what it exports"
        return
    assert len(set(names)) == len(names)
    # Constants, then classes, then functions: the order that ruff keeps (RUF022).
    assert names == sorted(names, key=lambda n: (0 if n.isupper() else 1 if n[:1].isupper() else 2, n))
    for name in names:
        assert hasattr(module, name), name


@pytest.mark.parametrize("path", SHIPPED, ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text(encoding="utf-8").strip():
        return
    assert ast.get_docstring(tree_of(path)), "a module opens with what it does and what it does not know"


def test_importing_the_packages_loads_and_changes_nothing() -> None:
    code = """
import json, logging, socket, sys
opened = []
real = socket.socket
class Watched(real):
    def __init__(self, *a, **k):
        opened.append(1)
        super().__init__(*a, **k)
socket.socket = Watched
import privdistill, audits, privdistill.cli.main
print(json.dumps({
    "heavy": sorted({"torch", "numpy", "transformers", "opacus", "opendp", "pandas", "datasets"} & set(sys.modules)),
    "handlers": len(logging.getLogger().handlers), "level": logging.getLogger().level, "sockets": len(opened)}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {"heavy": [], "handlers": 0, "level": 30, "sockets": 0}


def test_importing_every_module_configures_no_logging_and_opens_no_socket() -> None:
    modules = [module_of(path) for path in SHIPPED if path.name != "__main__.py"]
    code = f"""
import importlib, json, logging, random, socket
opened = []
real = socket.socket.connect
def connect(sock, address):
    if sock.family != getattr(socket, "AF_UNIX", None):
        opened.append(str(sock.family))
    return real(sock, address)
socket.socket.connect = connect
state = random.getstate()
for name in {modules!r}:
    importlib.import_module(name)
same = random.getstate() == state
print(json.dumps({{"handlers": len(logging.getLogger().handlers), "sockets": opened, "rng": same}}))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == {"handlers": 0, "sockets": [], "rng": True}


def test_no_noise_seed_and_no_switch_that_turns_noise_off() -> None:
    from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis

    fields = {name for model in (RunConfig, Source, Privacy, Synthesis, Performance) for name in model.model_fields}
    assert not {name for name in fields if re.search(r"seed|noise|no_dp|disable|unsafe", name)}


def test_no_path_of_a_machine_is_in_the_tree() -> None:
    forbidden = re.compile(r"(?<![\w./~-])/(?:work|root|farm)/\w")
    kinds = ("*.py", "*.md", "*.toml", "*.yaml", "*.yml", "*.txt", "*.sh", "Makefile", "run")
    folders = (*PACKAGES, "policies", "tests", "benchmarks", "examples", ".ci")
    files = {path for folder in folders for kind in kinds for path in (ROOT / folder).rglob(kind)}
    files |= {path for kind in kinds for path in ROOT.glob(kind)}
    for path in sorted(files):
        found = forbidden.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{name_of(path)}: {found and found.group()}"


def readme_tree() -> dict[str, str]:
    """Path -> comment, from the annotated tree in README.md."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = (
        text.partition("<!-- tree -->")[2].partition("<!-- /tree -->")[0].partition("```text\n")[2].partition("```")[0]
    )
    found, folders = {}, []
    for line in block.splitlines():
        match = re.fullmatch(r"( *)(\S+)(?:  +(.+))?", line)
        assert match, f"not a line of a tree: {line!r}"
        depth, name, comment = len(match[1]) // 2, match[2], match[3] or ""
        folders = [*folders[:depth], name.rstrip("/")]
        found["/".join(folders) + ("/" if name.endswith("/") else "")] = comment
    return found


def test_the_tree_in_the_readme_is_the_repository() -> None:
    """Every room and every module of the generator's top level is in the tree with a comment, and nothing else is."""
    tree = readme_tree()
    for path, comment in tree.items():
        assert (ROOT / path).exists(), f"README names {path}, which is not there"
        assert comment, f"README says nothing about {path}"
    shown = {path.rstrip("/") for path in tree}
    for package in PACKAGES:
        expected = {
            name_of(path)
            for path in (ROOT / package).iterdir()
            if (path.is_dir() and any(path.glob("*.py"))) or (path.suffix == ".py" and not path.name.startswith("__"))
        }
        assert expected <= shown, f"README's tree lacks {sorted(expected - shown)}"
    assert {"policies", "tests", "benchmarks", "examples"} <= shown
