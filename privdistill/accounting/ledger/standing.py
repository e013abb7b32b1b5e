"""What the entries say: sources, which of them are linked, and what they have lost and tried so far.

Sums are stored with every reservation, so a standing is read and not recomputed. It does not write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from privdistill.accounting.accountant import Event, gaussian_epsilon
from privdistill.accounting.budget import Budget
from privdistill.accounting.filter import Cap, Loss
from privdistill.accounting.ledger.chain import Entry, last, select
from privdistill.errors import BudgetError, MechanismError
from privdistill.mechanisms.release import Reservation

__all__ = [
    "Remaining",
    "Source",
    "Standing",
    "Total",
    "does_not_fit",
    "linked",
    "noised",
    "opened",
    "run_loss",
    "standing",
]


@dataclass(frozen=True, slots=True, repr=False)
class Source:
    """A source of private records, as its ledger knows it. `key` never leaves the private side."""

    id: str
    name: str
    key: bytes
    unit: str
    holdout: float
    cap: Cap


@dataclass(frozen=True, slots=True)
class Total:
    """What a source, with all that is linked to it, has lost over all its runs.

    Attributes:
        epsilon: of everything charged, at `delta`; 0 without charges.
        delta: sum of the deltas of the runs.
        attempts: runs that reserved a charge.
        reviewed: how many of them a person has looked at.
        unprotected: runs without any guarantee among them; they claim nothing and are not part of epsilon.
    """

    epsilon: float
    delta: float
    attempts: int
    reviewed: int
    unprotected: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """What the strictest cap on a source still admits.

    Attributes:
        cap: that cap.
        spent: epsilon that all charges have used of it, at its delta.
        left: epsilon of one more full-batch run by itself, at its delta. Noise adds up in squares, so spent and left
            add up to more than the cap.
        mu: the same run as a Gaussian-DP parameter; 0: none is admitted.
    """

    cap: Cap
    spent: float
    left: float
    mu: float

    @classmethod
    def of(cls, loss: Loss, caps: Sequence[Cap], *, added_delta: float) -> "Remaining":
        """Under several caps, the one that leaves least."""
        mu, cap = min(((loss.room(cap, added_delta=added_delta), cap) for cap in caps), key=lambda room: room[0])
        left = gaussian_epsilon(cap.delta / 2, mu) if mu > 0 else 0.0
        return cls(cap, loss.spent(cap), left, mu)


@dataclass(frozen=True, slots=True)
class Standing:
    """Sums over one source, or over several."""

    loss: Loss = field(default_factory=Loss)
    attempts: int = 0
    unprotected: int = 0
    reviewed: int = 0

    @classmethod
    def after(cls, entry: Entry | None) -> "Standing":
        """What a reservation stored; nothing before the first.

        Raises:
            ValueError: the entry is not what this version writes.
        """
        if entry is None:
            return cls()
        try:
            found = entry.body["total"]
            return cls(Loss.from_json(found["loss"]), int(found["attempts"]), int(found["unprotected"]))
        except (KeyError, TypeError):
            raise ValueError("not the sums of a reservation") from None

    def with_run(self, charge: Loss | None) -> "Standing":
        """One more run; None for one without any guarantee."""
        return Standing(
            self.loss + (charge or Loss()), self.attempts + 1, self.unprotected + (charge is None), self.reviewed
        )

    def __add__(self, other: "Standing") -> "Standing":
        """Both together."""
        return Standing(
            self.loss + other.loss,
            self.attempts + other.attempts,
            self.unprotected + other.unprotected,
            self.reviewed + other.reviewed,
        )

    def as_json(self) -> dict[str, object]:
        """What a reservation stores."""
        return {"loss": self.loss.as_json(), "attempts": self.attempts, "unprotected": self.unprotected}

    def total(self) -> Total:
        """As numbers to be read."""
        return Total(self.loss.total_epsilon(), self.loss.total_delta(), self.attempts, self.reviewed, self.unprotected)


def does_not_fit(before: Loss, charge: Loss, cap: Cap) -> BudgetError:
    """The refusal of a charge, in numbers."""
    epsilon, delta = charge.stated()
    return BudgetError(
        f"the charge of epsilon {epsilon:.4g} at delta {delta:.3g} does not fit under the source's cap of epsilon "
        f"{cap.epsilon:g}, delta {cap.delta:g}, of which epsilon {before.spent(cap):.4g} is spent; nothing was spent "
        "now. `privdistill ledger remaining` says what a run may ask for; a cap is final once a run is charged under it"
    )


def opened(db: sa.Connection) -> dict[str, Entry]:
    """Source id -> the entry that opened it, oldest first."""
    return {entry.source_id: entry for entry in select(db, "opened")}


def linked(db: sa.Connection, source_id: str) -> tuple[str, ...]:
    """All sources whose losses add up with this one's, itself included."""
    found = {source_id}
    pairs = [(entry.source_id, str(entry.body.get("with"))) for entry in select(db, "linked")]
    while more := {name for pair in pairs if found & set(pair) for name in pair} - found:
        found |= more
    return tuple(sorted(found))


def standing(db: sa.Connection, source_ids: Sequence[str]) -> Standing:
    """Sums over these sources."""
    reviews = list(select(db, "reviewed"))
    found = Standing()
    for source_id in source_ids:
        counts = [int(entry.body["attempts"].get(source_id, 0)) for entry in reviews]
        own = Standing.after(last(db, "reserved", source_id=source_id))
        found += Standing(own.loss, own.attempts, own.unprotected, max(counts, default=0))
    return found


def run_loss(plan: Sequence[Reservation], budget: Budget | None) -> Loss | None:
    """What a run costs; None for one that claims nothing.

    Raises:
        MechanismError: noise is planned without a budget.
    """
    events = noised(plan)
    if budget is not None:
        return Loss.of(events, epsilon=budget.epsilon, delta=budget.delta, delta_composition=budget.delta_composition)
    if events:
        raise MechanismError("noise was planned without a budget; nothing was charged or released")
    return None


def noised(plan: Sequence[Reservation]) -> list[Event]:
    """What the accountant composes of a plan."""
    return [
        Event(planned.noise_multiplier, planned.sample_rate, planned.steps)
        for planned in plan
        if planned.kind != "none" and planned.noise_multiplier is not None
    ]
