"""Twenty kill -9 at random points of runs that train a model: the accounts are those of runs that were left alone.

Every process is the whole of `generate` (corpus, ledger, statistic, DP-SGD, claim) on models of the size of a toy, so
that twenty fit into a test; `test_resume.py` does a few through the command line with a real recipe.
"""

import json
import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from audits.findings import Model
from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger
from privdistill.candidate import read_claim
from privdistill.config import Privacy, RunConfig
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.release import ClassRule, CountBlock, FinetuneRequest, StatisticRequest
from privdistill.models import loading
from privdistill.recipes.base import PlannedMechanism, Rows
from privdistill.runs import RunDirectory
from tests.privdistill import test_pipeline
from tests.privdistill.families import ToyModel, make_network
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens
from tests.privdistill.test_pipeline import generate

config = test_pipeline.config

KILLS, STEPS = 20, 8


class TrainingRecipe:
    """Counts the classes, then trains adapters; its rows are public sentences."""

    name = "training"

    def mechanisms(self, task):
        return (
            PlannedMechanism("statistic", "gaussian", 0.5),
            PlannedMechanism("generator", "sampled-gaussian", 0.5, 0.1, STEPS),
        )

    def noise_floor(self, task, noise_multipliers):
        return 5 * noise_multipliers["statistic"]

    def run(self, context):
        rule = ClassRule(context.task.labels)
        yield StatisticRequest("statistic", rule, (CountBlock(1.0),))
        yield FinetuneRequest(
            name="generator",
            classes=rule,
            model="toy",
            layers=2,
            rank=2,
            prompts=(("good:",), ("bad:",)),
            end=1,
            max_tokens=12,
            shortlist=None,
            max_grad_norm=0.5,
            expected_units=200.0,
            learning_rate=0.01,
        )
        texts = tuple(f"public sentence number {i}" for i in range(context.task.rows))
        return Rows(texts, tuple(rule.names[i % 2] for i in range(len(texts))), None, rule.names)


@pytest.fixture
def spec(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    encoder = TextEncoder(ToySentences(), ToyTokens(), 16)
    named = tuple(Model(role=role, id="toy", sha256=None) for role in ("encoder", "language-model"))
    models = loading.Models(encoder, ToyModel(make_network("llama")), named)
    monkeypatch.setattr(loading, "load_models", lambda *given: models)
    monkeypatch.setattr("privdistill.planning.find_recipe", lambda name: TrainingRecipe())
    known: dict[str, Budget] = {}  # every process would work out the same budget for seconds

    def calibrate_once(*given: object, **more: object) -> Budget:
        key = repr((given, more))
        if key not in known:
            known[key] = calibrate(*given, **more)
        return known[key]

    monkeypatch.setattr("privdistill.planning.calibrate", calibrate_once)
    synthesis = config.synthesis.model_copy(update={"recipe": "training"})
    return config.model_copy(update={"privacy": Privacy(epsilon=1.0), "synthesis": synthesis})


class _Runs:
    """Runs of one ledger, each in a process of its own."""

    def __init__(self, spec: RunConfig, folder: Path) -> None:
        folder.mkdir()
        self.spec, self.folder, self.book = spec, folder, str(folder / "ledger.sqlite3")
        self.paths: list[Path] = []
        self.resume = False

    def start(self) -> int:
        """Go on with the run at hand where it was charged and has not ended, or begin another one."""
        if not self.resume:
            self.paths.append(self.folder / f"run{len(self.paths)}")
        child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)  # threads of the parent are not here, and waiting for them has no end
                signal.alarm(120)
                os.dup2(os.open(self.folder / "said", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
                generate(self.spec, self.book, self.paths[-1], resume=self.resume)
                os._exit(0)
            except BaseException as error:
                os.write(2, f"{type(error).__name__}: {error}\n".encode())
            finally:
                os._exit(1)
        return child

    def end(self, child: int) -> None:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, -signal.SIGKILL), (self.folder / "said").read_text()
        self.resume = code != 0 and self.noted(self.paths[-1], "reserved")

    def noted(self, path: Path, kind: str) -> bool:
        """Whether the ledger has such an entry of a run."""
        found = RunDirectory(path).id if (path / "run.json").exists() else None
        return any(one.kind == kind and one.run_id == found for one in Ledger(self.book).entries())

    def persisted(self) -> int:
        private = self.paths[-1] / "private"
        history = Checkpoints(private).history("generator") if private.exists() else None
        return history[2] if history else 0

    def accounts(self, path: Path) -> tuple[object, ...]:
        """What was claimed, reserved, drawn, persisted, and every entry but those of going on."""
        run, book = RunDirectory(path), Ledger(self.book)
        claim = read_claim(run)
        mine = [one for one in book.entries() if one.run_id == claim.run_id]
        (reserved,) = [one.body for one in mine if one.kind == "reserved"]
        return (
            (claim.epsilon, claim.delta, [one.model_dump_json() for one in claim.mechanisms]),
            json.dumps([reserved[key] for key in ("mechanisms", "budget", "charge")], sort_keys=True),
            [{key: one[key] for key in one if key != "run_id"} for one in book.mechanisms(claim.run_id)],
            Checkpoints(run.private).history("generator"),
            Counter(one.kind for one in mine if one.kind != "resumed"),
        )


def test_twenty_kills_leave_the_accounts_of_runs_that_were_left_alone(spec: RunConfig, tmp_path: Path) -> None:
    whole, killed = _Runs(spec, tmp_path / "whole"), _Runs(spec, tmp_path / "killed")
    generate(spec, str(tmp_path / "first.sqlite3"), tmp_path / "first")  # processes to come find everything loaded
    begun = time.monotonic()
    whole.end(whole.start())
    usual = time.monotonic() - begun
    draw, places = random.Random(), Counter[str]()
    for kill in range(KILLS):
        child, before = killed.start(), time.monotonic()
        if kill % 2:  # amid the training, after a step drawn at random, or at once if there were more before
            target = draw.randrange(1, STEPS)
            while killed.persisted() < target and time.monotonic() < before + 60:
                time.sleep(0.001)
            time.sleep(draw.uniform(0, 0.1) * usual)
        else:  # anywhere
            time.sleep(draw.uniform(0, 1.0) * usual)
        os.kill(child, signal.SIGKILL)
        killed.end(child)
        places["charged" if killed.resume else "before or after"] += 1
    if killed.resume:
        killed.end(killed.start())
    assert places["charged"] >= 3, places
    complete = [one for one in killed.paths if (one / "run.json").exists() and killed.noted(one, "reserved")]
    for path in complete:
        assert killed.accounts(path) == whole.accounts(whole.paths[0])
    # What the source has lost is what as many runs cost that nobody killed: a kill is neither free nor charged twice.
    while len(whole.paths) < len(complete):
        whole.end(whole.start())
    totals = []
    for runs in (whole, killed):
        book = Ledger(runs.book)
        book.verify()
        (source,) = {one.source_id for one in book.entries() if one.kind == "reserved"}
        totals.append(book.total(source))
    assert totals[0] == totals[1]
    assert totals[1].attempts == len(complete)
    assert any(one.kind == "resumed" for one in Ledger(killed.book).entries())
