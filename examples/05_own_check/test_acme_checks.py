"""What a third party has to write to hold its check to the rules of the examiner: `pytest test_acme_checks.py`."""

import acme_checks  # registers ACME101
import numpy as np
import pytest

from audits.conformance import RULES, verify
from audits.registry import load


def leak(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    """Forty rows begin like a training text and go on otherwise."""
    chosen = [str(text).split() for text in rng.choice(train, 40, replace=False)]
    return rows[:-40] + [" ".join([*words[:7], "and", "so", "on"]) for words in chosen]


@pytest.mark.parametrize("rule", RULES)
def test_the_check_conforms(rule: str) -> None:
    (check,) = (check for check in load(plug_ins=False)[0] if check.origin == acme_checks.__name__)
    verify(check, rule, leak=leak)
