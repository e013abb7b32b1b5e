"""The vocabulary of the examiner: what it demands of a claim, and what it hands back.

`Claim` is the schema of claim.json (the examiner states what it needs; a generator adapts) and `AuditReport` the schema
of audit.json. Types only: no numpy, no file access, no statistics. It does not know how a number was computed or who
will read it; both generator and policy may import it, and it is the only module of `audits` that they may import.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "AUDIT_SCHEMA",
    "CLAIM_SCHEMA",
    "Accountant",
    "AuditReport",
    "CanaryDeclaration",
    "Claim",
    "Declarations",
    "DeltaParts",
    "Estimate",
    "Finding",
    "Inputs",
    "Levels",
    "Mechanism",
    "Model",
    "Power",
    "ProfilePoint",
    "PublicFinding",
    "PublicOutcome",
    "PublicReport",
    "SideCount",
    "Status",
    "ThreatModel",
    "Verdict",
    "ViewName",
    "WorstCase",
]

CLAIM_SCHEMA = "privdistill.claim/v1"
AUDIT_SCHEMA = "privdistill.audit/v1"

Status = Literal["pass", "fail", "inconclusive", "error", "skipped"]
Verdict = Literal["pass", "fail", "inconclusive"]
PublicOutcome = Literal["satisfied", "violated", "not run"]
ViewName = Literal["public", "internal"]
ThreatModel = Literal["T0", "T1", "T2", "T3", "T4", "none"]

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
OpenProbability = Annotated[float, Field(gt=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
NonNegative = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        hide_input_in_errors=True,
        populate_by_name=True,
        ser_json_inf_nan="null",
    )


class Mechanism(_Frozen):
    """One mechanism that read the private side, as the generator ran it."""

    name: str
    kind: Literal["gaussian", "sampled-gaussian", "gaussian-threshold", "none"]
    noise_multiplier: Positive | None
    """Noise standard deviation divided by `sensitivity`; None only for kind `none`."""
    sample_rate: Annotated[float, Field(gt=0.0, le=1.0)]
    """1.0 for full batch."""
    steps: Annotated[int, Field(ge=1)]
    sensitivity: Positive | None
    """L2 sensitivity of the sum under adding or removing one unit, in the units of the scaled blocks."""
    sensitivity_parts: dict[str, NonNegative]
    """Per block, scale times norm bound; their root sum of squares is `sensitivity`."""
    sampler: Literal["full-batch", "poisson", "none"]
    """The sampler actually used."""
    noise: Literal["discrete-gaussian", "float-gaussian", "none"]
    dimension: Count
    """Number of released cells, each of which was noised."""
    noise_grid_steps: Positive | None
    """Noise standard deviation in steps of the integer grid (discrete noise only)."""
    delta_discretisation: NonNegative
    delta_threshold: NonNegative


class DeltaParts(_Frozen):
    """Where delta goes; the parts add up to at most the claimed delta."""

    composition: NonNegative
    discretisation: NonNegative
    thresholds: NonNegative


class Accountant(_Frozen):
    """Epsilon of the whole composition at `DeltaParts.composition`, by one library."""

    name: str
    version: str
    epsilon: NonNegative


class ProfilePoint(_Frozen):
    """One point of the privacy profile of the composition (total delta, discretisation and thresholds included)."""

    epsilon: NonNegative
    delta: Probability


class Declarations(_Frozen):
    """What the data owner wrote down as public; printed verbatim, never derived from the corpus."""

    describe: str | None
    labels: tuple[str, ...] | None
    label_descriptions: dict[str, str]
    size: Count | None
    text_column: str | None
    """None where several columns make up a text."""
    fields: tuple[str, ...] = ()
    """Columns whose values, in this order and joined within one line, are the text; empty: `text_column` is."""
    label_column: str | None
    unit_column: str | None
    statement: str
    """Says that each of these would be unchanged if any one unit were absent."""


class CanaryDeclaration(_Frozen):
    """Canaries that were issued, and planted beside the source's units where their coins said so."""

    issued: Annotated[int, Field(ge=1)]
    """So many coins were tossed; how many said yes is not stated."""
    commitment: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Fixes the canaries and the key of their coins, and gives neither away."""


class Model(_Frozen):
    """A public model that the generator used."""

    role: Literal["language-model", "encoder"]
    id: str
    sha256: str | None


class PlugIn(_Frozen):
    """A recipe of another package, which ran in a process of its own."""

    package: str
    version: str
    file_fence: Literal["landlock", "none"]
    """Whether the kernel kept that process from opening any file but programs, public models and its own folder."""
    socket_fence: Literal["seccomp", "none"]
    """Whether it kept that process from making a socket."""


class Claim(_Frozen):
    """claim.json: what a generator says of its candidate. `epsilon` None claims nothing."""

    schema_: Literal["privdistill.claim/v1"] = Field(default="privdistill.claim/v1", alias="schema")
    run_id: str
    created_at: str
    """UTC, ISO 8601."""
    code_version: str
    recipe: str
    plug_in: PlugIn | None = None
    """Who wrote the recipe and what held it, when it is not built in."""
    data_sha256: str
    rows: Count
    epsilon: Positive | None
    delta: OpenProbability | None
    delta_parts: DeltaParts | None
    adjacency: Literal["add-or-remove-one-unit"] | None
    privacy_unit: str
    """`record`, or the name of the unit column."""
    contribution_bound: Annotated[int, Field(ge=1)] | None
    """At most so many records of one unit were read (None: no bound)."""
    source_id: str
    """Random id of the source in the ledger; not derived from content."""
    split_commitment: str | None
    """sha256 of `privdistill/split-key/v1` NUL key (32 random bytes); fixes the sides before anything is generated."""
    holdout: Annotated[float, Field(gt=0.0, lt=1.0)] | None
    """Probability with which a unit was put on the holdout side, by a keyed function of its own content or id."""
    mechanisms: tuple[Mechanism, ...]
    accountant: Accountant | None
    second_accountant: Accountant | None
    rdp_epsilon: NonNegative | None
    """Looser RDP bound, for comparison only."""
    mu: NonNegative | None
    """Gaussian-DP parameter where every mechanism is a full-batch Gaussian."""
    privacy_profile: tuple[ProfilePoint, ...]
    declarations: Declarations
    not_protected: tuple[str, ...]
    models: tuple[Model, ...]
    canaries: CanaryDeclaration | None = None
    """Planted canaries, each a record and a unit of its own that the mechanisms read; None: none were planted."""
    noise_source: str
    """For example: operating-system randomness through OpenDP's exact discrete Gaussian."""


