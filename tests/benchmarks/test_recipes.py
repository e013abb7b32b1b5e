"""The recipe benchmark: slices add up, shared models change no embedding, table and plot say what is missing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import recipe_table, recipes
from benchmarks.cells import Cell, CorpusBench, Store
from benchmarks.corpora import Corpus
from benchmarks.plot import svg
from benchmarks.recipe_floor import behind
from benchmarks.sharing import RememberedSentences, RememberedWriter, SharedModels
from privdistill.config import Performance, Synthesis
from privdistill.models.loading import load_models
from privdistill.recipes import finetune
from privdistill.recipes.auto import DEFAULT, PROVEN
from privdistill.synthesis import selection
from tests.conftest import toy_rows
from tests.privdistill.mechanisms.conftest import ToySentences


def line(recipe: str, epsilon: float, value: float = 0.6, *, generation: int = 0, **more: Any) -> dict[str, Any]:
    cell = Cell("messages", recipe, epsilon, 500, generation)
    scores = {
        student: {name: [value, value - 0.02, value + 0.02] for name in ("accuracy", "balanced_accuracy", "macro_f1")}
        for student in ("words", "encoder", "static")
    }
    found = {
        **cell.__dict__,
        "status": "done",
        "metric": "balanced_accuracy",
        "test_records": 900,
        "code": {"commit": "abc", "versions": {"torch": "2"}},
        "date": "2026-11-22T10:00:00+00:00",
        "machine": "a machine, 2 cores",
        "scores": scores,
        "seconds": 60.0,
        "teacher": 0.777,
    }
    return found | more


def markdown(lines: list[dict[str, Any]], auto: str = "distribution", majority: float = 0.5) -> str:
    return recipe_table.markdown(lines, lambda *given: auto, lambda corpus: majority)


LINES = [
    *(line("distribution", e, 0.7 + e / 100, generation=g) for e in (1.0, 2.0, 4.0, 8.0) for g in (0, 1)),
    *(line("slow", e, 0.5) for e in (1.0, 2.0, 4.0)),
    line("slow", 8.0, status="refused", reason="too few records"),
    line("zero-shot pool", 0.0, 0.55),
    line("real, train side", 0.0, 0.93, trained_rows=2500),
]


def test_a_slice_goes_on_where_the_last_one_stopped(tmp_path: Path) -> None:
    store = Store(tmp_path / "results" / "recipes.jsonl")
    assert store.lines() == []
    store.append(line("distribution", 8.0))
    store.append(line("distribution", 4.0, status="failed", reason="crash"))
    store.append(line("slow", 8.0, status="refused", reason="too few"))
    done = Store(tmp_path / "results" / "recipes.jsonl").done(None)
    assert Cell("messages", "distribution", 8.0, 500, 0).key() in done
    assert Cell("messages", "slow", 8.0, 500, 0).key() in done
    assert Cell("messages", "distribution", 4.0, 500, 0).key() not in done, "what failed is tried again"
    assert Cell("messages", "distribution", 8.0, 500, 1).key() not in done
    assert Cell("messages", "distribution", 8.0, 2000, 0).key() not in done
    assert store.done("another commit") == set()


def test_the_table_has_every_cell_the_floor_and_the_ceiling() -> None:
    text = markdown(LINES)
    assert "balanced accuracy on 900 test records" in text
    assert "0.710 ± 0.000 (2)" in text, "generations: mean and standard deviation"
    assert "0.500 (0.480 to 0.520)" in text, "one generation: interval over test records"
    assert "real, train side, 2500 records" in text
    assert "| majority class | | | | | 0.500 | | |" in text
    assert "slow, epsilon 8: refused: too few records" in text
    assert "| auto is | distribution |" in text
    assert "the DP teacher of distribution itself: 0.777 at epsilon 1" in text


PEER = line(
    "a tool 2.7 (epsilon 1.69, its own account)", 0.0, 0.423, origin="peer", trained_rows=500,
    peer={"empty_rows": 75, "epsilon_claimed": 1.69, "delta": 1e-6, "records": 7134, "epochs": 2.0,
          "training_seconds": 851.0, "seconds": 1206.4},
)  # fmt: skip


@pytest.mark.parametrize("others", [[], LINES], ids=["alone", "beside recipes"])
def test_a_peer_stands_under_its_own_heading_and_says_what_is_known_of_it(others: list[dict[str, Any]]) -> None:
    text = markdown([PEER, *others])
    for table in (part.splitlines() for part in text.split("\n\n") if part.startswith("| student")):
        assert {row.count("|") for row in table} == {table[0].count("|")}, "as many cells in each row as in the heading"
        columns = [cell.strip() for cell in table[0].split("|")]
        peer = next([cell.strip() for cell in row.split("|")] for row in table if "its own account" in row)
        assert peer[columns.index("reference")] == "0.423 (0.403 to 0.443)"
        assert peer[columns.index("seconds")] == "60"
    assert "500 rows, 75 of them without text; epsilon 1.69 at delta 1e-06 by its own account" in text
    assert "Balanced accuracy of its students: TF-IDF 0.423" in text
    assert "one class" not in text
    flat = PEER | {"scores": PEER["scores"] | {"static": {"accuracy": [0.4] * 3, "balanced_accuracy": [0.5] * 3}}}
    flat = flat | {"metric": "accuracy"}
    assert "one class is all that is answered by static embeddings" in markdown([flat])


def test_only_the_student_that_no_choice_simulates_is_called_unseen() -> None:
    text = markdown([line("gradient", 4.0), line("evolution", 4.0), line("zero-shot pool", 0.0)])
    assert "| student TF-IDF (seen by the choice of gradient) |" in text, "class shares are tried out on it"
    assert "| student MiniLM (seen by the choice of every recipe) |" in text
    assert "| student static embeddings (seen by no choice) |" in text
    assert "static embeddings (seen by the choice of slow)" in markdown(LINES), "of a stranger all is believed"
    assert set(selection._STUDENT_WEIGHTS) == {"words", "embeddings"}, "what the choice simulates, as the marks say"


def test_auto_takes_only_what_the_committed_table_never_shows_behind_the_default() -> None:
    lines = [one for one in Store(recipes._RESULTS / "recipes.jsonl").lines() if one.get("origin") != "whole run"]
    for name in PROVEN:
        assert behind(lines, name, DEFAULT) == []
    assert any("at most" in one for one in behind(lines, "evolution", DEFAULT)), "a loser is told from the rest"
    assert behind(LINES, "slow", "distribution")[0].startswith("messages, 500 rows, epsilon 1, TF-IDF: at most 0.520")
    assert "messages, 500 rows, epsilon 8, TF-IDF: not run" in behind(LINES, "slow", "distribution")


def test_each_row_says_which_code_made_it_and_a_mixed_row_is_marked() -> None:
    other = {"commit": "def", "versions": {"torch": "2"}}
    again = line("slow", 2.0, 0.5, code=other)
    text = markdown([*LINES, again, line("slow", 4.0, 0.5, code=other)])
    rows = {row.split(" | ")[0]: row for row in text.splitlines() if row.startswith("| ")}
    assert rows["| distribution"].endswith("| abc |")
    assert rows["| zero-shot pool"].endswith("| abc |")
    assert rows["| slow"].endswith("| **mixed** |")
    assert "* code of slow is mixed: abc (epsilon 1, 8), def (epsilon 2, 4)" in text
    assert "code of distribution is mixed" not in text
    whole = [one | {"code": other} for one in LINES]
    assert "mixed:" not in markdown([*LINES, *whole]), "a cell that was made again counts once"


def judged(*lines: dict[str, Any], **options: Any) -> str:
    text = markdown([line("zero-shot pool", 0.0, 0.436), *lines], **options)
    return text[text.index("## Above the floor at epsilon 4, 500 rows") : text.index("## messages")]


def test_a_recipe_beats_the_floor_only_beyond_its_interval() -> None:
    text = judged(line("far", 4.0, 0.53), line("near", 4.0, 0.51))
    assert "TF-IDF 0.500, MiniLM 0.500, static embeddings 0.500" in text, "a constant answer is better than the pool"
    assert "| far | no cell | no cell | every student | 1 of 3 | 1 of 3 |" in text
    assert "| near | no cell | no cell | none | 0 of 3 | 0 of 3 |" in text, (
        "0.51 (0.49 to 0.53) may be a constant answer"
    )
    assert "| near | no cell | no cell | every student |" in judged(line("near", 4.0, 0.51), majority=0.2)


def test_a_recipe_that_needs_two_corpora_is_told_where_it_falls_short_and_whether_auto_takes_it() -> None:
    both = [line(name, e, v, corpus="reviews") for name, e, v in (("zero-shot pool", 0.0, 0.4), ("far", 4.0, 0.7))]
    uneven = line("uneven", 4.0, 0.7, corpus="reviews")
    uneven["scores"]["words"] = line("uneven", 4.0, 0.4)["scores"]["words"]
    text = judged(*both, line("far", 4.0, 0.53), line("uneven", 4.0, 0.7), uneven, auto="uneven")
    assert "| far | every student | no cell | every student | 2 of 3 | 2 of 3 |" in text
    assert "far is not shown" not in text
    assert "| uneven | MiniLM, static embeddings | no cell | every student | 1 of 3 | 2 of 3 |" in text
    assert (
        "* uneven is not shown to beat the floor on 2 corpora with every student: with TF-IDF not on reviews, "
        "questions; with MiniLM not on questions; with static embeddings not on questions. "
        "`auto` takes it all the same: messages at epsilon 4, reviews at epsilon 4"
    ) in text
    assert "with any student: with TF-IDF not on reviews, questions, messages" in judged(line("near", 4.0, 0.51))
    assert "`auto` takes it nowhere in this report" in judged(line("near", 4.0, 0.51))


def test_every_generation_must_be_above_the_floor_and_a_refusal_or_a_missing_pool_shows_nothing() -> None:
    two = (line("some", 4.0, 0.8), line("some", 4.0, 0.51, generation=1))
    assert "| some | no cell | no cell | none |" in judged(*two)
    refused = line("some", 4.0, status="refused", reason="too few records")
    assert "| some | no cell | no cell | no cell |" in judged(refused)
    assert "| some | no cell | no cell | none |" in markdown([line("some", 4.0, 0.8)])


def test_the_constant_answer_is_the_commonest_private_label() -> None:
    rows = [("a b c", "x"), ("a b d", "x"), ("a b e", "y")]
    corpus = Corpus("toys", ("x", "y", "z"), "notes", {}, "accuracy", 3, tuple(rows), (*rows, ("a b f", "y")))
    assert corpus.majority() == 0.5
    assert replace(corpus, metric="balanced_accuracy").majority() == pytest.approx(1 / 3)


class Bench:
    """Makes cells without running anything."""

    def __init__(self, *given: Any) -> None:
        pass

    def references(self, *given: Any) -> list[dict[str, Any]]:
        return []

    def cell(self, cell: Cell) -> dict[str, Any]:
        return line(cell.recipe, cell.epsilon) | cell.__dict__


@pytest.fixture
def nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "SharedModels", lambda *given: None)
    monkeypatch.setattr(recipes, "CorpusBench", Bench)
    monkeypatch.setattr(recipes, "load", lambda name: name)
    monkeypatch.setattr(recipes, "_report", lambda *given: None)
    cells = [Cell("messages", "distribution", epsilon, 200, 0) for epsilon in (4.0, 8.0)]
    monkeypatch.setattr(recipes, "_cells", lambda bench, given, generation: cells)
    monkeypatch.setattr(recipes, "names", lambda: ("messages",))


def whole_runs(out: Path, *arguments: str) -> list[dict[str, Any]]:
    recipes.main(["--corpora", "messages", "--out", str(out), *arguments])
    return [one for one in Store(out / "recipes.jsonl").lines() if one.get("origin") == "whole run"]


@pytest.mark.usefixtures("nothing_is_run")
def test_a_run_keeps_its_wall_time_and_the_table_shows_it_when_it_made_all_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (run,) = whole_runs(tmp_path)
    assert run["in_one_go"]
    assert (run["cells"], run["rows"], run["generations"]) == (2, 200, 1)
    assert run["seconds"] >= 0
    assert run["start"] <= run["end"]
    assert run["threads"] >= 1
    assert "2 cells in 0.0 minutes of wall time" in capsys.readouterr().out
    store = Store(tmp_path / "recipes.jsonl")
    assert len(store.done(None)) == 2, "the line of a run is no cell"
    assert "in one go: 2 cells of 200 rows in 0.0 minutes of wall time" in markdown(store.lines())
    assert ElementTree.fromstring(svg(store.lines())) is not None
    assert len(whole_runs(tmp_path)) == 1, "a run that made nothing keeps nothing"


@pytest.mark.usefixtures("nothing_is_run")
@pytest.mark.parametrize("slice_of", ["recipes", "epsilons", "what was there", "time"])
def test_a_slice_is_not_all_cells_in_one_go(slice_of: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = {"recipes": ["--recipes", "distribution"], "epsilons": ["--epsilons", "4"]}.get(slice_of, [])
    if slice_of == "what was there":
        Store(tmp_path / "recipes.jsonl").append(line("distribution", 4.0, rows=200))
    if slice_of == "time":
        clock = iter(range(0, 10**6, 4000))  # more than an hour from one look at it to the next
        monkeypatch.setattr(recipes, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    (run,) = whole_runs(tmp_path, *given)
    assert not run["in_one_go"]
    assert "No run kept here made all cells of `make bench-recipes` in one go" in markdown(
        Store(tmp_path / "recipes.jsonl").lines()
    )


def test_the_newest_line_of_a_cell_counts() -> None:
    lines = [line("distribution", 8.0, 0.5), line("distribution", 8.0, 0.8)]
    text = markdown(lines)
    assert "0.800 (" in text
    assert "0.500 (" not in text


def test_the_plot_is_a_picture_with_a_line_for_each_recipe() -> None:
    root = ElementTree.fromstring(svg(LINES))
    space = "{http://www.w3.org/2000/svg}"
    labels = [one.text for one in root.iter(f"{space}text")]
    assert {"distribution", "slow", "real records", "messages, TF-IDF student"} <= set(labels)
    assert len(list(root.iter(f"{space}polyline"))) == 2 * 3
    heights = [float(one.get("cy", "nan")) for one in root.iter(f"{space}circle")]
    assert len(heights) == (4 + 3) * 3
    assert ElementTree.fromstring(svg(LINES[-2:])) is not None, "references alone are no crash"
    assert svg([*LINES, line("another tool", 0.0, rows=5000, origin="peer")]) == svg(LINES), "it takes no panel away"
    assert svg([*LINES, line("distribution", 1.0, rows=5000)]) == svg(LINES), "nor does a cell of more rows"


def test_cells_and_references_run_once_on_shared_models(
    tiny_encoder: Path, tiny_language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way on tiny models: a floor, two ceilings, one cell of a real recipe, nothing twice."""
    rows = toy_rows(240, seed=0)
    words = {"good": "praise", "bad": "complaint"}
    corpus = Corpus("toys", tuple(words), "notes", words, "accuracy", 120, tuple(rows[:180]), tuple(rows[180:]))
    performance = Performance(batch_size=16)
    shared = SharedModels(Synthesis(model=str(tiny_language_model), encoder=str(tiny_encoder)), performance)
    store = Store(tmp_path / "recipes.jsonl")
    bench = CorpusBench(corpus, shared, performance)
    for found in bench.references(12, 0, store.done(None)):
        store.append(found)
    cell = Cell("toys", "distribution", 8.0, 12, 0)
    store.append(bench.cell(cell))
    assert list(bench.references(12, 0, store.done(None))) == []
    assert cell.key() in store.done(None)
    made = {one["recipe"]: one for one in store.lines()}
    assert set(made) == {"zero-shot pool", "real, train side", "real, random", "distribution"}
    assert made["distribution"]["status"] == "done", made["distribution"].get("reason")
    assert made["distribution"]["epsilon_claimed"] <= 8.0
    assert 0.0 <= made["distribution"]["teacher"] <= 1.0
    assert made["real, train side"]["scores"]["words"]["accuracy"][0] > 0.9
    assert made["real, train side"]["trained_rows"] == 126
    assert "toys, 12 rows: accuracy on 60 test records" in markdown(store.lines())
    assert "likelihood" not in made["distribution"]
    monkeypatch.setattr(finetune, "_LAYERS", 1)  # the tiny model has two
    tuned = bench.cell(Cell("toys", "finetune", 8.0, 12, 0))
    assert tuned["status"] == "done", tuned.get("reason")
    assert tuned["likelihood"]["gain_per_token"]["n"] == 60
    assert tuned["likelihood"]["perplexity"][0] != tuned["likelihood"]["perplexity"][1], "training changed the model"
    assert 0 < tuned["sampled"]["rows"] <= 12
    said = markdown([*store.lines(), tuned])
    assert "the model that finetune trained at epsilon 8: perplexity of 60 real test texts" in said
    from privdistill.models import loading

    assert loading.load_models is load_models, "the pipeline has its own loader back"


