"""`audit`, `release`, `verify`, `evaluate`, `report`: the commands that are told about a run or a bundle.

They do not know what is examined or how a policy decides.
"""

from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import hint, progress_bars, show, show_json
from privdistill.cli.control.gate import TargetArgument, hint_audit
from privdistill.cli.options import DEFAULT_POLICY, Json, Policy, Quiet, RunArgument, WaiversFile

__all__ = ["audit", "evaluate", "release", "report", "verify"]

_AUDIT_EXIT_CODES = {"pass": 0, "fail": 10, "inconclusive": 3}
_AFTER_AUDIT = {
    "pass": f"next: privdistill release {{run}} --policy {DEFAULT_POLICY} --out BUNDLE",
    "fail": "no policy releases these rows, and nothing is retried: python -m audits checks explain {check} says what "
    "that means and what to change; a new run costs budget again",
    "inconclusive": "no policy releases these rows, and nothing is retried: more rows, or a larger corpus or holdout, "
    "give the checks more to see; a new run costs budget again",
}

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle, as made by release; or a zip of it.")]


def audit(
    run: RunArgument,
    encoder: Annotated[
        str | None,
        typer.Option("--encoder", metavar="embedded|PATH", help="Look for paraphrases too, with a sentence encoder."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Examine a candidate, in a process of its own that knows nothing of the generator.

    Exit codes: 0 pass, 10 a check fails, 3 a required check is not conclusive.
    """
    from privdistill import pipeline
    from privdistill.report import render_audit
    from privdistill.runs import RunDirectory

    with progress_bars(quiet=quiet) as bars:
        findings = pipeline.audit(run, encoder=encoder, progress=bars)
    if json:
        show_json(findings.model_dump(mode="json", by_alias=True))
    else:
        show(render_audit(findings, unit=RunDirectory(run).manifest().config.source.unit))
    failed = [finding.id for finding in findings.findings if finding.status == "fail"]
    hint(_AFTER_AUDIT[findings.verdict].format(run=run, check=failed[0] if failed else "ID"), quiet=quiet)
    raise typer.Exit(_AUDIT_EXIT_CODES[findings.verdict])


def release(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="BUNDLE", help="Bundle to make; must not exist.")],
    policy: Policy = None,
    waivers: WaiversFile = None,
    sign_key: Annotated[
        Path | None,
        typer.Option("--sign-key", metavar="PEM", help="Ed25519 private key; the bundle is signed with it."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide, and if the policy says yes, write the bundle. Nothing is written otherwise.

    Without --policy the strictest shipped one, `public`, decides.
    """
    from privdistill import pipeline
    from privdistill.bundle.signature import signer
    from privdistill.policy.load import load_waivers
    from privdistill.report import render_decision

    aside, sign = load_waivers(waivers) if waivers else (), signer(sign_key) if sign_key else None
    decision, bundle = pipeline.release(run, policy=policy or DEFAULT_POLICY, out=out, waivers=aside, sign=sign)
    if json:
        document = decision.model_dump(mode="json", by_alias=True)
        show_json({"bundle": str(bundle) if bundle else None, "decision": document})
    else:
        show(render_decision(decision), *([f"bundle {bundle}"] if bundle else []))
    if bundle:
        hint(f"next: privdistill verify {bundle}", quiet=quiet)
    hint_audit(run, quiet=quiet)
    raise typer.Exit(decision.exit_code)


def verify(
    bundle: BundleArgument,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="PEM", help="Public key that must have signed it; got by another way."),
    ] = None,
    json: Json = False,
) -> None:
    """Check a bundle offline: hashes, layout, epsilon, rules, signature.

    Everything whose inputs are in the bundle is derived again; what cannot be is named.
    """
    from privdistill import pipeline
    from privdistill.report import render_verification

    verification = pipeline.verify(bundle, key=key)
    show(verification.to_json() if json else render_verification(verification))
    raise typer.Exit(verification.exit_code)


def evaluate(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN", help="Run directory; several are generations of one setting.")
    ],
    test: Annotated[
        Path, typer.Option("--test", metavar="FILE", help="Real labelled records that were not in the corpus.")
    ],
    students: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Some of words, encoder, static, transformer, finetuned (default: all but the last, which is slow).",
        ),
    ] = None,
    student_encoder: Annotated[
        str | None,
        typer.Option(
            metavar="embedded|ID|PATH",
            help="Also train a student on this sentence encoder; best one that the run did not use.",
        ),
    ] = None,
    zero_shot: Annotated[
        bool, typer.Option("--zero-shot", help="Also write as many rows from prompts alone: epsilon 0, takes minutes.")
    ] = False,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="embedded|ID|PATH", help="Also ask a causal language model for perplexity; best one of your own."
        ),
    ] = None,
    group_column: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Also report accuracy for each value of this column.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train small students of different families on the rows, and test them on real records.

    Beside them: the commonest label, and real records (all, and as many as there are rows, chosen four ways). Then few
    rows a class, closeness, variety, and what it cost. The numbers are computed on private records without noise:
    internal, never part of a bundle. Tuning a run until they please selects on private data.
    """
    from privdistill import pipeline
    from privdistill.evaluation.utility import Wanted
    from privdistill.report import render_evaluation

    named = {"students": tuple(name.strip() for name in students.split(","))} if students is not None else {}
    wanted = Wanted(
        **named, zero_shot=zero_shot, judge=judge, group_column=group_column, student_encoder=student_encoder
    )
    with progress_bars(quiet=quiet) as bars:
        found = pipeline.evaluate(runs, test, wanted=wanted, progress=bars)
    if json:
        show_json(found.model_dump(mode="json", by_alias=True))
    else:
        show(render_evaluation(found))


def report(target: TargetArgument, json: Json = False) -> None:
    """Print what is recorded about a run or a bundle: claim, findings, last decision.

    A bundle is verified first, and the papers of a run are held to one another and to the ledger, and its decision
    is made again as far as its policy is at hand: shipped, or a file here or in policies/. If that fails, nothing of
    them is shown and the exit code is 10. It is 3 where papers of a run could not be checked, which then stands first.
    """
    from privdistill.cli.records import read_records
    from privdistill.report import render_broken, render_release, render_report

    found = read_records(target)
    if json:
        show_json(found.as_dict())
    elif found.claim is None:
        show(render_broken(f"{'bundle' if found.is_bundle else 'run'} {target.resolve().name}", found.checks))
    elif found.is_bundle and found.decision is not None:
        show(render_release(found.claim, found.decision, found.checks))
    else:
        show(render_report(found.claim, found.decision, found.audit, checks=found.checks, outdated=found.outdated))
    raise typer.Exit(10 if found.claim is None else 3 if found.unchecked else 0)
