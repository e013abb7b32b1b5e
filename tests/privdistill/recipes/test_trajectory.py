import numpy as np
import pytest

from tests.conftest import toy_rows


@pytest.mark.usefixtures("small_pool")
def test_an_expert_is_trained_once_and_followed(bench) -> None:
    rows, asked, charged = bench.run("trajectory", *zip(*toy_rows(400), strict=True), rows=20)
    assert len(rows.texts) == len(set(rows.texts)) == len(rows.labels) == 20
    assert [(one.name, one.kind, one.sampler, one.steps) for one in charged] == [
        ("statistic", "gaussian", "full-batch", 1),
        ("expert", "sampled-gaussian", "poisson", 100),
    ]
    assert charged[1].noise == "float-gaussian"
    assert (asked[1].start == 0).all()
    assert asked[1].expected_units != 400  # the noised number, never the exact one
    assert rows.soft_labels.shape == (20, 2)
    assert np.allclose(rows.soft_labels.sum(axis=1), 1)
    assert rows.facts["segment_distance"] > 0
    assert len(rows.facts["segment_noise_share"]) == 5
