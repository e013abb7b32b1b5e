import numpy as np
import pytest

from tests.conftest import toy_rows


@pytest.mark.usefixtures("small_pool")
def test_gradients_at_public_checkpoints_are_measured_once_and_matched(bench) -> None:
    rows, asked, charged = bench.run("gradient", *zip(*toy_rows(300), strict=True), rows=20)
    assert len(rows.texts) == len(set(rows.texts)) == len(rows.labels) == 20
    assert [(one.name, one.kind) for one in charged] == [("statistic", "gaussian")]
    block = asked[0].blocks[-1]
    assert block.name == "gradient"
    assert block.weights.shape[:2] == (3, 2)
    assert charged[0].sensitivity_parts["gradient"] == pytest.approx(1.5)
    assert charged[0].dimension == asked[0].dimension
    assert set(rows.facts["gradient_cosine"]) <= {"bad", "good"}
    assert all(np.isfinite(value) for value in rows.facts["gradient_cosine"].values())
