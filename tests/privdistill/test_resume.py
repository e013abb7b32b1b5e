"""An interrupted run goes on under the charge that it has made, or is refused with a sentence: never charged twice."""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger
from privdistill.candidate import read_claim
from privdistill.cli.main import main
from privdistill.config import Privacy, RunConfig, Synthesis
from privdistill.errors import MechanismError, RunError, UsageError
from privdistill.mechanisms import statistic
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.kept import Kept
from privdistill.mechanisms.release import MechanismRecord
from privdistill.recipes import distribution, finetune
from privdistill.recipes.finetune import schedule_for
from privdistill.runs import RunDirectory
from privdistill.synthesis import waves
from tests.privdistill import test_pipeline
from tests.privdistill.mechanisms.test_finetuning import train

recipe, config, ledger, generate = (
    test_pipeline.recipe,
    test_pipeline.config,
    test_pipeline.ledger,
    test_pipeline.generate,
)


class Killed(BaseException):
    """Stands in for a signal at one exact place."""


def killed(monkeypatch: pytest.MonkeyPatch, run: Callable[[], object], place: str, *, after: bool) -> None:
    """Run until `place` and stop there, as a killed process does: nothing is tidied up."""
    owner, _, name = place.rpartition(".")
    target = {"Kept": Kept, "statistic": statistic, "Ledger": Ledger}[owner]
    real = getattr(target, name)

    def stop(*given: object, **more: object) -> object:
        if after:
            real(*given, **more)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, stop)
        patch.setattr(Ledger, "abandon", lambda self, run_id: None)
        with pytest.raises(Killed):
            run()


PLACES = [
    ("statistic.add_discrete_gaussian", False),
    ("Kept.keep", False),
    ("Kept.keep", True),
    ("Ledger.commit", False),
    ("Ledger.commit", True),
]


@pytest.mark.parametrize(("place", "after"), PLACES)
def test_a_run_stopped_anywhere_after_its_charge_goes_on_without_another(
    recipe,
    config: RunConfig,
    ledger: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    after: bool,
) -> None:
    path = tmp_path / "run"
    killed(monkeypatch, lambda: generate(config, ledger, path), place, after=after)
    source = RunDirectory(path).manifest().source_id
    before = Ledger(ledger).total(source)
    kept = (path / "private" / "statistic.release").exists()
    drawn: list[object] = []
    real = statistic.add_discrete_gaussian
    monkeypatch.setattr(statistic, "add_discrete_gaussian", lambda *given: (drawn.append(given), real(*given))[1])
    run = generate(config, ledger, path, resume=True)
    assert len(drawn) == (0 if kept else 1), "what was kept is read; what was not is drawn, once"
    assert Ledger(ledger).total(source) == before
    kinds = [entry.kind for entry in Ledger(ledger).entries(source)]
    noted = ["kept", "resumed", "committed"] if place == "Ledger.commit" else ["resumed", "kept", "committed"]
    noted = ["kept", "committed"] if place == "Ledger.commit" and after else noted  # nothing is left to be made
    assert kinds == ["opened", "joined", "reserved", "drawn", *noted]
    assert Ledger(ledger).verify()[0] == len(kinds)
    assert 0.99 * 4 <= (read_claim(run).epsilon or 0) <= 4
    assert run.manifest().run_id == read_claim(run).run_id
    assert run.manifest().resumed
    assert set(run.manifest().facts) == {"good", "bad"}, "as of a run that nobody stopped"


