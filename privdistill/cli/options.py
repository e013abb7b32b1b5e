"""The options that describe a run, declared once and shared by `generate`, `plan` and `run`.

`takes_spec` gives a command all of them; the command receives one `Spec`. It does not know what an option does: each
maps to a dotted name of the configuration.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = [
    "DEFAULT_POLICY",
    "ConfigFile",
    "Json",
    "Policy",
    "Quiet",
    "RunArgument",
    "Spec",
    "WaiversFile",
    "takes_spec",
]

_SOURCE, _PRIVACY, _SYNTHESIS, _SPEED = "Private corpus", "Privacy", "Synthetic corpus", "Speed"

DEFAULT_POLICY = "public"
"""The strictest shipped policy decides when none is named."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints on stderr.")]
Policy = Annotated[
    str | None, typer.Option("--policy", help="Shipped policy, or path of a policy file (default: public).")
]
WaiversFile = Annotated[
    Path | None,
    typer.Option("--waivers", metavar="FILE", help="Soft rules that a named person sets aside for this candidate."),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Run directory, as printed by generate.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file (default: the nearest privdistill.yaml upwards).")
]


@dataclass(frozen=True, slots=True)
class Spec:
    """What the command line says about a run: dotted configuration name -> value (None: not given)."""

    flags: Mapping[str, object]
    config: Path | None


