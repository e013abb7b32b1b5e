"""The sweep around the public rule: what is there is not run again, and the table says what it rests on."""

import argparse
import json
from pathlib import Path

import pytest

from benchmarks import dpsgd_sweep
from benchmarks.corpora import Corpus
from benchmarks.dpsgd_sweep import Setting, Stand, markdown, measure
from privdistill.config import Performance, Synthesis
from privdistill.models.loading import load_models
from privdistill.recipes import finetune
from tests.conftest import toy_rows


def test_a_sweep_goes_on_where_it_stopped_and_says_how_far_the_rule_is(
    tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [Setting(), Setting(learning_rate=3.0), Setting(max_grad_norm=1.0)]
    monkeypatch.setattr(dpsgd_sweep, "settings", lambda draws, rates: iter(points))
    given = argparse.Namespace(
        corpus="toy", epsilon=8.0, size=400, records=20, held_out=8, draws=1, model="tiny", layers=1, rank=2
    )
    given.shortlist, given.learning_rate, given.weights, given.rates = 0, 1e-2, "low-rank", None
    spec = Synthesis(model=str(tiny_language_model), encoder=str(tiny_encoder))
    performance = Performance(dtype="float32")
    models = load_models(spec, performance, lambda *said: None)
    corpus = Corpus("toy", ("good", "bad"), "short remarks", {}, "accuracy", 400, tuple(toy_rows(200)), ())
    stand = Stand(corpus, models, given)
    ran: list[Setting] = []
    real = Stand.run
    monkeypatch.setattr(Stand, "run", lambda self, one: (ran.append(one), real(self, one))[1])
    path = tmp_path / "results" / "sweep.json"
    out = measure(stand, 1, {}, path)
    assert ran == points
    assert json.loads(path.read_text()) == out
    measure(stand, 1, json.loads(path.read_text()), path)
    assert ran == points, "what is there is not run again"
    rule, faster, clipped = (out["points"][one.name] for one in points)
    assert (rule["steps"], rule["sample_rate"]) == (finetune.schedule_for(400)[1], finetune.schedule_for(400)[0])
    assert rule["after"] != stand.before
    assert faster["after"] != rule["after"] != clipped["after"]
    out |= {
        "given": {name: str(value) for name, value in vars(given).items()},
        "circumstances": {
            "date": "2026-11-22T10:00:00",
            "processor": "a processor",
            "cores": 2,
            "versions": {"torch": "2", "opacus": "1"},
        },
    }
    text = markdown(out)
    assert text.count("| learning rate x") == 3
    assert "The rule gains" in text
    assert "3 points is" in text
    with pytest.raises(SystemExit, match="other texts or another model"):
        measure(stand, 1, {"before": [0.0] * 8}, path)
