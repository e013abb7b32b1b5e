"""Ridge-penalised logistic regression on a few columns, by Newton's method: small, exact, the same on every machine.

Weights keep a fold's two classes equal. It does not know where scores come from.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import expit

__all__ = ["fit_logistic"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_STEPS = 30


def fit_logistic(columns: FloatArray, members: BoolArray, ridge: float = 1.0) -> FloatArray:
    """Return the coefficients (columns + 1, the intercept last) that tell members from others.

    >>> fit_logistic(np.array([[0.0], [1.0], [0.0], [1.0]]), np.array([False, True, False, True]))[0] > 0
    np.True_
    """
    design = np.concatenate([columns, np.ones((len(columns), 1))], axis=1)
    penalty = np.full(design.shape[1], ridge)
    penalty[-1] = 1e-6
    weight = np.where(members, 0.5 / max(members.sum(), 1), 0.5 / max((~members).sum(), 1)) * len(members)
    found = np.zeros(design.shape[1])
    for _ in range(_STEPS):
        chance = expit(design @ found)
        slope = design.T @ (weight * (members - chance)) - penalty * found
        curve = (design * (weight * chance * (1 - chance))[:, None]).T @ design + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        found = found + step
        if float(np.abs(step).max()) < 1e-9:
            break
    return np.asarray(found, np.float64)
