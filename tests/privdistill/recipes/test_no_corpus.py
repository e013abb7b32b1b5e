"""No recipe reaches for the corpus: all run in a process that has models, a task and made-up releases, and no more.

The child never imports `privdistill.corpus` or a mechanism, and an audit hook records every file it opens. The corpus
lies where it could be found: the nearest configuration upwards, and the one that the environment names, say where.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from privdistill.recipes.registry import find_recipe, recipe_names
from tests.conftest import ROOT, toy_rows
from tests.privdistill.recipes.test_distribution import _task

RECIPES = [
    name for name in recipe_names() if any(one.kind != "none" for one in find_recipe(name).mechanisms(_task(8, ["a"])))
]
"""All that claim something."""

CHILD = """
import io, json, os, sys, warnings
warnings.simplefilter("ignore")
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import numpy as np
from privdistill.config import Performance
from privdistill.features.blocks import block_vector, class_of
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.release import ExpertRequest, FinetuneRequest, MechanismRecord, Release
from privdistill.models.adaptation.tail import Tail
from privdistill.models.encoder import SentenceEncoder
from privdistill.models.language_model import LanguageModel
from privdistill.models.tokenizer import ModelTokenizer
from privdistill.recipes import distribution, evolution, finetune
from privdistill.recipes.base import Context, Task, converse
from privdistill.recipes.registry import find_recipe

names, model, encoder = sys.argv[1].split(","), *sys.argv[2:4]
distribution._PUBLIC_TEXTS, distribution._PUBLIC_TOKENS, evolution._TOKENS = (40, 40), 8, 8
finetune._LAYERS, finetune._POOL_TOKENS = 1, 8
performance = Performance(dtype="float32", batch_size=64, pool_factor=1.0)
texts = TextEncoder(
    SentenceEncoder(__import__("pathlib").Path(encoder), model_id="tiny", dtype="float32", max_tokens=32),
    ModelTokenizer(__import__("pathlib").Path(model), model_id="tiny"), 32)
language = LanguageModel.load(__import__("pathlib").Path(model), model_id="tiny", performance=performance)
task = Task(True, ("bad", "good"), None, {}, "short remarks", 8, 500, 8.0, 1e-6, pool_factor=1.0)
record = MechanismRecord("m", "gaussian", 1.0, 1.0, 1, 1.0, {}, "full-batch", "discrete-gaussian", 1, 2.0**28, 0.0, 0.0)
rng = np.random.default_rng(0)

def answer(request):
    # A release without a corpus: what the statistic of nobody would be, noise alone around a plausible count.
    k = len(request.classes.names)
    if isinstance(request, ExpertRequest):
        walk = np.cumsum(0.01 * rng.standard_normal((101, *request.start.shape)), axis=0)
        return Release({"iterates": walk}, {"iterates": 0.01}, record, request.classes.names)
    if isinstance(request, FinetuneRequest):
        tail = Tail(language.network, request.layers, request.rank)
        trained = {name: 0.01 * rng.standard_normal(tuple(one.shape)) for name, one in tail.matrices.items()}
        return Release(trained, {"step": 0.01}, record, request.classes.names)
    payload = {}
    for block in request.blocks:
        shape = (k, *block.shape) if block.per_class else block.shape
        if block.name == "second":
            d = block.basis.shape[1]
            shape = (d, d)
        payload[block.name] = rng.standard_normal(shape) + (250 if block.name == "count" else 0)
    return Release(payload, {name: 1.0 for name in payload}, record, request.classes.names)

class Reader(distribution.DistributionRecipe):
    # Planted: finds the corpus as the command line does, and reads it.

    def run(self, context):
        import yaml
        path = os.environ["PRIVDISTILL_CONFIG"]
        with open(yaml.safe_load(open(path, encoding="utf-8"))["source"]["path"], encoding="utf-8") as stream:
            stream.read()
        return (yield from super().run(context))

rows = {}
for name in names:
    recipe = Reader() if name == "planted" else find_recipe(name)
    noise = {planned.name: 1.0 for planned in recipe.mechanisms(task)}
    made = converse(recipe, Context(task, noise, texts, language, performance, rng, lambda *a: None), answer)
    rows[name] = len(made.texts)
loaded = sorted(m for m in sys.modules if m.startswith(("privdistill.corpus", "privdistill.mechanisms.")))
print(json.dumps({"rows": rows, "loaded": loaded, "opened": opened}))
"""


def told(names: list[str], language_model: Path, encoder: Path, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the child says, and which files of the private folder it opened."""
    corpus = folder / "private" / "corpus.csv"
    corpus.parent.mkdir()
    corpus.write_text("text\n" + "\n".join(text for text, _ in toy_rows(20)), encoding="utf-8")
    config = folder / "privdistill.yaml"
    config.write_text(f"source:\n  path: {corpus}\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", CHILD, ",".join(names), str(language_model), str(encoder)],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PRIVDISTILL_CONFIG": str(config), "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout.splitlines()[-1])
    opened = [Path(folder, path).resolve() for path in said["opened"]]
    return said, [path.name for path in opened if path.is_relative_to(folder.resolve()) and path != config]


def test_recipes_run_where_there_is_no_corpus(tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    said, found = told(RECIPES, tiny_language_model, tiny_encoder, tmp_path)
    assert said["rows"] == dict.fromkeys(RECIPES, 8)
    assert said["loaded"] == ["privdistill.mechanisms.release", "privdistill.mechanisms.release.blocks"]
    assert found == []


def test_planted_a_recipe_that_reads_the_corpus_is_caught(
    tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    said, found = told(["planted"], tiny_language_model, tiny_encoder, tmp_path)
    assert said["rows"] == {"planted": 8}
    assert found == ["corpus.csv"]
