"""`plan`, `generate` and `run`: the commands that are told about a corpus.

They do not know how a corpus is read or a budget is spent.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from privdistill.cli.console import hint, progress_bars, show, show_json
from privdistill.cli.options import DEFAULT_POLICY, Json, Policy, Quiet, Spec, takes_spec
from privdistill.cli.settings import Settings, find_file, load_settings, resumed_settings
from privdistill.errors import ConfigError

if TYPE_CHECKING:
    from privdistill.planning import Plan

__all__ = ["generate", "plan", "run"]

RunOption = Annotated[
    Path | None, typer.Option("--run", metavar="DIR", help="Run directory to make (default: runs/<UTC>-<hex>).")
]
ResumeOption = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="RUN", help="Go on with an interrupted run as it was begun; nothing more is charged."
    ),
]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="BUNDLE", help="Bundle to make (default: RUN/release).")
]
_BARE = (
    "THIS RUN COPIES PRIVATE RECORDS AS THEY ARE: no noise, no protection, epsilon unlimited. It exists to show that "
    "the examiner finds copies and a policy refuses them; what it writes is as private as the corpus"
)


@takes_spec
def plan(spec: Spec, json: Json = False, quiet: Quiet = False) -> None:
    """Say what generate would do and spend: noise, shares, warnings, refusal. Reads no record, spends nothing.

    Example: privdistill plan reviews.csv --epsilon 8 --label-column label --size 12000
    """
    settings = _settings(spec, quiet=quiet)
    from privdistill.models.assets import local_model

    intent = _intent(settings)
    for model in (settings.config.synthesis.model, settings.config.synthesis.encoder):
        local_model(model)  # what generate would stumble over; an id is looked up there and not here
    if json:
        show_json(intent.as_dict())
    else:
        show(*intent.lines())
    if intent.refusal is not None:
        raise typer.Exit(2)


@takes_spec
def generate(
    spec: Spec, run: RunOption = None, resume: ResumeOption = None, json: Json = False, quiet: Quiet = False
) -> None:
    """Make a synthetic corpus under a privacy budget. Prints the run directory.

    Example: privdistill generate reviews.csv --epsilon 8 --label-column label --describe "short movie reviews"

    What is drawn stays charged in the ledger, whatever happens afterwards. A run that was killed goes on with --resume.
    """
    if resume is not None and run is not None and run != resume:
        raise ConfigError("--resume names the run that goes on, so --run has nothing to say; leave it out")
    settings = _settings(spec, quiet=quiet) if resume is None else resumed_settings(resume, spec.flags)
    made = _generate(settings, run if resume is None else resume, resume=resume is not None, quiet=quiet)
    if json:
        show_json({"run": str(made)})
    else:
        show(str(made))
    hint(f"next: privdistill audit {made}", quiet=quiet)


@takes_spec
def run(
    spec: Spec,
    policy: Policy = None,
    out: OutOption = None,
    run: RunOption = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Generate, audit, decide and release in one go. Prints the decision and the bundle.

    Example: privdistill run reviews.csv --epsilon 8 --label-column label --policy internal --out bundle

    A denied candidate is kept in its run and nothing is retried.
    """
    settings = _settings(spec, quiet=quiet)
    from privdistill import pipeline
    from privdistill.bundle.publish import refuse_occupied
    from privdistill.policy.load import load_policy
    from privdistill.report import render_decision

    chosen = policy or DEFAULT_POLICY
    load_policy(chosen)  # a misspelt policy must not cost an epsilon, nor a bundle that is there already
    if out is not None:
        refuse_occupied(out)
    made = _generate(settings, run, quiet=quiet)
    hint(f"run: {made}", quiet=quiet)
    with progress_bars(quiet=quiet) as bars:
        pipeline.audit(made, progress=bars)
    decision, bundle = pipeline.release(made, policy=chosen, out=out or made / "release")
    if json:
        document = decision.model_dump(mode="json", by_alias=True)
        show_json({"run": str(made), "bundle": str(bundle) if bundle else None, "decision": document})
    else:
        show(render_decision(decision), f"run {made}", *([f"bundle {bundle}"] if bundle else []))
    raise typer.Exit(decision.exit_code)


def _settings(spec: Spec, *, quiet: bool) -> Settings:
    file = find_file(spec.config)
    settings = load_settings(spec.flags, file=file)
    if file is not None:
        hint(f"using {file}", quiet=quiet)
    return settings


def _intent(settings: Settings, *, charged: bool = False) -> "Plan":
    """The plan; an epsilon beside a recipe that claims nothing is refused, since somebody believes that it protects."""
    from privdistill import pipeline

    intent = pipeline.plan(settings.config)
    if intent.budget is None and settings.config.privacy.epsilon is not None and not charged:
        raise ConfigError(
            f"recipe {settings.config.synthesis.recipe!r} copies private records without any protection, so epsilon "
            "would be ignored; name another recipe, or leave epsilon out to see a gate refuse the copies"
        )
    return intent


def _generate(settings: Settings, run: Path | None, *, resume: bool = False, quiet: bool) -> Path:
    from privdistill import pipeline

    intent = _intent(settings, charged=resume)
    if intent.budget is None:
        hint(f"warning: {_BARE}")  # --quiet asks for no hints; that nobody is protected is not one
    for warning in intent.warnings:
        hint(f"warning: {warning}", quiet=quiet)
    notices: list[str] = []
    with progress_bars(quiet=quiet) as bars:
        made = pipeline.generate(
            settings.config, run=run, ledger=settings.ledger, resume=resume, progress=bars, notice=notices.append
        )
    for notice in notices:
        hint(f"note: {notice}", quiet=quiet)
    return made