def _spec_options(
    corpus: Annotated[
        str | None, typer.Argument(metavar="CORPUS", help="csv, tsv, jsonl (also .gz), parquet; or `demo`.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(rich_help_panel=_SOURCE, help="Column of the texts (default: text).")
    ] = None,
    fields: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SOURCE,
            metavar="A,B,...",
            help="2 to 4 columns that make up a text together, e.g. prompt,response; instead of --text-column.",
        ),
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(rich_help_panel=_SOURCE, help="Column of the labels; without it: unlabelled.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SOURCE,
            metavar="A,B,...",
            help="Label list, public by your declaration. Without it the list is released under a part of the budget. "
            "A label that holds a comma is named in the configuration file.",
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SOURCE,
            metavar="record|COLUMN",
            help="Who is protected: each record (default), or everything with one value of a column (a person).",
        ),
    ] = None,
    contribution_bound: Annotated[
        int | None, typer.Option(rich_help_panel=_SOURCE, metavar="K", help="Read at most K records of one unit.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SOURCE, metavar="N", help="Corpus size, public by your declaration; for warnings only."
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(rich_help_panel=_SOURCE, metavar="NAME", help="Persistent name of the source in the ledger."),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(rich_help_panel=_SOURCE, metavar="PATH|URL", help="Ledger: file or postgresql:// (default: own)."),
    ] = None,
    cap_epsilon: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_SOURCE, help="Most that a source may ever lose; final with its first charge (default: 48)."
        ),
    ] = None,
    cap_delta: Annotated[
        float | None, typer.Option(rich_help_panel=_SOURCE, help="The delta of --cap-epsilon (default: 1e-4).")
    ] = None,
    holdout: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_SOURCE,
            help="Share of units that no mechanism reads: the audit's control group (default: 0.3).",
        ),
    ] = None,
    canaries: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SOURCE,
            metavar="N",
            help="Issue N canaries; those whose keyed coin says so are planted as records of their own (default: 0).",
        ),
    ] = None,
    epsilon: Annotated[
        float | None,
        typer.Option(rich_help_panel=_PRIVACY, help="Total epsilon of this run. Smaller protects better. No default."),
    ] = None,
    delta: Annotated[
        float | None, typer.Option(rich_help_panel=_PRIVACY, help="Total delta of this run (default: 1e-6).")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(rich_help_panel=_SYNTHESIS, metavar="auto|NAME", help="How text is made (default: auto)."),
    ] = None,
    refinement: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="none|admm|language-model",
            help="Refine candidates after sampling; recipe gradient only, costs time and no privacy (default: none).",
        ),
    ] = None,
    rows: Annotated[
        int | None, typer.Option(rich_help_panel=_SYNTHESIS, help="Exactly so many rows come out (default: 1000).")
    ] = None,
    describe: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS, metavar="WORDS", help="Public words about the texts: short movie reviews."
        ),
    ] = None,
    class_shares: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="tempered|counted",
            help="Rows per class: by a power of the noised counts that suits students, or in proportion to them "
            "(default: tempered).",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS, metavar="embedded|ID|PATH", help="Language model (default: embedded)."
        ),
    ] = None,
    base_weights: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="full|8-bit",
            help="Keep the linear maps of the language model as they are, or in one byte a weight (default: full).",
        ),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS, metavar="embedded|ID|PATH", help="Sentence encoder (default: embedded)."
        ),
    ] = None,
    matcher: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="distribution|gradient|metamodel|trajectory",
            help="How recipe finetune chooses rows from what was written (default: distribution).",
        ),
    ] = None,
    tuned_weights: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="low-rank|whole|full",
            help="What recipe finetune trains: adapters, weight matrices, or every number (default: low-rank).",
        ),
    ] = None,
    tuned_layers: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="K",
            help="How many of the last layers it trains (default: 4; full: the whole model).",
        ),
    ] = None,
    vocabulary_shortlist: Annotated[
        int | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="N",
            help="It computes odds over the N tokens most frequent in public text only: faster (default: all).",
        ),
    ] = None,
    soft_label_temperature: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS, metavar="T", help="Divide the log-odds of column soft_label by T (default: 1)."
        ),
    ] = None,
    teachers: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SYNTHESIS,
            metavar="one|mean|drop",
            help="Label by one teacher, by the mean of several, or pass over what they dispute (default: one).",
        ),
    ] = None,
    rationales: Annotated[
        bool | None,
        typer.Option(
            "--rationales/--no-rationales",
            rich_help_panel=_SYNTHESIS,
            help="Have the public model write how the last field follows from the others (default: no).",
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(rich_help_panel=_SPEED, help="Sequences per generation batch.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(rich_help_panel=_SPEED, metavar="auto|bfloat16|float32", help="Compute type.")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            rich_help_panel=_SPEED,
            help="Recipe finetune computes trained layers twice instead of keeping them: less memory (default: no).",
        ),
    ] = None,
    device_map: Annotated[
        str | None,
        typer.Option(
            rich_help_panel=_SPEED,
            metavar="cpu|auto",
            help="Where the language model lies: auto spreads it over accelerators, memory and disk (default: cpu).",
        ),
    ] = None,
    threads: Annotated[int | None, typer.Option(rich_help_panel=_SPEED, help="Threads (default: all cores).")] = None,
    config: ConfigFile = None,
) -> Spec:
    return Spec(
        {
            "source.path": corpus,
            "source.name": source,
            "source.text_column": text_column,
            "source.fields": _listed(fields),
            "source.label_column": label_column,
            "source.labels": _listed(labels),
            "source.unit": unit,
            "source.contribution_bound": contribution_bound,
            "source.size": size,
            "source.holdout": holdout,
            "source.cap_epsilon": cap_epsilon,
            "source.cap_delta": cap_delta,
            "source.canaries": canaries,
            "privacy.epsilon": epsilon,
            "privacy.delta": delta,
            "synthesis.recipe": recipe,
            "synthesis.refinement": refinement,
            "synthesis.rows": rows,
            "synthesis.describe": describe,
            "synthesis.class_shares": class_shares,
            "synthesis.model": model,
            "synthesis.base_weights": base_weights,
            "synthesis.encoder": encoder,
            "synthesis.matcher": matcher,
            "synthesis.tuned_weights": tuned_weights,
            "synthesis.tuned_layers": tuned_layers,
            "synthesis.vocabulary_shortlist": vocabulary_shortlist,
            "synthesis.soft_label_temperature": soft_label_temperature,
            "synthesis.teachers": teachers,
            "synthesis.rationales": rationales,
            "performance.batch_size": batch_size,
            "performance.dtype": dtype,
            "performance.gradient_checkpointing": gradient_checkpointing,
            "performance.device_map": device_map,
            "performance.threads": threads,
            "ledger": ledger,
        },
        config,
    )


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def takes_spec(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every option of a run; it receives them as its first parameter, a `Spec`."""
    shared = inspect.signature(_spec_options).parameters
    own = dict(list(inspect.signature(command).parameters.items())[1:])

    @functools.wraps(command)
    def wrapper(**values: Any) -> Any:
        spec = _spec_options(**{name: values.pop(name) for name in shared})
        return command(spec, **values)

    parameters = [*shared.values(), *own.values()]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    wrapper.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return wrapper
