"""THE MAP: one typed function per arrow of the flow.

plan      config                 -> Plan           public; nothing is read or spent
generate  config                 -> run directory  the only step where records become numbers, behind the door
audit     run                    -> AuditReport    the examiner, in its own process
gate      run or bundle, policy  -> Decision       a pure decision over claim, audit and ledger
release   run, policy, out       -> bundle         complete or not at all
verify    bundle                 -> Verification   offline, by anybody
evaluate  runs, test file        -> Evaluation     students trained on the rows, tested on real records; internal
The only module that joins corpus and mechanisms. It does not render.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from audits.findings import AuditReport
from privdistill.bundle import Signer, Verification, is_bundle, key_id_of, refuse_edited_policy
from privdistill.bundle import verify as verify_bundle
from privdistill.config import RunConfig
from privdistill.corpus.sides import commitment, normalise
from privdistill.planning import Plan, make_plan
from privdistill.policy import Decision, Waiver, load_policy
from privdistill.recipes.base import Progress, converse, explained, make_context
from privdistill.runs import RunDirectory

if TYPE_CHECKING:
    from privdistill.evaluation.schema import Evaluation
    from privdistill.evaluation.utility import Wanted

__all__ = ["audit", "evaluate", "gate", "generate", "plan", "release", "verify"]


def plan(config: RunConfig) -> Plan:
    """What `generate` would do: noise, shares, warnings, refusal. Reads and spends nothing."""
    return make_plan(config)


def generate(
    config: RunConfig,
    *,
    run: Path | None = None,
    ledger: str | None = None,
    resume: bool = False,
    progress: Progress,
    notice: Callable[[str], None] = lambda sentence: None,
) -> Path:
    """Corpus in, candidate out. What `notice` is told is for the operator's terminal and changes nothing.

    With `resume`, the interrupted run `run` goes on under the charge that it has made; nothing is charged twice.

    Guarantee: the candidate is (epsilon, delta)-DP with the epsilon and delta of its claim.
    Unit: config.source.unit. Adjacency: add or remove one unit. Sensitivity: stated by each mechanism behind the door.

    Raises:
        PrivdistillError: see `errors`; a refusal or bad input comes before anything is spent.
    """
    from privdistill.accounting.ledger import Ledger
    from privdistill.candidate import write_candidate
    from privdistill.corpus.fingerprints import fingerprints
    from privdistill.corpus.units import draw_sides, read_declared
    from privdistill.examination import keep_sides, plant_canaries
    from privdistill.mechanisms.door import Door
    from privdistill.models.assets import locate
    from privdistill.models.loading import load_models

    intent, source = make_plan(config).feasible(charged=resume), config.source
    path, book = locate(source.path, progress), Ledger(ledger, create=not resume)
    name, cap = source.name or str(path.resolve()), (source.cap_epsilon, source.cap_delta)
    records = read_declared(path, source)  # first: what a source was opened with is kept, a mistyped unit too
    kept = book.open_source(name, unit=source.unit, holdout=source.holdout, cap=cap)
    sides = draw_sides(records, source, kept.key)
    attempt = book.attempt(kept, intent.mechanisms, intent.budget, partial(fingerprints, sides), resumed=resume)
    begin = RunDirectory.resume if resume else RunDirectory.begin
    directory, manifest = begin(run, config=config, ledger=book.address, source_id=kept.id)
    with directory.recording(manifest):
        if directory.has_claim(book.claim_sha256(manifest.run_id)):
            return directory.path  # it was killed between the ledger's last entry and the last word of its manifest
        models = load_models(config.synthesis, config.performance, progress)
        keep_sides(directory, sides, kept.key)
        units, canaries = plant_canaries(directory, sides.units, source, intent.task, models, progress)
        with attempt.charging(manifest.run_id) as charge:
            model, private, budget = models.language_model, directory.private, intent.budget
            door = Door(units, models.encoder, budget, charge, progress, model=model, private=private, kept=charge.kept)
            door.require_possible(intent.foreseen(models), None if resume else intent.task.train_size)
            task = intent.with_labels(door.labels().classes) if intent.releases_labels else intent.task
            context = make_context(task, intent.mechanisms, models, config.performance, progress, private)
            rows = explained(converse(intent.recipe, context, door.answer), context)
            claim_sha256 = write_candidate(
                directory,
                rows,
                plan=intent,
                mechanisms=book.mechanisms(manifest.run_id),
                source_id=kept.id,
                split_commitment=commitment(kept.key),
                models=models.named,
                canaries=canaries,
            )
            directory.note(rows.facts)
            charge.claimed(claim_sha256)
        # Said always: whether any record was that long is private, and stderr may be a log.
        notice(f"records are read up to {config.synthesis.max_tokens} tokens; a longer one is cut there")
        for sentence in rows.shortcomings() if claim_sha256 else ():
            notice(sentence)
    return directory.path


def audit(run: Path, *, encoder: str | None = None, progress: Progress | None = None) -> AuditReport:
    """Have the examiner attack a run's candidate; writes RUN/audit/audit.json."""
    from privdistill.examination import examine

    directory = RunDirectory.open(run)
    return examine(directory, directory.manifest().config.source, encoder, progress or (lambda *told: None))


def gate(target: Path, policy: str, *, waivers: Sequence[Waiver] = ()) -> Decision:
    """Ask a policy whether a run or a bundle may be released; for a run, writes RUN/decision.json."""
    from privdistill.settlement import decide_bundle, decide_run

    loaded = load_policy(policy)
    bundle = is_bundle(target)
    return decide_bundle(target, loaded, waivers) if bundle else decide_run(RunDirectory.open(target), loaded, waivers)


def release(
    run: Path, *, policy: str, out: Path, waivers: Sequence[Waiver] = (), sign: Signer | None = None
) -> tuple[Decision, Path | None]:
    """Decide, and assemble the bundle at `out` if the answer is yes (else None)."""
    from privdistill.settlement import decide_run, pack

    directory, loaded = RunDirectory.open(run), load_policy(policy)
    refuse_edited_policy(directory.decision, loaded)
    decision = decide_run(directory, loaded, waivers)
    return decision, pack(directory, loaded, decision, out, sign) if decision.verdict == "allow" else None


def evaluate(runs: Sequence[Path], test: Path, *, wanted: "Wanted", progress: Progress) -> "Evaluation":
    """Train students on the rows of runs and test them on real records; the numbers are internal."""
    from privdistill.corpus.reader import read
    from privdistill.evaluation.generations import load_generations, test_records
    from privdistill.evaluation.utility import measure

    made = load_generations([RunDirectory.open(run) for run in runs])
    return measure(made, test_records(made, partial(read, test), normalise, wanted.group_column), wanted, progress)


def verify(bundle: Path, *, key: Path | None = None) -> Verification:
    """Check a bundle offline: sums, schemas, epsilon, every rule whose inputs are inside, and whose key signed it."""
    return verify_bundle(bundle, key_id_of(key) if key else None)
