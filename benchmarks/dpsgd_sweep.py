"""`python -m benchmarks.dpsgd_sweep`: how far the public rule of `finetune` is from the best of a sweep.

The corpus is a public stand-in, and only its private side is used: records to train on, others to hold out. One factor
of the rule is doubled or halved and more at a time, the learning rate and the number of steps together. Noise is what a
corpus of the declared size would get at that epsilon by each setting's own schedule; with fewer records, noise and
expected batch shrink together, so that noise over signal stays. Activations below the cut are computed once for all
settings. `--weights whole|full` trains weights instead of adapters, and `--rates` looks at learning rates alone. What
is compared is the likelihood of held-out texts, paired by text. Goes on where it stopped.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.corpora import Corpus, load, names
from benchmarks.quality import circumstances
from benchmarks.trained import as_units, request_for, spread
from privdistill.accounting.budget import Sampling, calibrate
from privdistill.config import Performance, Synthesis
from privdistill.mechanisms.dpsgd import Clipping, Schedule, train_privately
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.tail_loss import TailLoss, _length, make_sequences
from privdistill.models.adaptation.tail import ROWS, Tail
from privdistill.models.loading import Models, load_models
from privdistill.recipes import finetune

_RESULTS = Path(__file__).parent / "results"
_DELTA = 1e-6
_CLIPPING: dict[str, Clipping] = {"low-rank": "per-unit", "whole": "ghost", "full": "alone"}


@dataclass(frozen=True)
class Setting:
    """One point: factors on the rule's learning rate, epochs and batch, the clip itself, and which draw it is."""

    learning_rate: float = 1.0
    epochs: float = 1.0
    batch: float = 1.0
    max_grad_norm: float = finetune._MAX_GRAD_NORM
    draw: int = 0

    @property
    def name(self) -> str:
        """Key of the point in the results."""
        return (
            f"learning rate x{self.learning_rate:g}, epochs x{self.epochs:g}, batch x{self.batch:g}, "
            f"clip {self.max_grad_norm:g}, draw {self.draw}"
        )


def settings(draws: int, rates: Sequence[float] | None = None) -> Iterator[Setting]:
    """The rule several times, to see what the draw alone does; then the sweep, or only these learning rates."""
    if rates:
        yield from (Setting(learning_rate=rate) for rate in rates)
        return
    yield from (Setting(draw=draw) for draw in range(draws))
    for rate in (1 / 3, 1.0, 3.0):
        for epochs in (0.5, 1.0, 2.0):
            if (rate, epochs) != (1.0, 1.0):
                yield Setting(learning_rate=rate, epochs=epochs)
    yield from (Setting(batch=batch) for batch in (0.5, 2.0))
    yield from (Setting(max_grad_norm=norm) for norm in (0.1, 1.0))


