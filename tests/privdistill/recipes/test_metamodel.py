import numpy as np
import pytest

from tests.conftest import toy_rows


@pytest.mark.usefixtures("small_pool")
def test_a_support_comes_out_with_closed_form_labels_and_its_losses(bench) -> None:
    rows, asked, charged = bench.run("metamodel", *zip(*toy_rows(300), strict=True), rows=20)
    assert len(rows.texts) == len(set(rows.texts)) == len(rows.labels) == 20
    assert [(one.name, one.kind) for one in charged] == [("statistic", "gaussian")]
    assert [block.name for block in asked[0].blocks] == ["count", "moment", "tokens", "opening", "length", "second"]
    assert rows.soft_labels.shape == (20, 2)
    assert np.allclose(rows.soft_labels.sum(axis=1), 1)
    losses = rows.facts["bi_level_loss"]
    assert losses["least"] <= losses["closed_form_labels"] <= losses["hard_labels"] + 1e-5
