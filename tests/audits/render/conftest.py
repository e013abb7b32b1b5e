"""A report with every status in it, and texts that try to break a format."""

import pytest

from audits.findings import AuditReport, Estimate, Finding, Inputs, Power, SideCount, WorstCase

HOSTILE = "a|b <script>&amp;]]> `x` \x1b[31m\x00 \u2028 row"


def made(id: str, status: str, **more: object) -> Finding:
    facts = {"name": f"check-{id.lower()}", "title": "Is it so?", "threat_model": "T0", "tier": "core"}
    return Finding.model_validate({"id": id, "status": status, "summary": f"7731 things, {HOSTILE}.", **facts, **more})


@pytest.fixture(scope="session")
def report() -> AuditReport:
    side = SideCount(units_used=7731, units_available=7732, records_used=7733, records_available=7734)
    number = Estimate(value=0.7731, low=0.7, high=0.8, n=7731, method="m")
    power = Power(probability=0.8, detectable=0.07731, unit="u", method="m", sentence="7731 would have been found.")
    case = WorstCase(unit="00ff" * 4, side="train", synthetic_row=7731, score=77.31, offset=2, length=9)
    return AuditReport(
        examiner_version="1.2.3",
        seed=7731,
        inputs=Inputs(
            synthetic_sha256="ab" * 32,
            claim_sha256="cd" * 32,
            synthetic=side,
            train=side,
            holdout=side,
            privacy_unit="who|x",
            split="external",
        ),
        required=("X1", "X2", "X3", "X4"),
        findings=(
            made("X1", "pass", estimates={"rate": number}, p_value=0.7731, power=power),
            made("X2", "fail", p_value=0.007731, corrected_p_value=0.01, correction="Holm", worst_cases=(case,)),
            made("X3", "inconclusive", notes=("7731 noted",)),
            made("X4", "error"),
            made("X5", "skipped"),
        ),
        verdict="fail",
        libraries={"numpy": "7731"},
    )