class Stand:
    """Records and held-out texts of one padded length, with their activations below the cut."""

    def __init__(self, corpus: Corpus, models: Models, given: argparse.Namespace) -> None:
        """Choose texts by a fixed draw and compute what every setting shares."""
        self._given, self.rates = given, given.rates
        self.request = request_for(corpus, models, given.layers or 1, given.rank, float(given.size))
        self.tail = Tail(models.language_model.network, given.layers, given.rank, full=given.weights == "full")
        self._untrained = {name: matrix.detach().clone() for name, matrix in self.tail.matrices.items()}
        rows = [corpus.private[i] for i in np.random.default_rng(0).permutation(len(corpus.private))]
        units, encoded = as_units(rows, models)
        sequences = make_sequences(units, encoded, self.request, models.language_model)
        lengths = [0 if one is None else _length(one) for one in sequences]
        # One shape, so that a batch fills its passes and the sweep costs minutes.
        (common, _), *_ = Counter(length for length in lengths if length).most_common(1)
        of_it = [one for one, length in zip(sequences, lengths, strict=True) if length == common]
        chosen, held = of_it[: given.records], of_it[given.records : given.records + given.held_out]
        if len(chosen) < given.records or len(held) < given.held_out:
            raise SystemExit(f"only {len(of_it)} texts have one shape; ask for fewer --records or --held-out")
        self.records = len(chosen)
        whole = Head.of(self.tail.head, self.tail.head_bias, None) if self.tail.cut else None
        self.train = TailLoss(self.tail, whole, chosen)
        self.held = TailLoss(self.tail, whole, held)
        self._reset()
        self.before = self.likelihoods()

    def likelihoods(self) -> list[float]:
        """Mean negative log-likelihood per token of each held-out text."""
        spans = [(i, i + 1) for i in range(self._given.held_out)]
        out = np.zeros(len(spans))
        with torch.no_grad():
            for part in self.held.passes(spans):
                where = np.array([low for low, _ in part])
                out[where] = self.held(self.held.module, where).numpy()
        return out.tolist()

    def run(self, setting: Setting) -> dict[str, Any]:
        """Train at one setting, from the public model on."""
        self._reset()
        schedule, noise = self._schedule(setting)
        start = time.process_time()
        train_privately(
            self.train.module,
            self.train,
            [(i, i + 1) for i in range(self.records)],
            schedule,
            make_optimizer=lambda trained: torch.optim.Adam(
                trained, lr=self._given.learning_rate * setting.learning_rate
            ),
            passes=self.train.passes,
            clipping=_CLIPPING[self._given.weights],
        )
        seconds = time.process_time() - start
        after = self.likelihoods()
        return {
            "setting": asdict(setting),
            "noise_multiplier": noise,
            "steps": schedule.steps,
            "sample_rate": schedule.sample_rate,
            "after": after,
            "gain": spread([old - new for old, new in zip(self.before, after, strict=True)]),
            "processor_seconds": round(seconds, 1),
        }

    def _schedule(self, setting: Setting) -> tuple[Schedule, float]:
        """The schedule for the records at hand, and the noise multiplier of the corpus that it stands for."""
        size = self._given.size
        rule, _ = finetune.schedule_for(size)
        rate = min(0.5, rule * setting.batch)
        steps = max(1, round(finetune._EPOCHS * setting.epochs / rate))
        shares = {"statistic": finetune._MATCHER_SHARE, "generator": 1 - finetune._MATCHER_SHARE}
        sampling = {"generator": Sampling(rate, steps)}
        budget = calibrate(self._given.epsilon, _DELTA, shares, sampling=sampling, threshold=False)
        noise = budget.noise_multipliers["generator"]
        share = self.records / size
        return Schedule(noise * share, rate, steps, setting.max_grad_norm, rate * self.records, ROWS), noise

    def _reset(self) -> None:
        with torch.no_grad():
            for name, matrix in self.tail.matrices.items():
                matrix.copy_(self._untrained[name])


def measure(stand: Stand, draws: int, out: dict[str, Any], path: Path) -> dict[str, Any]:
    """Run what is not there yet, writing after every point."""
    if not np.allclose(out.setdefault("before", stand.before), stand.before, atol=1e-3):
        raise SystemExit(f"{path} was made from other texts or another model; name another with --out")
    share = 1 - finetune._MATCHER_SHARE
    if not np.isclose(out.setdefault("generator_share", share), share):
        raise SystemExit(f"{path} was made with another share of the budget; name another with --out")
    for setting in settings(draws, stand.rates):
        if setting.name not in out.setdefault("points", {}):
            point = stand.run(setting)
            out["points"][setting.name] = point
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(out, indent=1) + "\n")
            print(f"{setting.name}: gain {point['gain']['mean']:.4f} in {point['processor_seconds']} s", flush=True)
    return out


