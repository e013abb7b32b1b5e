"""The hand-over contract: synthetic rows in data.parquet and what is claimed of them in claim.json, written last.

Columns are always `text`, then one for each declared field, `label` and, where there are any, `soft_label` (a struct of
one probability a class), `rationale` and `step_difficulty`. A field is read off the text: the audit reads that.
Rows are shuffled, so that their order says nothing. It does not know how rows were made or who will examine them.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from audits.findings import (
    Accountant,
    CanaryDeclaration,
    Claim,
    Declarations,
    DeltaParts,
    Mechanism,
    Model,
    ProfilePoint,
)
from privdistill.atomic import write_atomically
from privdistill.errors import MechanismError
from privdistill.features.fields import divided
from privdistill.mechanisms.release import FloatArray
from privdistill.planning import Plan
from privdistill.recipes.base import Rows
from privdistill.recipes.guest.host import GuestRecipe
from privdistill.runs import RunDirectory, canonical_json, now

__all__ = ["NOT_PROTECTED", "STATEMENT", "parquet_bytes", "read_claim", "softened", "write_candidate"]

STATEMENT = (
    "Written down by the data owner as public. Each of these is claimed to be unchanged if any one unit were absent; "
    "privdistill derived none of them from the corpus."
)
NOT_PROTECTED = (
    "that a release was made, and the outcomes of its checks",
    "the declarations",
    "holdout units, which no mechanism read but the audit did",
    "k copies of one content: k records of the same text are protected at k times epsilon",
    "what holds for a whole group or population, whether or not any one unit is in the corpus",
    "side channels: time, memory and files on the machine that ran it",
)
_DISCRETE = "OpenDP exact discrete Gaussian; random bits from OpenSSL, seeded by the operating system"
_FLOAT = (
    "{}: floating-point Gaussians (sums of four, Opacus), bits from the operating system; weaker than the discrete "
    "Gaussian, because floating-point rounding can betray a little of what was added to"
)


def softened(probabilities: FloatArray, temperature: float) -> FloatArray:
    """Class probabilities (n, K) with their log-odds divided by `temperature`: post-processing of the teacher."""
    powers = np.asarray(probabilities, dtype=np.float64) ** (1 / temperature)
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def parquet_bytes(rows: Rows, order: Sequence[int], fields: Sequence[str] = ()) -> bytes:
    """Rows as a parquet file, in the given order, with a column for each of some fields.

    Raises:
        MechanismError: a text is not made of these fields.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, pa.Array] = {
        "text": pa.array([rows.texts[i] for i in order], pa.string()),
        **{name: pa.array(values, pa.string()) for name, values in _fields(rows, order, fields).items()},
        "label": pa.array([rows.labels[i] for i in order], pa.string()),
    }
    if rows.soft_labels is not None:
        kind = pa.struct([(name, pa.float32()) for name in rows.class_names])
        values = [dict(zip(rows.class_names, map(float, rows.soft_labels[i]), strict=True)) for i in order]
        columns["soft_label"] = pa.array(values, kind)
    if rows.rationales is not None:
        columns["rationale"] = pa.array([rows.rationales.texts[i] for i in order], pa.string())
        columns["step_difficulty"] = pa.array([rows.rationales.weights[i] for i in order], pa.float64())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, compression="zstd")
    return buffer.getvalue()


def _fields(rows: Rows, order: Sequence[int], fields: Sequence[str]) -> dict[str, list[str]]:
    """Name of each field -> its values."""
    if not fields:
        return {}
    parts = [divided(rows.texts[i], len(fields)) for i in order]
    whole = [part for part in parts if part is not None]
    if len(whole) < len(parts):
        raise MechanismError(
            f"{len(parts) - len(whole)} of {len(parts)} rows are not made of the fields {', '.join(fields)}, joined as "
            "`features.fields` does; use another recipe. Nothing is written"
        )
    return {name: [part[i] for part in whole] for i, name in enumerate(fields)}


