"""Exact integer noise from the operating system's randomness: OpenDP's discrete Gaussian.

The sampler is exact (Canonne, Kamath & Steinke 2020, arXiv:2004.00010). There is no seed parameter and no way to
switch the noise off; tests call the clean-sum functions instead. It does not know what the integers mean, nor their
sensitivity.
"""

import numpy as np

from privdistill.errors import MechanismError
from privdistill.mechanisms.release import IntArray

__all__ = ["add_discrete_gaussian"]

_CHUNK = 1 << 18
_LIMIT = 2**62


def add_discrete_gaussian(total: IntArray, grid_steps: float) -> IntArray:
    """Each cell plus an independent discrete Gaussian of standard deviation `grid_steps`.

    Guarantee: for integer sums of L2 sensitivity s, mu-Gaussian-DP with mu = s / grid_steps up to the discretisation
    delta of
        `accounting.budget.discretisation_delta`.
    Sensitivity: must be known to the caller.

    Raises:
        MechanismError: the sum could overflow 64 bits, or is not a flat integer array.
    """
    import opendp.prelude as dp

    if total.dtype != np.int64 or total.ndim != 1:
        raise MechanismError(f"expected a flat int64 sum, found {total.dtype} of {total.ndim} dimensions")
    if not 2.0**24 <= grid_steps <= 2.0**50:
        raise MechanismError(f"expected a noise of 2^24 to 2^50 grid steps, found {grid_steps}")
    if total.size and max(int(total.max()), -int(total.min())) > _LIMIT - 64 * int(grid_steps):
        raise MechanismError("the integer sum could overflow 64 bits; ask for a smaller epsilon or split the corpus")
    dp.enable_features("contrib")
    measurement = dp.m.make_gaussian(
        dp.vector_domain(dp.atom_domain(T=dp.i64)), dp.l2_distance(T=dp.f64), scale=float(grid_steps)
    )
    chunks = [total[start : start + _CHUNK] for start in range(0, total.size, _CHUNK)]
    noised = [np.asarray(measurement(chunk.tolist()), dtype=np.int64) for chunk in chunks]
    return np.concatenate(noised) if noised else total.copy()