def markdown(out: dict[str, Any]) -> str:
    """The table, best first, with what it can and cannot tell."""
    given, around, points = out["given"], out["circumstances"], out["points"]
    rule = [point for name, point in points.items() if replace(Setting(**point["setting"]), draw=0) == Setting()]
    gains = [point["gain"]["mean"] for point in rule]
    mean_rule = np.mean([point["after"] for point in rule], axis=0)
    lines = []
    for name, point in sorted(points.items(), key=lambda item: -item[1]["gain"]["mean"]):
        ahead = spread((mean_rule - np.array(point["after"])).tolist())
        cells = [name, point["steps"], f"{point['noise_multiplier']:.2f}", _interval(point["gain"]), _interval(ahead)]
        lines.append(f"| {' | '.join(map(str, cells))} | {point['processor_seconds']:.0f} |")
    best, ahead = max(points.items(), key=lambda item: item[1]["gain"]["mean"])
    behind = ahead["gain"]["mean"] - float(np.mean(gains))
    between = f"{np.std(gains, ddof=1):.4f}" if len(gains) > 1 else "unknown (one draw)"
    versions = around["versions"]
    text = f"""\
# The public rule of `finetune` beside a sweep

{around["date"][:10]}, {around["processor"]}, {around["cores"]} cores,
torch {versions["torch"]}, opacus {versions["opacus"]}; `python -m benchmarks.dpsgd_sweep`. Stand-in: {given["corpus"]}
(public), {given["records"]} records of one shape, {given["held_out"]} held-out texts of its private side, model
{given["model"]}, {given["layers"]} layers, {given["weights"]} of rank {given["rank"]}, learning rate of the rule
{given["learning_rate"]}; noise over signal is that of a corpus of
{given["size"]} units at epsilon {given["epsilon"]}, but so few records a batch agree less than so many would.
Gain: nats per token of held-out text over the public model, mean over texts with 95 % normal interval (one draw
of noise and batches a line). Ahead: the same, paired by text, over the mean of the rule's draws.

The rule gains {np.mean(gains):.4f} (standard deviation over {len(gains)} draws: {between}); the best of
{len(points)} points is {behind:.4f} ahead: {best}. The best of many is picked by luck too, so the true distance is
smaller.

| setting | steps | noise multiplier | gain | ahead of the rule | processor s |
| --- | --- | --- | --- | --- | --- |
"""
    return text + "\n".join(lines) + "\n"


def _interval(found: dict[str, float]) -> str:
    return f"{found['mean']:+.4f} ± {1.96 * found['standard_error']:.4f}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dpsgd_sweep", description="Rule against sweep.")
    parser.add_argument("--corpus", default="questions", choices=names())
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--size", type=int, default=7000, help="units of the corpus that the noise is made for")
    parser.add_argument("--records", type=int, default=320)
    parser.add_argument("--held-out", type=int, default=128)
    parser.add_argument("--draws", type=int, default=3, help="how often the rule itself is run")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--layers", type=int, help="default: the rule's")
    parser.add_argument("--rank", type=int, default=finetune._RANK)
    parser.add_argument("--weights", default="low-rank", choices=list(_CLIPPING), help="what is trained")
    parser.add_argument("--rates", type=float, nargs="+", help="only these factors on the rule's learning rate")
    parser.add_argument("--out", type=Path, default=_RESULTS / "dpsgd_sweep.json")
    given = parser.parse_args()
    given.rank = given.rank if given.weights == "low-rank" else None
    given.layers = given.layers or (None if given.weights == "full" else finetune._LAYERS)
    models = load_models(Synthesis(model=given.model), Performance(), lambda *said: None)
    given.learning_rate = finetune.learning_rate(given.weights, given.layers, models.language_model)
    kept = json.loads(given.out.read_text()) if given.out.exists() else {}
    said = {name: str(value) for name, value in vars(given).items() if name not in ("out", "draws", "rates")}
    if kept.setdefault("given", said) != said:
        raise SystemExit(f"{given.out} was begun with other arguments; name another with --out")
    kept["circumstances"] = circumstances(Performance())
    out = measure(Stand(load(given.corpus), models, given), given.draws, kept, given.out)
    given.out.with_suffix(".md").write_text(markdown(out))


if __name__ == "__main__":
    main()
