"""How many rows each class gets: exactly N in all, in the noised shares.

It does not know texts, nor whether enough candidates exist.
"""

import numpy as np

from privdistill.mechanisms.release import FloatArray

__all__ = ["quotas"]


def quotas(rows: int, shares: FloatArray) -> list[int]:
    """Whole numbers that add up to `rows`, by largest remainder.

    Every class gets at least one row while rows last, so that no declared class vanishes.

    Example:
        >>> quotas(10, np.array([0.72, 0.28]))
        [7, 3]
    """
    share = np.maximum(np.asarray(shares, dtype=np.float64), 0.0)
    share = share / share.sum() if share.sum() > 0 else np.full(len(share), 1 / len(share))
    base = 1 if rows >= len(share) else 0
    ideal = rows * share
    out = np.maximum(np.floor(ideal).astype(int), base)
    by_remainder = np.argsort(-(ideal - out), kind="stable")
    step = 0
    while out.sum() < rows:
        out[by_remainder[step % len(out)]] += 1
        step += 1
    while out.sum() > rows:
        out[int(np.argmax(np.where(out > base, out - ideal + out / (rows + 1), -np.inf)))] -= 1
    return [int(n) for n in out]
