"""`python -m benchmarks.rationales`: students of synthetic rows, output alone against output and rationale.

The task is made by code from a public template and a seed: may a parcel be sent, given two weights and a limit (add,
then compare). A run of `distribution` with the fields question and answer writes rows and rationales; students see the
question and learn the label, or the label and the rationale as a second task (label loss plus rationale loss, Hsieh et
al. 2023, arXiv:2305.02301), the latter also weighted by `step_difficulty`. A student is one hidden layer on sentence
embeddings; it reads no rationale when it is tested. The control trains the same students on as many private problems
with the rationale of the template: a student that cannot learn from that one shows nothing about the others.
"""

import argparse
import csv
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.cells import commit
from benchmarks.quality import circumstances
from privdistill import pipeline
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.evaluation.intervals import paired_difference, wilson
from privdistill.models.loading import load_models

_RESULTS = Path(__file__).parent / "results"
_PRIVATE, _TEST, _SEED = 3000, 600, 20_261_122
_HIDDEN, _STEPS, _STUDENTS = 64, 300, 5
_SYNTHETIC, _CONTROL = "synthetic rows", "control: private problems, rationale of the template"
_THINGS = ("lamp", "kettle", "rug", "drum", "mirror", "vase", "clock", "stool", "basket", "saddle")
_NAMES = ("Mira", "Tomas", "Ines", "Pavel", "Noor", "Jonas", "Lena", "Omar")


@dataclass(frozen=True)
class Problem:
    """A problem, its answer and how one gets there."""

    question: str
    answer: str
    rationale: str


def problems(count: int, seed: int) -> list[Problem]:
    """Different problems, half of them with the answer yes."""
    draw, found = random.Random(seed), dict[str, Problem]()
    while len(found) < count:
        first, second = draw.sample(_THINGS, 2)
        a, b, yes = draw.randint(2, 19), draw.randint(2, 19), len(found) % 2 == 0
        limit = a + b + (draw.randint(0, 6) if yes else -draw.randint(1, min(6, a + b - 1)))
        question = (
            f"{draw.choice(_NAMES)} packs a {first} of {a} kilos and a {second} of {b} kilos. The limit is {limit} "
            "kilos. May the parcel be sent?"
        )
        relation = "within" if yes else "above"
        why = f"{a} and {b} make {a + b} kilos, which is {relation} the limit of {limit} kilos."
        found.setdefault(question, Problem(question, "yes, it may" if yes else "no, it may not", why))
    return list(found.values())


def configured(path: Path, epsilon: float, rows: int, pool_factor: float) -> RunConfig:
    """The run: declared as its owner would."""
    source = Source(
        path=str(path), fields=("question", "answer"), label_column="label", labels=("yes", "no"), size=_PRIVATE
    )
    describe = "word problems about the weight of parcels"
    synthesis = Synthesis(recipe="distribution", rows=rows, describe=describe, rationales=True)
    performance = Performance(pool_factor=pool_factor)
    return RunConfig(source=source, privacy=Privacy(epsilon=epsilon), synthesis=synthesis, performance=performance)


