"""Null calibration: how often this very procedure, on this very data, cries wolf when the sides are re-drawn.

It knows p-values only.
"""

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate
from audits.statistics.intervals import rate

__all__ = ["calibration_doubt", "null_calibration"]


def null_calibration(null: npt.NDArray[np.float64], alpha: float) -> Estimate:
    """Return the share of re-drawn sides with p <= alpha."""
    alarms = rate(int((null <= alpha).sum()), len(null))
    return alarms.model_copy(update={"method": f"share of re-drawn sides with p <= {alpha:g}; {alarms.method}"})


def calibration_doubt(alarms: Estimate, alpha: float) -> str:
    """Return why the result cannot be a pass; empty when the calibration holds."""
    return "on re-drawn sides this check raised too many alarms (null calibration)" if alarms.low > alpha else ""
