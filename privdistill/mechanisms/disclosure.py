"""Private records as they are, with no guarantee: kind `none`, for the recipe `passthrough` only.

It exists so that the gate can be seen to say no. It charges the ledger like every mechanism; a claim that contains it
has epsilon null. It does not know who asked.
"""

import secrets
from collections.abc import Callable

from privdistill.mechanisms.release import DisclosureRequest, MechanismRecord, PrivateUnits, Release

__all__ = ["disclose"]


def disclose(units: PrivateUnits, request: DisclosureRequest, *, charge: Callable[[MechanismRecord], None]) -> Release:
    """Hand out `request.rows` private records, drawn without replacement as long as there are enough.

    Guarantee: none. Unit: none. Adjacency: none. Sensitivity: unbounded.
    """
    record = MechanismRecord(
        name=request.name,
        kind="none",
        noise_multiplier=None,
        sample_rate=1.0,
        steps=1,
        sensitivity=None,
        sensitivity_parts={},
        sampler="none",
        noise="none",
        dimension=0,
        noise_grid_steps=None,
        delta_discretisation=0.0,
        delta_threshold=0.0,
    )
    charge(record)
    labels = units.labels if units.labels is not None else ("",) * len(units.texts)
    records = list(zip(units.texts, labels, strict=True))
    order = secrets.SystemRandom()
    rows = order.sample(records, k=min(request.rows, len(records)))
    while records and len(rows) < request.rows:
        rows.append(order.choice(records))
    return Release(payload={}, noise={}, record=record, classes=(), rows=tuple(rows))