def student_answers(
    points: np.ndarray, labels: np.ndarray, reasons: np.ndarray, weights: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Probability of yes (n,) that a student gives the test points.

    Args:
        points: (m, D) embedded questions.
        labels: (m,) 1 for yes.
        reasons: (m, D) embedded rationales.
        weights: (m,) of the rationale loss of each row; all 0: output alone.
        test: (n, D) embedded questions.
        seed: of the first weights; the same for all variants, so that only the second task differs.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        hidden = torch.nn.Sequential(torch.nn.Linear(points.shape[1], _HIDDEN), torch.nn.Tanh())
        label, reason = torch.nn.Linear(_HIDDEN, 1), torch.nn.Linear(_HIDDEN, reasons.shape[1])
    x, y, r, w = (torch.as_tensor(a, dtype=torch.float32) for a in (points, labels, reasons, weights))
    parameters = [*hidden.parameters(), *label.parameters(), *reason.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=3e-3, weight_decay=1e-2)
    for _ in range(_STEPS):
        inner = hidden(x)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(label(inner).squeeze(1), y)
        loss = loss + (w * ((reason(inner) - r) ** 2).sum(dim=1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return torch.sigmoid(label(hidden(torch.as_tensor(test, dtype=torch.float32)))).squeeze(1).numpy()


def compared(
    rows: Sequence[Problem], weights: Sequence[float] | None, test: Sequence[Problem], encoder: Any
) -> dict[str, dict[str, Any]]:
    """Variant -> accuracy with interval, and paired difference to output alone; a student is the mean of several."""
    points, unseen = (encoder.encode([one.question for one in part]).embeddings for part in (rows, test))
    reasons = encoder.encode([one.rationale or "none" for one in rows]).embeddings
    labels = np.array([one.answer.startswith("yes") for one in rows], dtype=float)
    truth = np.array([one.answer.startswith("yes") for one in test])
    written = np.array([bool(one.rationale) for one in rows], dtype=float)
    losses = {"output alone": 0 * written, "with rationale": written}
    if weights is not None:
        losses["weighted by step difficulty"] = np.array(weights)
    hits = {}
    for name, weight in losses.items():
        each = [student_answers(points, labels, reasons, weight, unseen, seed) for seed in range(_STUDENTS)]
        hits[name] = (np.mean(each, axis=0) > 0.5) == truth
    out = {}
    for name, right in hits.items():
        ahead = paired_difference(right.astype(float), hits["output alone"].astype(float))
        out[name] = {
            "accuracy": wilson(float(right.mean()), len(right)).model_dump(),
            "ahead": None if name == "output alone" else ahead.model_dump(),
        }
    return out


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """One generation, unless the control alone was asked for, and the control."""
    made = problems(_PRIVATE + _TEST, _SEED)
    order = random.Random(_SEED).sample(range(len(made)), len(made))
    private, test = [made[i] for i in order[_TEST:]], [made[i] for i in order[:_TEST]]
    config = configured(Path("parcels.csv"), given.epsilon, given.rows, given.pool_factor)
    encoder = load_models(config.synthesis, config.performance, lambda *_: None).encoder
    around = circumstances(config.performance)
    found = {
        "date": around["date"],
        "machine": f"{around['processor']}, {around['cores']} cores",
        "code": {"commit": commit(), "versions": around["versions"]},
        "rows": given.rows,
        "test_records": len(test),
        _CONTROL: compared(private[: given.rows], None, test, encoder),
    }
    return found if given.control else found | _generated(given, private, test, encoder)


def _generated(
    given: argparse.Namespace, private: Sequence[Problem], test: Sequence[Problem], encoder: Any
) -> dict[str, Any]:
    """Students of one run."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "parcels.csv"
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(("question", "answer", "label"))
            writer.writerows((one.question, one.answer, one.answer.split(",")[0]) for one in private)
        config = configured(path, given.epsilon, given.rows, given.pool_factor)
        run = pipeline.generate(config, run=Path(place) / "run", ledger=f"{place}/ledger", progress=_told())
        table = pq.read_table(run / "candidate" / "data.parquet").to_pylist()
        facts = json.loads((run / "run.json").read_text())["facts"]
    rows = [Problem(row["question"], row["label"], row["rationale"]) for row in table]
    return {
        "run": {
            "epsilon": given.epsilon,
            "pool_factor": given.pool_factor,
            "generations": 1,
            "seconds": round(time.monotonic() - start, 1),
            **{name: facts[name] for name in ("rationales_written", "rationales_empty", "mean_step_difficulty")},
        },
        _SYNTHETIC: compared(rows, [row["step_difficulty"] for row in table], test, encoder),
    }


def markdown(found: dict[str, Any]) -> str:
    """Both tables, or the control alone."""
    run = found.get("run")
    made = (
        "Only the control was run: nothing is said here about synthetic rows."
        if run is None
        else f"`distribution` at epsilon {run['epsilon']:g}, one generation, {run['rationales_written']} rationales "
        "written. That another generation would write other rows is not part of any interval."
    )
    text = [
        "# Students with and without rationales",
        "",
        f"{found['date'][:10]}, {found['machine']}; `python -m benchmarks.rationales`. Word problems made by code, "
        f"{found['rows']} rows to learn from, n = {found['test_records']} test problems, half of them yes. A student "
        "is the mean of five. Accuracy with a 95 % Wilson interval; ahead: paired difference to output alone, 95 % "
        "interval over test problems. A difference whose interval holds zero is none that was shown.",
        "",
        made,
    ]
    for name in (_SYNTHETIC, _CONTROL):
        if name not in found:
            continue
        text += ["", f"## {name[0].upper()}{name[1:]}", "", "| student | accuracy | ahead |", "| --- | --- | --- |"]
        for variant, of in found[name].items():
            a, d = of["accuracy"], of["ahead"]
            ahead = "" if d is None else f"{d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"
            text.append(f"| {variant} | {a['value']:.3f} [{a['low']:.3f}, {a['high']:.3f}] | {ahead} |")
    return "\n".join(text) + "\n"


def _told() -> Any:
    last = [""]

    def progress(stage: str, done: int, total: int) -> None:
        if stage != last[0]:
            last[0] = stage
            print(f"{time.strftime('%H:%M:%S')} {stage}", flush=True)

    return progress


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rationales", description="Rationales as a second task.")
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--pool-factor", type=float, default=3.0)
    parser.add_argument("--control", action="store_true", help="the control alone: no run")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    found = measured(given)
    given.out.mkdir(exist_ok=True, parents=True)
    (given.out / "rationales.json").write_text(json.dumps(found, indent=2) + "\n")
    (given.out / "rationales.md").write_text(markdown(found))
    print(markdown(found))


if __name__ == "__main__":
    main()
