"""`plan`, `generate` and `run`: what reaches the pipeline, and what reaches stdout."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from audits.findings import AuditReport
from privdistill.config import RunConfig
from privdistill.policy.decision import Decision
from privdistill.runs import RunDirectory
from tests.privdistill.cli.test_release import audit_report, decision


@dataclass
class Plan:
    """A plan as far as the command line reads it."""

    refusal: str | None = None
    warnings: tuple[str, ...] = ("the corpus size is not declared",)
    budget: object | None = "calibrated"

    def lines(self) -> list[str]:
        return ["privacy   epsilon 8", *(f"warning   {warning}" for warning in self.warnings)]

    def as_dict(self) -> dict[str, Any]:
        return {"epsilon": 8.0, "refusal": self.refusal}


@dataclass
class Calls:
    """What the pipeline was called with."""

    config: RunConfig | None = None
    run: Path | None = None
    ledger: str | None = None
    order: list[str] = field(default_factory=list)
    plan: Plan = field(default_factory=Plan)
    verdict: str = "allow"


@pytest.fixture
def calls(pipeline: ModuleType) -> Calls:
    seen = Calls()

    def plan(config: RunConfig) -> Plan:
        seen.config = config
        return seen.plan

    def generate(
        config: RunConfig,
        *,
        run: Path | None,
        ledger: str | None,
        resume: bool,
        progress: Callable,
        notice: Callable[[str], None],
    ) -> Path:
        seen.order.append("resume" if resume else "generate")
        notice("one class is small")
        seen.config, seen.run, seen.ledger = config, run, ledger
        progress("sampling", 1, 2)
        return run or Path("runs/one")

    def audit(run: Path, *, progress: Callable | None = None) -> AuditReport:
        seen.order.append("audit")
        return audit_report("pass")

    def release(run: Path, *, policy: str, out: Path) -> tuple[Decision, Path | None]:
        seen.order.append(f"release under {policy}")
        return decision(seen.verdict), out if seen.verdict == "allow" else None

    for function in (plan, generate, audit, release):
        setattr(pipeline, function.__name__, function)
    return seen


def test_generate_prints_the_run_and_nothing_else(cli: Callable, calls: Calls, in_folder: Path) -> None:
    ended = cli("generate", "x.csv", "--epsilon", "8")
    assert (ended.code, ended.out) == (0, "runs/one\n")
    assert "warning: the corpus size is not declared" in ended.err
    assert "note: one class is small" in ended.err
    assert "next: privdistill audit runs/one" in ended.err
    assert "sampling" not in ended.err  # no bars off a terminal


def test_quiet_leaves_stderr_empty(cli: Callable, calls: Calls, in_folder: Path) -> None:
    ended = cli("generate", "x.csv", "--epsilon", "8", "-q")
    assert (ended.code, ended.out, ended.err) == (0, "runs/one\n", "")


@pytest.mark.parametrize("quiet", [(), ("-q",)])
def test_a_recipe_that_copies_says_so_loudly(cli: Callable, calls: Calls, in_folder: Path, quiet: tuple) -> None:
    calls.plan.budget = None
    ended = cli("generate", "x.csv", "--recipe", "passthrough", *quiet)
    assert (ended.code, ended.out) == (0, "runs/one\n")
    assert "warning: THIS RUN COPIES PRIVATE RECORDS AS THEY ARE: no noise, no protection" in ended.err


@pytest.mark.parametrize("command", ["plan", "generate", "run"])
def test_epsilon_beside_a_recipe_that_claims_nothing_is_refused(
    cli: Callable, calls: Calls, in_folder: Path, command: str
) -> None:
    calls.plan.budget = None
    ended = cli(command, "x.csv", "--recipe", "passthrough", "--epsilon", "8")
    assert (ended.code, ended.out) == (2, "")
    assert "copies private records without any protection, so epsilon would be ignored" in ended.err
    assert calls.order == []


def test_every_option_reaches_the_configuration(cli: Callable, calls: Calls, in_folder: Path) -> None:
    given = (
        "x.csv --epsilon 8 --delta 1e-7 --text-column t --label-column l --labels a,b --unit person"
        " --contribution-bound 3 --size 900 --source ward --ledger l.sqlite3 --recipe passthrough --model some/model"
        " --encoder other/model --rows 7 --holdout 0.2 --run out --batch-size 5 --dtype float32 --threads 2"
        " --cap-epsilon 30 --cap-delta 1e-5 --canaries 40 --soft-label-temperature 4 --teachers mean"
        " --tuned-weights whole --tuned-layers 2 --vocabulary-shortlist 300 --class-shares counted --refinement admm"
        " --matcher metamodel --gradient-checkpointing --base-weights 8-bit --no-rationales --device-map cpu"
    ).split()
    assert cli("generate", *given, "--describe", "short notes").code == 0
    assert calls.config is not None
    assert calls.config.model_dump(exclude={"source": {"label_descriptions"}, "synthesis": {"max_tokens"}}) | {
        "performance": calls.config.performance.model_dump(exclude={"pool_factor"})
    } == {
        "source": {
            "path": "x.csv",
            "name": "ward",
            "text_column": "t",
            "fields": (),
            "label_column": "l",
            "labels": ("a", "b"),
            "unit": "person",
            "contribution_bound": 3,
            "size": 900,
            "holdout": 0.2,
            "cap_epsilon": 30.0,
            "cap_delta": 1e-5,
            "canaries": 40,
        },
        "privacy": {"epsilon": 8.0, "delta": 1e-7},
        "synthesis": {
            "recipe": "passthrough",
            "rows": 7,
            "describe": "short notes",
            "model": "some/model",
            "base_weights": "8-bit",
            "encoder": "other/model",
            "refinement": "admm",
            "class_shares": "counted",
            "matcher": "metamodel",
            "tuned_weights": "whole",
            "tuned_layers": 2,
            "vocabulary_shortlist": 300,
            "soft_label_temperature": 4.0,
            "teachers": "mean",
            "rationales": False,
        },
        "performance": {
            "batch_size": 5,
            "dtype": "float32",
            "gradient_checkpointing": True,
            "device_map": "cpu",
            "threads": 2,
        },
    }
    assert (calls.run, calls.ledger) == (Path("out"), "l.sqlite3")


def test_generate_takes_the_corpus_from_the_file(cli: Callable, calls: Calls, in_folder: Path) -> None:
    (in_folder / "privdistill.yaml").write_text("source: {path: mine.csv}\n")
    ended = cli("generate", "--epsilon", "8")
    assert ended.code == 0
    assert f"using {in_folder / 'privdistill.yaml'}" in ended.err
    assert calls.config is not None
    assert calls.config.source.path == str(in_folder / "mine.csv")


def test_json_owns_stdout(cli: Callable, calls: Calls, in_folder: Path) -> None:
    assert json.loads(cli("generate", "x.csv", "--epsilon", "8", "--json").out) == {"run": "runs/one"}
    assert json.loads(cli("plan", "x.csv", "--epsilon", "8", "--json").out) == {"epsilon": 8.0, "refusal": None}
    document = json.loads(cli("run", "x.csv", "--epsilon", "8", "--json").out)
    assert document["run"] == "runs/one"
    assert document["bundle"] == "runs/one/release"
    assert document["decision"]["verdict"] == "allow"


def test_plan_prints_and_spends_nothing(cli: Callable, calls: Calls, in_folder: Path) -> None:
    ended = cli("plan", "x.csv", "--epsilon", "8")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "privacy   epsilon 8")
    assert calls.order == []


def test_a_refused_plan_exits_2(cli: Callable, calls: Calls, in_folder: Path) -> None:
    calls.plan = Plan(refusal="too small")
    assert cli("plan", "x.csv", "--epsilon", "8").code == 2


@pytest.mark.parametrize("option", ["--model", "--encoder"])
def test_plan_names_a_model_that_generate_would_not_find(
    cli: Callable, calls: Calls, in_folder: Path, option: str
) -> None:
    ended = cli("plan", "x.csv", "--epsilon", "8", option, "./nowhere")
    assert (ended.code, ended.out) == (2, "")
    assert "no model at ./nowhere; give" in ended.err
    assert cli("plan", "x.csv", "--epsilon", "8", option, "some/id").code == 0


@pytest.mark.parametrize(("verdict", "code"), [("allow", 0), ("deny", 10), ("indeterminate", 3)])
def test_run_goes_all_the_way_and_ends_with_the_decision(
    cli: Callable, calls: Calls, in_folder: Path, verdict: str, code: int
) -> None:
    calls.verdict = verdict
    ended = cli("run", "x.csv", "--epsilon", "8", "--policy", "internal", "--out", "bundle", "--run", "r")
    assert ended.code == code
    assert calls.order == ["generate", "audit", "release under internal"]
    assert "run r\n" in ended.out
    assert ("bundle bundle\n" in ended.out) == (verdict == "allow")


def test_run_decides_under_public_when_no_policy_is_named(cli: Callable, calls: Calls, in_folder: Path) -> None:
    cli("run", "x.csv", "--epsilon", "8")
    assert calls.order[-1] == "release under public"


def test_a_misspelt_policy_costs_nothing(cli: Callable, calls: Calls, in_folder: Path) -> None:
    ended = cli("run", "x.csv", "--epsilon", "8", "--policy", "intern")
    assert ended.code == 2
    assert calls.order == []


def test_an_occupied_bundle_costs_nothing(cli: Callable, calls: Calls, in_folder: Path) -> None:
    (in_folder / "bundle").mkdir()
    ended = cli("run", "x.csv", "--epsilon", "8", "--policy", "internal", "--out", "bundle")
    assert ended.code == 2
    assert calls.order == []


def begun(folder: Path, config: RunConfig) -> Path:
    """A run that was killed after its manifest was written."""
    _, manifest = RunDirectory.begin(folder, config=config, ledger=str(folder / "ledger"), source_id="s")
    RunDirectory(folder).write_manifest(manifest)
    return folder


def test_a_resumed_run_takes_its_settings_from_the_run(cli: Callable, calls: Calls, in_folder: Path) -> None:
    told = RunConfig.model_validate({"source": {"path": "x.csv"}, "privacy": {"epsilon": 3.0}})
    run = begun(in_folder / "r", told)
    for flags in ((), ("x.csv", "--epsilon", "3", "--ledger", str(run / "ledger")), ("--run", run)):
        calls.config = None
        assert cli("generate", "--resume", run, *flags).code == 0
        assert (calls.config, calls.run, calls.ledger) == (told, run, str(run / "ledger"))
    assert calls.order == ["resume"] * 3


@pytest.mark.parametrize(
    "flags", [("--epsilon", "4"), ("y.csv",), ("--labels", "a,b"), ("--ledger", "other"), ("--run", "another")]
)
def test_a_resumed_run_cannot_be_told_anything_else(
    cli: Callable, calls: Calls, in_folder: Path, flags: tuple[str, ...]
) -> None:
    told = RunConfig.model_validate({"source": {"path": "x.csv"}, "privacy": {"epsilon": 3.0}})
    ended = cli("generate", "--resume", begun(in_folder / "r", told), *flags)
    assert (ended.code, calls.order) == (2, [])
    assert "leave" in ended.err


def test_nothing_to_resume_is_said(cli: Callable, calls: Calls, in_folder: Path) -> None:
    ended = cli("generate", "--resume", in_folder / "nowhere")
    assert ended.code == 2
    assert "not a run directory" in ended.err