class Estimate(_Frozen):
    """A number that reaches a report: never without interval, n and method."""

    value: float
    low: float
    high: float
    n: Count
    method: str


class Power(_Frozen):
    """What a pass would have caught: `detectable` at `probability` (usually 0.8)."""

    probability: Probability
    detectable: float | None
    """Smallest planted rate found with that probability; None when even a total leak would be missed."""
    unit: str
    """What `detectable` counts, e.g. `share of train units copied verbatim`."""
    method: str
    sentence: str


class WorstCase(_Frozen):
    """A redacted pointer: keyed hash of the unit, row of the synthetic file, score. Never text."""

    unit: str
    side: Literal["train", "holdout"]
    synthetic_row: Count | None
    score: float
    offset: Count | None = None
    """Words of that row before the match, as the examiner counts words; None where a match has no one place."""
    length: Count | None = None
    """Words of the match."""


class Finding(_Frozen):
    """The result of one check."""

    id: str
    """Stable, e.g. `PD201`."""
    name: str
    title: str
    threat_model: ThreatModel
    status: Status
    tier: Literal["claim", "core", "encoder", "canary", "model"]
    summary: str
    """One or two sentences for a person; no record text."""
    estimates: dict[str, Estimate] = {}
    p_value: Probability | None = None
    corrected_p_value: Probability | None = None
    correction: str | None = None
    power: Power | None = None
    worst_cases: tuple[WorstCase, ...] = ()
    notes: tuple[str, ...] = ()


class SideCount(_Frozen):
    """n used of n available, for one input."""

    units_used: Count
    units_available: Count
    records_used: Count
    records_available: Count


class Inputs(_Frozen):
    """What was examined."""

    synthetic_sha256: str
    claim_sha256: str | None
    synthetic: SideCount
    train: SideCount
    holdout: SideCount | None
    privacy_unit: str
    split: Literal["own", "external", "none"]
    """`own`: the claim's generator drew the sides with the source's key; `external`: a holdout file was given;
    `none`."""
    sides_hmac: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """HMAC-SHA256 under the split key of `privdistill/sides/v1` NUL sha256(source file) sha256(holdout file), in bytes:
    which files were examined, for whoever holds the key; None without a key or a holdout. It is never published."""


class Levels(_Frozen):
    """What an audit was asked to be content with; fixed before it ran."""

    alpha: OpenProbability
    power: OpenProbability
    max_detectable: Probability


class AuditReport(_Frozen):
    """audit.json."""

    schema_: Literal["privdistill.audit/v1"] = Field(default="privdistill.audit/v1", alias="schema")
    examiner_version: str
    seed: int
    inputs: Inputs
    levels: Levels | None = None
    """None in reports of examiners that did not say; no gate takes one."""
    required: tuple[str, ...]
    """Ids of the checks without whose conclusive result the verdict is `inconclusive`."""
    findings: tuple[Finding, ...]
    verdict: Verdict
    plug_ins: tuple[str, ...] = ()
    libraries: dict[str, str] = {}


class PublicFinding(_Frozen):
    """What may be published of a finding: no estimate, no count, no pointer."""

    id: str
    name: str
    title: str
    threat_model: ThreatModel
    tier: Literal["claim", "core", "encoder", "canary", "model"]
    required: bool
    outcome: PublicOutcome
    """`not run` covers skipped, crashed and undecided checks alike."""


class PublicReport(_Frozen):
    """What may be published of audit.json."""

    schema_: Literal["privdistill.audit-public/v1"] = Field(default="privdistill.audit-public/v1", alias="schema")
    examiner_version: str
    synthetic_sha256: str
    claim_sha256: str | None
    verdict: Verdict
    findings: tuple[PublicFinding, ...]
