"""How many rows each class gets: exactly N in all, in the noised shares.

It does not know texts, nor whether enough candidates exist.
"""

import numpy as np
import numpy.typing as npt

from privdistill.mechanisms.release import FloatArray

__all__ = ["EXPONENT", "quotas", "tempered"]

EXPONENT = 0.4
"""The usual power: chosen on holdout sides at epsilon 8 and 2,000 rows. What is best depends on the rows and on the
corpus (see `synthesis.selection.rehearsal`)."""


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


def tempered(shares: FloatArray, believed: npt.NDArray[np.bool_], exponent: float = EXPONENT) -> FloatArray:
    """Shares drawn towards equal ones: each to a power below one.

    A small training set leaves a regularised student close to the majority class; rows are better spent the other
    way. The rule is that of sampling rare languages for a shared model (Conneau et al. 2020, arXiv:1911.02116,
    section 3.1, alpha). A class whose count does not stand out of the noise keeps the share it has: it may be empty.

    Args:
        shares: (K,) noised class shares.
        believed: (K,) classes whose count stands out of the noise.
        exponent: 0 makes shares of believed classes equal, 1 leaves them as they are.

    Returns:
        (K,) shares that add up to one.
    """
    out = np.asarray(shares, dtype=np.float64) / np.sum(shares)
    own = out[believed].sum()
    roots = out[believed] ** exponent
    out[believed] = own * roots / max(roots.sum(), 1e-12)
    return out
