"""The whole flow on a toy model: order of events, accounts, dead and complete states, refusals."""

import hashlib
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from audits.findings import Model
from privdistill import pipeline
from privdistill.accounting.ledger import Ledger
from privdistill.candidate import read_claim
from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.errors import AssetError, ConfigError, CorpusError, MechanismError, PrivacyError, RunError
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.release import ClassRule, CountBlock, FinetuneRequest, StatisticRequest
from privdistill.models import loading
from privdistill.recipes import registry
from privdistill.recipes.base import PlannedMechanism, Rows
from privdistill.runs import RunDirectory
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens


class CountingRecipe:
    """Releases class counts and writes rows from a word list."""

    name = "counting"
    rows_off = 0
    ask = ("statistic",)

    def mechanisms(self, task):
        return (PlannedMechanism("statistic", "gaussian", 1.0),)

    def noise_floor(self, task, noise_multipliers):
        return 5 * noise_multipliers["statistic"]

    def run(self, context):
        rule = ClassRule(context.task.labels or ("all",), other=context.task.other)
        for name in self.ask:
            release = yield StatisticRequest(name, rule, (CountBlock(1.0),))
        n = context.task.rows + self.rows_off
        texts = tuple(f"public sentence number {i} of {context.rng.integers(10**9)}" for i in range(n))
        counts = {k: float(v) for k, v in zip(rule.names, release.block("count"), strict=True)}
        return Rows(texts, tuple(rule.names[i % len(rule.names)] for i in range(n)), None, rule.names, facts=counts)


FORESEEN = FinetuneRequest(
    name="generator",
    classes=ClassRule(("a",)),
    model="toy",
    layers=1,
    rank=1,
    prompts=(("",),),
    end=0,
    max_tokens=8,
    shortlist=None,
    max_grad_norm=1.0,
    expected_units=1.0,
    learning_rate=1.0,
)


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> type[CountingRecipe]:
    class Fresh(CountingRecipe):
        pass

    models = loading.Models(
        TextEncoder(ToySentences(), ToyTokens(), 16), None, (Model(role="encoder", id="toy", sha256=None),)
    )
    monkeypatch.setattr(loading, "load_models", lambda *args: models)
    real = registry.find_recipe
    monkeypatch.setattr(
        "privdistill.planning.find_recipe", lambda name: Fresh() if name in ("counting", "distribution") else real(name)
    )
    return Fresh


@pytest.fixture
def config(toy_csv: Path) -> RunConfig:
    return RunConfig(
        source=Source(path=str(toy_csv), label_column="label", labels=("good", "bad"), size=400),
        privacy=Privacy(epsilon=4.0),
        synthesis=Synthesis(recipe="counting", rows=30),
    )


@pytest.fixture
def ledger(tmp_path: Path) -> str:
    return str(tmp_path / "ledger.sqlite3")


def quiet(stage: str, done: int, total: int) -> None:
    pass


def generate(config: RunConfig, ledger: str, run: Path | None = None, **more) -> RunDirectory:
    return RunDirectory.open(pipeline.generate(config, run=run, ledger=ledger, progress=quiet, **more))


def test_a_run_has_its_rows_its_claim_and_its_charges(recipe, config: RunConfig, ledger: str, tmp_path: Path) -> None:
    run = generate(config, ledger, tmp_path / "run")
    table = pq.read_table(run.data)
    assert (table.num_rows, table.column_names) == (30, ["text", "label"])
    claim = read_claim(run)
    assert 0.99 * 4 <= (claim.epsilon or 0) <= 4
    assert (claim.privacy_unit, claim.contribution_bound, claim.rows) == ("record", 1, 30)
    assert claim.declarations.labels == ("good", "bad")
    drawn = Ledger(ledger).mechanisms(run.id)
    assert [m["name"] for m in drawn] == ["statistic"]
    assert claim.mechanisms[0].noise_multiplier == drawn[0]["noise_multiplier"]
    assert stat.S_IMODE(os.stat(run.path).st_mode) == stat.S_IMODE(os.stat(run.private).st_mode) == 0o700
    assert all(stat.S_IMODE(os.stat(f).st_mode) == 0o600 for f in run.private.iterdir())


