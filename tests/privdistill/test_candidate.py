"""What a candidate's rows look like: soft labels at the temperature that was asked for."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from privdistill.candidate import softened
from privdistill.config import RunConfig
from tests.privdistill import test_pipeline

recipe, config, ledger = test_pipeline.recipe, test_pipeline.config, test_pipeline.ledger


def test_a_temperature_divides_the_log_odds_and_keeps_the_order() -> None:
    draw = np.random.default_rng(0).dirichlet(np.ones(4), size=20)
    assert np.allclose(softened(draw, 1.0), draw)
    for temperature in (2.0, 4.0, 8.0):
        soft = softened(draw, temperature)
        assert np.allclose(soft.sum(axis=1), 1)
        assert (soft.argsort(axis=1) == draw.argsort(axis=1)).all()
        assert np.allclose(np.log(soft[:, 0] / soft[:, 1]), np.log(draw[:, 0] / draw[:, 1]) / temperature)
    assert softened(np.array([[1.0, 0.0]]), 8.0).tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(("temperature", "expected"), [(1.0, 0.9), (2.0, 0.75)])
def test_the_column_has_the_temperature_and_hard_labels_stay(
    recipe, config: RunConfig, ledger: str, tmp_path: Path, temperature: float, expected: float
) -> None:
    def run(self, context):
        rows = yield from test_pipeline.CountingRecipe.run(self, context)
        return replace(rows, soft_labels=np.tile([0.9, 0.1], (len(rows.texts), 1)))

    recipe.run = run
    synthesis = config.synthesis.model_copy(update={"soft_label_temperature": temperature})
    made = test_pipeline.generate(config.model_copy(update={"synthesis": synthesis}), ledger, tmp_path / "run")
    table = pq.read_table(made.data).to_pydict()
    assert {round(one["good"], 5) for one in table["soft_label"]} == {expected}
    assert set(table["label"]) == {"good", "bad"}