def write_candidate(
    run: RunDirectory,
    rows: Rows,
    *,
    plan: Plan,
    mechanisms: Sequence[Mapping[str, object]],
    source_id: str,
    split_commitment: str,
    models: Sequence[Model],
    canaries: CanaryDeclaration | None,
) -> str | None:
    """Write data.parquet, beside the candidate the teacher, if there is one, then claim.json.

    `mechanisms` are the drawn ones, as the ledger recorded them. Returns the claim's sha256, for the
    ledger, or None when nothing is claimed: a digest of such rows is a digest of records.

    Raises:
        MechanismError: the recipe returned another number of rows than asked for, or the mechanisms do not fit the
        budget.
    """
    config, recipe, budget = plan.config, plan.recipe.name, plan.budget
    if not len(rows.texts) == len(rows.labels) == config.synthesis.rows:
        raise MechanismError(
            f"recipe {recipe!r} returned {len(rows.texts)} rows, expected exactly {config.synthesis.rows}; "
            f"nothing is written"
        )
    drawn = tuple(Mechanism.model_validate(mechanism) for mechanism in mechanisms)
    claims = budget is not None and not any(mechanism.kind == "none" for mechanism in drawn)
    if claims and budget is not None and {m.name: m.noise_multiplier for m in drawn} != dict(budget.noise_multipliers):
        raise MechanismError("the mechanisms that were drawn are not the ones that were planned; nothing is written")
    if rows.soft_labels is not None and config.synthesis.soft_label_temperature != 1:
        rows = replace(rows, soft_labels=softened(rows.soft_labels, config.synthesis.soft_label_temperature))
    order = np.random.default_rng().permutation(config.synthesis.rows).tolist()
    source = config.source
    data = parquet_bytes(rows, order, source.fields)
    claim = Claim(
        run_id=run.id,
        created_at=now(),
        code_version=version("privdistill"),
        recipe=recipe,
        plug_in=plan.recipe.plug_in if isinstance(plan.recipe, GuestRecipe) else None,
        data_sha256=hashlib.sha256(data).hexdigest(),
        rows=config.synthesis.rows,
        epsilon=budget.epsilon if claims and budget else None,
        delta=budget.delta if claims and budget else None,
        delta_parts=DeltaParts(
            composition=budget.delta_composition,
            discretisation=sum(m.delta_discretisation for m in drawn),
            thresholds=budget.delta_threshold,
        )
        if claims and budget
        else None,
        adjacency="add-or-remove-one-unit" if claims else None,
        privacy_unit=source.unit,
        contribution_bound=source.contribution_bound or 1,
        source_id=source_id,
        split_commitment=split_commitment,
        holdout=source.holdout,
        mechanisms=drawn,
        accountant=Accountant(**budget.first._asdict()) if claims and budget else None,
        second_accountant=Accountant(**budget.second._asdict()) if claims and budget else None,
        rdp_epsilon=budget.rdp if claims and budget else None,
        mu=budget.mu if claims and budget else None,
        privacy_profile=tuple(ProfilePoint(epsilon=e, delta=d) for e, d in budget.profile) if claims and budget else (),
        declarations=Declarations(
            describe=config.synthesis.describe,
            labels=source.labels,
            label_descriptions=source.label_descriptions,
            size=source.size,
            text_column=None if source.fields else source.text_column,
            fields=source.fields,
            label_column=source.label_column,
            unit_column=source.unit if source.unit != "record" else None,
            statement=STATEMENT,
        ),
        not_protected=NOT_PROTECTED,
        models=tuple(models),
        canaries=canaries,
        noise_source=_noise_source(drawn) if claims else "none",
    )
    run.data.parent.mkdir(exist_ok=True, mode=0o700)
    write_atomically(run.data, data)
    if rows.teacher is not None:
        write_atomically(run.teacher, rows.teacher.content())
    content = canonical_json(claim.model_dump(mode="json", by_alias=True))
    write_atomically(run.claim, content)
    return hashlib.sha256(content).hexdigest() if claims else None


def _noise_source(drawn: Sequence[Mechanism]) -> str:
    """Where the noise came from, in words."""
    kinds = {mechanism.noise for mechanism in drawn}
    weaker = ", ".join(mechanism.name for mechanism in drawn if mechanism.noise == "float-gaussian")
    return "; ".join([_DISCRETE] * ("discrete-gaussian" in kinds) + [_FLOAT.format(weaker)] * bool(weaker))


def read_claim(run: RunDirectory) -> Claim:
    """Read the claim of a complete run."""
    return Claim.model_validate_json(run.claim.read_bytes())