def test_what_can_be_refused_by_public_facts_costs_nothing(
    recipe, config: RunConfig, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before: the label list and the statistic were drawn, and then the model was found to be unfit."""
    asked: list[object] = []

    def refuse(request: object, model: object, contribution_bound: int, records: float) -> None:
        asked.append((request, contribution_bound, records))
        raise AssetError("this model cannot be cut")

    recipe.foreseen = lambda self, task, models: (FORESEEN,)
    known = loading.load_models()
    monkeypatch.setattr(loading, "load_models", lambda *args: replace(known, language_model=object()))
    monkeypatch.setattr("privdistill.mechanisms.finetuning.require_trainable", refuse)
    released = config.model_copy(update={"source": config.source.model_copy(update={"labels": None})})
    for one in (config, released):
        with pytest.raises(AssetError, match="cannot be cut"):
            generate(one, ledger)
    assert asked == [(FORESEEN, 1, pytest.approx(280))] * 2, "the declared size, less the holdout"
    assert all(Ledger(ledger).total(source_id).attempts == 0 for source_id, *_ in Ledger(ledger).sources())


def test_a_run_that_was_charged_is_not_asked_again_whether_it_fits(
    recipe, config: RunConfig, ledger: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may fit all the same, and a refusal would close what was paid for."""
    asked: list[float | None] = []
    recipe.foreseen = lambda self, task, models: (FORESEEN,)
    known = loading.load_models()
    monkeypatch.setattr(loading, "load_models", lambda *args: replace(known, language_model=object()))
    monkeypatch.setattr("privdistill.mechanisms.finetuning.require_trainable", lambda *given: asked.append(given[3]))

    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("privdistill.candidate.write_candidate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            generate(config, ledger, tmp_path / "run")
    generate(config, ledger, tmp_path / "run", resume=True)
    assert asked == [pytest.approx(280), None]


def test_two_runs_with_the_same_spec_differ_and_each_is_accounted(recipe, config, ledger, tmp_path: Path) -> None:
    first, second = (generate(config, ledger, tmp_path / name) for name in ("one", "two"))
    assert first.manifest().facts != second.manifest().facts
    assert first.data.read_bytes() != second.data.read_bytes()
    total = Ledger(ledger).total(first.manifest().source_id)
    assert total.attempts == 2
    assert total.epsilon > 1.3 * (read_claim(first).epsilon or 0)
    # The sides are the source's, not the run's.
    assert (first.private / "holdout.parquet").read_bytes() == (second.private / "holdout.parquet").read_bytes()


def test_undeclared_labels_are_released_first_within_the_same_budget(recipe, config, ledger, tmp_path: Path) -> None:
    source = config.source.model_copy(update={"labels": None})
    run = generate(config.model_copy(update={"source": source}), ledger, tmp_path / "run")
    claim = read_claim(run)
    assert [m.kind for m in claim.mechanisms] == ["gaussian-threshold", "gaussian"]
    assert claim.delta_parts is not None
    assert claim.delta_parts.thresholds > 0
    assert claim.declarations.labels is None
    assert set(run.manifest().facts) == {"good", "bad", "other"}


def test_persons_are_the_unit_when_a_column_says_so(recipe, config, ledger, tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    rows = [f"sentence {i} of somebody,{'good' if i % 2 else 'bad'},person {i // 4}" for i in range(400)]
    path.write_text("\n".join(["text,label,who", *rows]) + "\n")
    source = Source(path=str(path), label_column="label", labels=("good", "bad"), unit="who", contribution_bound=2)
    run = generate(config.model_copy(update={"source": source}), ledger, tmp_path / "run")
    claim = read_claim(run)
    assert (claim.privacy_unit, claim.contribution_bound) == ("who", 2)
    assert set(claim.mechanisms[0].sensitivity_parts) == {"clipped-sum", "units"}
    sides = [set(pq.read_table(run.private / f"{s}.parquet")["unit"].to_pylist()) for s in ("train", "holdout")]
    assert sides[0]
    assert not sides[0] & sides[1]


def test_a_refused_plan_reads_and_spends_nothing(recipe, config: RunConfig, ledger: str, tmp_path: Path) -> None:
    small = config.model_copy(update={"source": config.source.model_copy(update={"size": 8})})
    intent = pipeline.plan(small)
    assert "too small for epsilon" in (intent.refusal or "")
    assert any(line.startswith("refused") for line in intent.lines())
    with pytest.raises(PrivacyError, match="Nothing was spent"):
        generate(small, ledger, tmp_path / "run")
    assert not Path(ledger).exists()
    assert not (tmp_path / "run").exists()


def test_epsilon_is_never_assumed(recipe, config: RunConfig) -> None:
    with pytest.raises(PrivacyError, match="epsilon is not set"):
        pipeline.plan(config.model_copy(update={"privacy": Privacy()}))


def test_an_interrupted_run_is_clearly_dead_and_stays_charged(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("privdistill.candidate.write_candidate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(config, ledger, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "interrupted"
    with pytest.raises(RunError, match="was interrupted"):
        RunDirectory.open(tmp_path / "run")
    source = RunDirectory(tmp_path / "run").manifest().source_id
    assert Ledger(ledger).total(source).attempts == 1
    assert Ledger(ledger).total(source).epsilon > 3.9


def test_an_interruption_before_any_mechanism_costs_nothing(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_models", interrupted)
    with pytest.raises(KeyboardInterrupt):
        generate(config, ledger, tmp_path / "run")
    assert Ledger(ledger).total(RunDirectory(tmp_path / "run").manifest().source_id).attempts == 0


def test_noise_that_was_drawn_is_charged_even_when_the_sum_fails(recipe, config, ledger, tmp_path, monkeypatch) -> None:
    def fail(*args):
        raise MechanismError("planted")

    monkeypatch.setattr("privdistill.mechanisms.statistic.add_discrete_gaussian", fail)
    with pytest.raises(MechanismError):
        generate(config, ledger, tmp_path / "run")
    run = RunDirectory(tmp_path / "run").manifest()
    assert run.status == "failed"
    assert Ledger(ledger).total(run.source_id).epsilon > 3.9


def test_a_recipe_that_asks_twice_or_outside_its_plan_is_stopped(recipe, config, ledger, tmp_path: Path) -> None:
    recipe.ask = ("statistic", "statistic")
    with pytest.raises(MechanismError, match="drawn before"):
        generate(config, ledger, tmp_path / "twice")
    recipe.ask = ("unplanned",)
    with pytest.raises(PrivacyError, match="reserved plan"):
        generate(config, ledger, tmp_path / "unplanned")


def test_a_recipe_that_returns_another_number_of_rows_writes_nothing(recipe, config, ledger, tmp_path: Path) -> None:
    recipe.rows_off = 1
    with pytest.raises(MechanismError, match="exactly 30"):
        generate(config, ledger, tmp_path / "run")
    assert not (tmp_path / "run" / "candidate" / "data.parquet").exists()


@pytest.mark.parametrize("what", ["occupied", "read-only"])
def test_a_run_directory_that_cannot_be_used_costs_nothing(recipe, config, ledger, tmp_path, what: str) -> None:
    target = tmp_path / "run"
    if what == "occupied":
        target.mkdir()
        (target / "notes.txt").write_text("mine")
    else:
        target.write_text("a file, not a folder")
    with pytest.raises(RunError, match="run directory"):
        generate(config, ledger, target)
    book = Ledger(ledger)
    assert all(book.total(id_).attempts == 0 for id_, _, _ in book.sources())


def test_bad_corpora_leave_no_run_behind(recipe, config, ledger, tmp_path: Path) -> None:
    source = config.source.model_copy(update={"text_column": "words"})
    with pytest.raises(CorpusError, match="no column 'words'"):
        generate(config.model_copy(update={"source": source}), ledger, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mistyped_unit_does_not_settle_what_the_source_is_kept_by(recipe, config, ledger, tmp_path: Path) -> None:
    mistyped = config.source.model_copy(update={"unit": "persn", "contribution_bound": 2})
    with pytest.raises(CorpusError, match="no column 'persn'"):
        generate(config.model_copy(update={"source": mistyped}), ledger, tmp_path / "run")
    assert list(Ledger(ledger).sources()) == []


def test_unknown_recipes_and_stray_descriptions_are_refused(recipe, config: RunConfig) -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'magic'"):
        pipeline.plan(config.model_copy(update={"synthesis": Synthesis(recipe="magic")}))
    source = config.source.model_copy(update={"label_descriptions": {"ugly": "x"}})
    with pytest.raises(ConfigError, match="'ugly'"):
        pipeline.plan(config.model_copy(update={"source": source}))


def test_truncation_is_said_whether_or_not_a_record_is_that_long(recipe, config, ledger, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    rows = ["word " * 2_000_000 + ",good", *(f"short sentence {i},bad" for i in range(60))]
    path.write_text("\n".join(["text,label", *rows]) + "\n")
    said: list[str] = []
    source = config.source.model_copy(update={"path": str(path), "holdout": 0.01})
    run = generate(config.model_copy(update={"source": source}), ledger, tmp_path / "run", notice=said.append)
    assert said == ["records are read up to 256 tokens; a longer one is cut there"]
    short: list[str] = []
    generate(config, ledger, tmp_path / "short", notice=short.append)
    assert short == said, "what is said must not depend on the records"
    assert "longer" not in run.claim.read_text() + (run.path / "run.json").read_text()


def test_passthrough_claims_nothing_and_is_found_and_denied(recipe, config, ledger, tmp_path: Path) -> None:
    synthesis = config.synthesis.model_copy(update={"recipe": "passthrough", "rows": 120})
    run = generate(config.model_copy(update={"synthesis": synthesis, "privacy": Privacy()}), ledger, tmp_path / "run")
    claim = read_claim(run)
    assert claim.epsilon is None
    assert claim.mechanisms[0].kind == "none"
    assert Ledger(ledger).claim_sha256(claim.run_id) is None, "a digest of such rows is a digest of records"
    report = pipeline.audit(run.path)
    assert report.verdict == "fail"
    for policy in ("research", "internal", "public"):
        decision, bundle = pipeline.release(run.path, policy=policy, out=tmp_path / policy)
        assert (decision.verdict, decision.exit_code, bundle) == ("deny", 10, None)
        assert not (tmp_path / policy).exists()


def test_without_an_audit_or_a_ledger_the_answer_is_never_yes(recipe, config, ledger, tmp_path: Path) -> None:
    run = generate(config, ledger, tmp_path / "run")
    assert pipeline.gate(run.path, "research").verdict != "allow"
    pipeline.audit(run.path)
    Path(ledger).unlink()
    decision = pipeline.gate(run.path, "research")
    assert decision.verdict != "allow"
    assert not Path(ledger).exists()


def test_a_candidate_changed_after_its_audit_is_denied(recipe, config, ledger, tmp_path: Path) -> None:
    run = generate(config, ledger, tmp_path / "run")
    assert Ledger(ledger).claim_sha256(read_claim(run).run_id) == hashlib.sha256(run.claim.read_bytes()).hexdigest()
    pipeline.audit(run.path)
    other = generate(config, ledger, tmp_path / "other")
    run.data.write_bytes(other.data.read_bytes())
    assert pipeline.gate(run.path, "research").verdict == "deny"


def test_a_claim_that_differs_from_the_ledger_is_denied(recipe, config, ledger, tmp_path: Path) -> None:
    run = generate(config, ledger, tmp_path / "run")
    claim = json.loads(run.claim.read_text())
    claim["mechanisms"][0]["noise_multiplier"] *= 2
    run.claim.write_text(json.dumps(claim))
    pipeline.audit(run.path)
    assert pipeline.gate(run.path, "research").verdict == "deny"


def test_a_model_name_in_the_claim_is_never_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert loading.model_name(str(folder), folder) == "my-model"
    assert loading.model_name("org/model", tmp_path / "snapshot") == "org/model"


def test_any_script_and_nul_bytes_pass_through_unharmed(recipe, config, ledger, tmp_path: Path) -> None:
    texts = ["emoji 😀👩‍👩‍👧", "שלום עולם مرحبا", "中文字符 テスト", "nul \x00 inside", "tab\tand \u2028 sign"]
    texts *= 20
    path = tmp_path / "scripts.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": "good"}) + "\n" for text in texts))
    source = config.source.model_copy(update={"path": str(path)})
    synthesis = config.synthesis.model_copy(update={"recipe": "passthrough", "rows": 100})
    told = {"source": source, "synthesis": synthesis, "privacy": Privacy()}
    run = generate(config.model_copy(update=told), ledger, tmp_path / "run")
    assert set(pq.read_table(run.data)["text"].to_pylist()) <= set(texts)
    train = pq.read_table(run.private / "train.parquet")["text"].to_pylist()
    holdout = pq.read_table(run.private / "holdout.parquet")["text"].to_pylist()
    assert sorted(train + holdout) == sorted(texts)


def test_rows_that_repeat_others_are_said_where_anything_is_claimed(recipe, config, ledger, tmp_path: Path) -> None:
    """Of records that are copied as they are, how many are alike is private, and stderr may be a log."""
    real = recipe.run

    def alike(self, context):
        rows = yield from real(self, context)
        return replace(rows, texts=("one and the same", *rows.texts[1:-1], "one and the same"))

    recipe.run = alike
    said: list[str] = []
    generate(config, ledger, tmp_path / "claimed", notice=said.append)
    assert any("1 of 30 rows repeat the text of another" in one for one in said)
    synthesis = config.synthesis.model_copy(update={"recipe": "passthrough", "rows": 400})
    copied: list[str] = []
    told = {"synthesis": synthesis, "privacy": Privacy()}
    generate(config.model_copy(update=told), ledger, tmp_path / "copied", notice=copied.append)
    assert copied == ["records are read up to 256 tokens; a longer one is cut there"]
