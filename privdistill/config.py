"""RunConfig = Source + Privacy + Synthesis + Performance: everything a run is told, as frozen models.

Privacy parameters and performance parameters are different types, so that a reviewer can diff only the first. Privacy
parameters have no environment variable, are never clamped, and a noise seed is not a field.

It does not know where a value came from (flag or file) nor whether the files exist.
"""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

__all__ = ["Performance", "Privacy", "RunConfig", "Source", "Synthesis"]


_WRITTEN = {"text", "label", "soft_label", "step_difficulty"}
"""Columns that every result, or some, has beside its fields; `rationale` may be a field as long as none is written."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class Source(_Frozen):
    """The private corpus and what is declared about it.

    Attributes:
        path: csv, tsv, jsonl (also .gz) or parquet; or `demo` for the embedded demo corpus.
        text_column: the texts.
        fields: columns that make up a text together, in this order, instead of one text column.
        name: persistent name of the source in the ledger; default: the resolved path of the corpus.
        labels: declared label list; None: released with a differentially private threshold.
        unit: `record`, or the column whose value identifies a person.
        contribution_bound: at most so many records of one unit are read (1 for records).
        size: declared number of records, used for warnings only.
        holdout: share of units that mechanisms never read and the audit uses as control.
        cap_epsilon: the most that the source may lose over all its runs, at cap_delta; final with its first charge.
        cap_delta: see cap_epsilon. None: the ledger's defaults, or what the source was opened with.
        canaries: so many are issued, and planted as private records of their own where a keyed coin says so.
    """

    path: str
    name: str | None = None
    text_column: str = "text"
    fields: Annotated[tuple[str, ...], Field(max_length=4)] = ()
    label_column: str | None = None
    labels: tuple[str, ...] | None = None
    label_descriptions: dict[str, str] = {}
    unit: str = "record"
    contribution_bound: Annotated[int, Field(ge=1)] | None = None
    size: Annotated[int, Field(ge=1)] | None = None
    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.3
    cap_epsilon: Annotated[float, Field(gt=0.0)] | None = None
    cap_delta: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None
    canaries: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @field_validator("name")
    @classmethod
    def _named(cls, name: str | None) -> str | None:
        if name is not None and not name.strip():
            # Taken for none, an unset variable would open a second account for the same people.
            raise ValueError("expected a name, found an empty one; is a variable unset? Leave it out to use the path")
        return name

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if labels is not None and (len(labels) == 0 or len(set(labels)) != len(labels) or not all(labels)):
            raise ValueError("expected distinct, non-empty labels; list each label once")
        return labels

    @field_validator("fields")
    @classmethod
    def _columns(cls, fields: tuple[str, ...]) -> tuple[str, ...]:
        named = all(name.strip() and name.isprintable() for name in fields)
        if len(fields) == 1 or len(set(fields)) != len(fields) or not named:
            raise ValueError("expected 2 to 4 distinct columns, e.g. prompt,response; for one column use text_column")
        if _WRITTEN & set(fields):
            raise ValueError(f"{min(_WRITTEN & set(fields))!r} is a column of the result; rename that field")
        return fields

    @model_validator(mode="after")
    def _coherent(self) -> "Source":
        if self.fields and self.text_column != "text":
            raise ValueError("fields and text_column both say what a text is; name one of them")
        if {self.label_column, self.unit} & set(self.fields):
            raise ValueError("a field cannot be the label_column or the unit as well; name different columns")
        if self.labels is not None and self.label_column is None:
            raise ValueError("labels are declared but label_column is not; add label_column or drop labels")
        if self.canaries and self.label_column is not None and self.labels is None:
            raise ValueError("canaries in a labelled corpus need declared labels; add labels or drop canaries")
        if self.unit == "record" and self.contribution_bound not in (None, 1):
            raise ValueError("a record contributes one record; set unit to a column or drop contribution_bound")
        if self.unit != "record" and self.contribution_bound is None:
            raise ValueError(
                f"unit {self.unit!r} needs contribution_bound: at most how many records of one unit may be read?"
            )
        columns = [*((self.text_column,) if not self.fields else ()), self.label_column]
        columns += [self.unit] if self.unit != "record" else []
        if len(set(columns)) < len(columns):
            raise ValueError("text_column, label_column and unit must be different columns; name each once")
        return self


class Privacy(_Frozen):
    """The guarantee that is asked for.

    Attributes:
        epsilon: total epsilon; None only for recipes that claim nothing.
        delta: total delta, a public constant.
    """

    epsilon: Annotated[float, Field(gt=0.0)] | None = None
    delta: Annotated[float, Field(gt=0.0, lt=1.0)] = 1e-6

    @field_validator("epsilon", "delta")
    @classmethod
    def _finite(cls, value: float | None) -> float | None:
        if value is not None and not math.isfinite(value):
            raise ValueError("expected a finite number")
        return value


class Synthesis(_Frozen):
    """What is to come out, and by which public means.

    Attributes:
        recipe: `auto` or the name of a recipe.
        refinement: whether candidates are made for the noised target after they were sampled (recipe `gradient`).
        rows: exactly so many rows come out.
        describe: public words about the texts, e.g. `short movie reviews`.
        class_shares: `tempered` gives each class rows in proportion to its noised count to a power below one, which
            students of few rows learn better from, the power tried out on synthetic texts; `counted` keeps the noised
            shares.
        model: `embedded`, a Hugging Face id, or a local path (safetensors or GGUF).
        base_weights: `8-bit` rounds the language model's linear maps to one byte a weight. No performance setting: the
            rounded model is another public model, writes other texts, and has a name of its own in the claim.
        encoder: the same as `model`, for the sentence encoder.
        max_tokens: records and rows are read up to this many tokens (public limit).
        matcher: by which recipe's matching recipe `finetune` chooses rows, under the same budget.
        tuned_weights: what recipe `finetune` trains: `low-rank` adapters of weight matrices, the `whole` matrices, or
            with `full` every number, norms and biases too.
        tuned_layers: of how many of the last layers; None: the recipe's public rule, and with `full` the whole model,
            embeddings and head included.
        vocabulary_shortlist: while it trains, the softmax runs over so many tokens, those most frequent in public text,
            and the target; None: over all.
        soft_label_temperature: log-odds of the column `soft_label` are divided by it; 1: as the teacher said.
        teachers: `one` teacher is read off the release; or several, whose `mean` counts, and whose disputes `drop` a
            candidate to the last resort.
        rationales: whether the public model writes a rationale for each row, weighed by what it is worth; needs fields.
    """

    recipe: str = "auto"
    refinement: Literal["none", "admm", "language-model"] = "none"
    rows: Annotated[int, Field(ge=1)] = 1000
    describe: str | None = None
    class_shares: Literal["tempered", "counted"] = "tempered"
    model: str = "embedded"
    base_weights: Literal["full", "8-bit"] = "full"
    encoder: str = "embedded"
    max_tokens: Annotated[int, Field(ge=8, le=4096)] = 256
    matcher: Literal["distribution", "gradient", "metamodel", "trajectory"] = "distribution"
    tuned_weights: Literal["low-rank", "whole", "full"] = "low-rank"
    tuned_layers: Annotated[int, Field(ge=1)] | None = None
    vocabulary_shortlist: Annotated[int, Field(ge=2)] | None = None
    soft_label_temperature: Annotated[float, Field(gt=0.0, le=100.0)] = 1.0
    teachers: Literal["one", "mean", "drop"] = "one"
    rationales: bool = False

    @model_validator(mode="after")
    def _trainable(self) -> "Synthesis":
        if self.tuned_weights == "full" and self.base_weights != "full":
            raise ValueError("weights that are kept in 8 bits cannot be trained; use base_weights full, or adapters")
        if self.tuned_weights == "full" and self.tuned_layers is None and self.vocabulary_shortlist is not None:
            raise ValueError("a vocabulary_shortlist needs a head that stays frozen; name tuned_layers, or drop it")
        return self


class Performance(_Frozen):
    """Speed and memory. Nothing here changes what is released about a record.

    Attributes:
        pool_factor: candidates generated per row; None: the recipe's public rule.
        batch_size: sequences per generation batch.
        dtype: compute type of the language model; `auto` takes bfloat16 where the processor has it.
        gradient_checkpointing: recipe `finetune` computes each trained layer once more instead of keeping what it held:
            less memory, more time, the same gradients.
        device_map: where the language model lies: `cpu`, in the processor's memory; `auto`, spread over accelerators,
            memory and disk as they have room (by accelerate), for models that fit into no single one.
        threads: None: all cores.
    """

    pool_factor: Annotated[float, Field(ge=1.0)] | None = None
    batch_size: Annotated[int, Field(ge=1)] = 256
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    gradient_checkpointing: bool = False
    device_map: Literal["cpu", "auto"] = "cpu"
    threads: Annotated[int, Field(ge=1)] | None = None


class RunConfig(_Frozen):
    """Everything one run is told."""

    source: Source
    privacy: Privacy = Privacy()
    synthesis: Synthesis = Synthesis()
    performance: Performance = Performance()

    @model_validator(mode="after")
    def _explained(self) -> "RunConfig":
        whole = {
            "8-bit base weights": self.synthesis.base_weights != "full",
            f"refinement {self.synthesis.refinement}": self.synthesis.refinement != "none",
            "rationales": self.synthesis.rationales,
            "tuned_weights full": self.synthesis.tuned_weights == "full",
        }
        for name, asked in whole.items():
            if asked and self.performance.device_map == "auto":
                raise ValueError(
                    f"{name} needs the whole language model in the processor's memory; use device_map cpu, or drop it"
                )
        if self.synthesis.rationales and not self.source.fields:
            raise ValueError(
                "rationales explain how the last field follows from the others; declare fields, e.g. prompt,response"
            )
        if self.synthesis.rationales and "rationale" in self.source.fields:
            raise ValueError("'rationale' is a field already; rename it, or drop rationales")
        return self