class Writer:
    def __init__(self) -> None:
        self.calls = 0

    def sample(self, prompts, **options):
        self.calls += 1
        return [(f"text {self.calls}", True) for _ in prompts]


def test_unsteered_texts_are_written_once_a_generation_and_steered_ones_always() -> None:
    inner = Writer()
    writer = RememberedWriter(inner)
    options: dict[str, Any] = {"max_new_tokens": 8, "temperature": 1.0, "top_p": 0.9, "bias": None}
    writer.begin(0)
    first, second = writer.sample(["a"], **options), writer.sample(["a"], **options)
    assert first != second, "a second request of one run gets texts of its own"
    writer.begin(0)
    assert [writer.sample(["a"], **options), writer.sample(["a"], **options)] == [first, second]
    steered = options | {"bias": np.zeros((1, 3))}
    assert writer.sample(["a"], **steered) != writer.sample(["a"], **steered)
    writer.begin(1)
    assert writer.sample(["a"], **options) not in (first, second), "another generation starts anew"
    assert writer.calls == 5


@pytest.mark.parametrize("texts", [["a", "b", "a"], []])
def test_remembered_embeddings_are_bitwise_those_of_the_encoder(texts: list[str]) -> None:
    remembered = RememberedSentences(ToySentences())
    remembered.embed(["b", "c"])
    assert np.array_equal(remembered.embed(texts), ToySentences().embed(texts))