def test_a_closed_run_with_another_claim_is_not_completed(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run"
    killed(monkeypatch, lambda: generate(config, ledger, path), "Ledger.commit", after=True)
    RunDirectory(path).claim.write_bytes(b"{}")
    with pytest.raises(RunError, match="closed in the ledger"):
        generate(config, ledger, path, resume=True)


def test_what_was_kept_and_is_gone_is_not_drawn_again(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    path = tmp_path / "run"
    killed(monkeypatch, lambda: generate(config, ledger, path), "Ledger.commit", after=False)
    release = path / "private" / "statistic.release"
    content = release.read_bytes()
    release.unlink()
    for _ in range(2):
        with pytest.raises(RunError, match="no longer in its private folder"):
            generate(config, ledger, path, resume=True)
        assert not release.exists()
    release.write_bytes(content)
    assert generate(config, ledger, path, resume=True).manifest().status == "complete"


def test_a_release_that_the_ledger_does_not_know_is_not_handed_out(
    recipe, config, ledger, tmp_path, monkeypatch
) -> None:
    for name in ("one", "two"):
        place = "Kept.keep" if name == "one" else "statistic.add_discrete_gaussian"
        killed(monkeypatch, lambda name=name: generate(config, ledger, tmp_path / name), place, after=name == "one")
    foreign = (tmp_path / "one" / "private" / "statistic.release").read_bytes()
    with monkeypatch.context() as patch:  # a release is there, of a mechanism that was never charged
        patch.setattr("privdistill.accounting.ledger.book.Ledger.draw", lambda *given: None)
        killed(monkeypatch, lambda: generate(config, ledger, tmp_path / "three"), "Kept.keep", after=False)
    (tmp_path / "three" / "private" / "statistic.release").write_bytes(foreign)
    with pytest.raises(MechanismError, match="was not drawn in run"):
        generate(config, ledger, tmp_path / "three", resume=True)


def test_a_finished_training_is_read_and_the_ledger_hears_of_its_first_step(tmp_path: Path) -> None:
    said: list[object] = []

    def kept(record: MechanismRecord) -> None:
        history = Checkpoints(tmp_path).history(record.name)
        said.append(history and history[2])

    first = train(tmp_path, charge=lambda record: said.append("charged"), kept=kept)
    assert said == ["charged", 1]
    second = train(tmp_path, charge=lambda record: said.append("charged"), kept=kept)
    assert said == ["charged", 1, 4]
    assert all(np.array_equal(first.payload[name], second.payload[name]) for name in first.payload)


def test_ctrl_c_leaves_a_run_open_and_a_failure_closes_it(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    for error, path in ((KeyboardInterrupt, tmp_path / "one"), (MechanismError, tmp_path / "two")):

        def fail(*given: object, error: type[BaseException] = error, **more: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr("privdistill.candidate.write_candidate", fail)
            with pytest.raises(error):
                generate(config, ledger, path)
    assert generate(config, ledger, tmp_path / "one", resume=True).manifest().status == "complete"
    with pytest.raises(RunError, match="closed in the ledger"):
        generate(config, ledger, tmp_path / "two", resume=True)


@pytest.mark.parametrize("place", ["Kept.keep", "Ledger.commit"])
def test_a_recipe_cannot_draw_twice_in_a_resumed_run_either(
    recipe, config, ledger, tmp_path, monkeypatch, place: str
) -> None:
    killed(monkeypatch, lambda: generate(config, ledger, tmp_path / "run"), place, after=place == "Kept.keep")
    recipe.ask = ("statistic", "statistic")
    with pytest.raises(MechanismError, match="drawn before"):
        generate(config, ledger, tmp_path / "run", resume=True)


def test_a_resumed_recipe_that_asks_for_something_else_gets_nothing(
    recipe, config, ledger, tmp_path, monkeypatch
) -> None:
    killed(monkeypatch, lambda: generate(config, ledger, tmp_path / "run"), "Kept.keep", after=True)
    with monkeypatch.context() as patch:
        patch.setattr("tests.privdistill.test_pipeline.CountBlock", lambda scale: distribution_block(2 * scale))
        with pytest.raises(RunError, match="asks for another 'statistic'"):
            generate(config, ledger, tmp_path / "run", resume=True)
    assert generate(config, ledger, tmp_path / "run", resume=True)  # and the run is not lost by it


def distribution_block(scale: float):
    from privdistill.mechanisms.release import CountBlock

    return CountBlock(scale)


def _other_corpus(config: RunConfig, path: Path) -> RunConfig:
    rows = Path(config.source.path).read_text().splitlines(keepends=True)
    Path(config.source.path).write_text("".join([*rows[:-1], rows[-1].replace("good,", "bad,").replace("the", "a")]))
    return config


def _other_epsilon(config: RunConfig, path: Path) -> RunConfig:
    return config.model_copy(update={"privacy": Privacy(epsilon=8.0)})


def _edited_manifest(config: RunConfig, path: Path) -> RunConfig:
    found = json.loads((path / "run.json").read_text())
    found["config"]["privacy"]["epsilon"] = 8.0
    (path / "run.json").write_text(json.dumps(found))
    return _other_epsilon(config, path)


def _without_spec(config: RunConfig, path: Path) -> RunConfig:
    (path / "private" / "spec.sha256").unlink()
    return config


def _other_plan(config: RunConfig, path: Path) -> RunConfig:
    """Whoever edits run.json and what was kept of it still meets the ledger."""
    other = _edited_manifest(config, path)
    from privdistill import runs

    (path / "private" / "spec.sha256").write_bytes(runs._digest(other))
    return other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other_corpus, "the corpus is not what it was"),
        (_other_epsilon, "begun with other settings"),
        (_edited_manifest, "begun with other settings"),
        (_without_spec, "kept nothing to go on from"),
        (_other_plan, "charged for another plan"),
    ],
)
def test_a_run_is_resumed_as_it_was_begun_or_not_at_all(
    recipe,
    config,
    ledger,
    tmp_path,
    monkeypatch,
    change: Callable[[RunConfig, Path], RunConfig],
    said: str,
) -> None:
    path = tmp_path / "run"
    killed(monkeypatch, lambda: generate(config, ledger, path), "Kept.keep", after=True)
    entries = len(Ledger(ledger).entries())
    with pytest.raises(RunError, match=said):
        generate(change(config, path), ledger, path, resume=True)
    assert len(Ledger(ledger).entries()) == entries


def test_a_complete_a_running_an_uncharged_and_a_foreign_run_are_refused(
    recipe, config, ledger, tmp_path, monkeypatch
) -> None:
    path = tmp_path / "run"
    killed(monkeypatch, lambda: generate(config, ledger, path), "Kept.keep", after=True)
    with FileLock(path / "private" / "lock"), pytest.raises(RunError, match="by another process"):
        generate(config, ledger, path, resume=True)
    with pytest.raises(UsageError, match="no ledger"):
        generate(config, str(tmp_path / "other.sqlite3"), path, resume=True)
    generate(config, ledger, path, resume=True)
    with pytest.raises(RunError, match="is complete"):
        generate(config, ledger, path, resume=True)
    with monkeypatch.context() as patch:
        patch.setattr("privdistill.models.loading.load_models", lambda *given: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            generate(config, ledger, tmp_path / "early")
    with pytest.raises(RunError, match="before it was charged for anything; start a new run"):
        generate(config, ledger, tmp_path / "early", resume=True)


def test_what_claims_nothing_is_not_resumed(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    plain = config.model_copy(update={"synthesis": Synthesis(recipe="passthrough", rows=20), "privacy": Privacy()})
    killed(monkeypatch, lambda: generate(plain, ledger, tmp_path / "run"), "Ledger.commit", after=False)
    with pytest.raises(RunError, match="start a new run"):
        generate(plain, ledger, tmp_path / "run", resume=True)


# ------------------------------------------------------------------------ kill -9 through the command line, at random

KILLS = 4


def id_of(run: Path) -> str | None:
    return RunDirectory(run).id if (run / "run.json").exists() else None


def main_ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


@pytest.fixture
def deep_language_model(tiny_language_model: Path, tmp_path: Path) -> Path:
    """As many layers as the recipe trains, and one below the cut."""
    import torch
    from transformers import AutoConfig, LlamaForCausalLM

    folder = tmp_path / "deep"
    shutil.copytree(tiny_language_model, folder)
    shape = AutoConfig.from_pretrained(tiny_language_model)
    shape.num_hidden_layers = finetune._LAYERS + 1
    LlamaForCausalLM(shape).to(torch.bfloat16).save_pretrained(folder)
    return folder


def test_a_finetune_run_killed_at_random_points_ends_with_the_accounts_of_one_that_was_not(
    toy_csv: Path, deep_language_model: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process is the whole command line; it is killed wherever it happens to be, and resumed by the next one."""
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (32, 32))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 8)
    monkeypatch.setattr(finetune, "_POOL_TOKENS", 8)
    for name in ("_WAVES", "_EXTRA_WAVES"):  # what is written after the training is not what is tested here
        monkeypatch.setattr(waves, name, 1)
    known: dict[str, Budget] = {}  # the same arguments give the same budget, and every process would compute it twice

    def calibrate_once(*given: object, **more: object) -> Budget:
        key = repr((given, more))
        if key not in known:
            known[key] = calibrate(*given, **more)
        return known[key]

    monkeypatch.setattr("privdistill.planning.calibrate", calibrate_once)
    book, steps = tmp_path / "ledger.sqlite3", schedule_for(400)[1]
    spec = (
        f"generate {toy_csv} --epsilon 8 --label-column label --labels good,bad --size 400 --recipe finetune --rows 8"
    )
    spec += f" --model {deep_language_model} --encoder {tiny_encoder} --dtype float32 --threads 1 --ledger {book}"
    spec += " --quiet --run "

    def start(*arguments: str) -> int:
        child = os.fork()
        if child == 0:
            try:
                torch.set_num_threads(1)  # the threads of the parent are not here, and waiting for them has no end
                signal.alarm(120)
                os.dup2(os.open(tmp_path / "said", os.O_CREAT | os.O_WRONLY | os.O_APPEND), 2)
                main(list(arguments))
            except SystemExit as ended:
                os._exit(int(ended.code or 0))
            finally:
                os._exit(1)
        return child

    def accounts(run: Path) -> tuple[object, ...]:
        claim, found = read_claim(RunDirectory.open(run)), Ledger(book)
        (reserved,) = [e for e in found.entries() if e.kind == "reserved" and e.run_id == claim.run_id]
        charged = {key: reserved.body[key] for key in ("mechanisms", "budget", "charge")}
        # A sensitivity is computed from public texts that every run writes anew: the last digit may differ.
        told = [one.model_dump_json() for one in claim.mechanisms]
        drawn = [json.loads(one, parse_float=lambda number: f"{float(number):.12g}") for one in told]
        return claim.epsilon, claim.delta, drawn, charged, Checkpoints(run / "private").history("generator")

    assert main_ended("plan", *spec.split()[1:-1]) == 0  # fills `known` for the processes to come

    def ended(child: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def persisted(run: Path) -> int:
        history = Checkpoints(run / "private").history("generator") if (run / "private").exists() else None
        return history[2] if history else 0

    whole, begun = tmp_path / "whole", time.monotonic()
    assert ended(start(*spec.split(), str(whole))) == 0, (tmp_path / "said").read_text()
    usual = time.monotonic() - begun
    draw, runs, command = random.Random(), [whole], list[str]()
    for kill in range(KILLS):
        if not command:
            runs.append(tmp_path / f"run{kill}")
            command = [*spec.split(), str(runs[-1])]
        child = start(*command)
        if kill % 2:  # amid the training, after a step drawn at random (or at once, if there were more before)
            target, before = draw.randrange(1, steps), time.monotonic()
            while persisted(runs[-1]) < target and time.monotonic() < before + 300:
                time.sleep(0.002)
            time.sleep(draw.uniform(0, 0.1))
        else:  # anywhere
            time.sleep(draw.uniform(0.1, 0.9) * usual)
        os.kill(child, signal.SIGKILL)
        code = ended(child)
        assert code in (0, 2, -signal.SIGKILL), (tmp_path / "said").read_text()
        charged = any(entry.kind == "reserved" for entry in Ledger(book).entries() if entry.run_id == id_of(runs[-1]))
        assert code != 2 or not charged, (tmp_path / "said").read_text()
        # What was not charged yet is begun anew; what completed before the signal came is done.
        command = ["generate", "--resume", str(runs[-1]), "-q"] if charged and code else []
    assert not command or ended(start(*command)) == 0, (tmp_path / "said").read_text()
    complete = [run for run in runs if id_of(run) and RunDirectory(run).manifest().status == "complete"]
    assert len(complete) > 1
    for run in complete:
        assert accounts(run) == accounts(whole)
    (found := Ledger(book)).verify()
    reservations = [entry for entry in found.entries() if entry.kind == "reserved"]
    assert found.total(reservations[0].source_id).attempts == len(reservations) <= len(runs)
    assert any(entry.kind == "resumed" for entry in found.entries())
