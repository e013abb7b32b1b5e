"""Holm's step-down correction across families. Valid under any dependence; it knows p-values only."""

__all__ = ["holm"]


def holm(p_values: dict[str, float]) -> dict[str, float]:
    """Return the adjusted p-value of each family.

    >>> holm({"a": 0.01, "b": 0.04, "c": 0.03})
    {'a': 0.03, 'b': 0.06, 'c': 0.06}
    """
    ordered = sorted(p_values.items(), key=lambda item: (item[1], item[0]))
    adjusted: dict[str, float] = {}
    running = 0.0
    for step, (name, p_value) in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - step) * p_value))
        adjusted[name] = running
    return {name: adjusted[name] for name in p_values}
