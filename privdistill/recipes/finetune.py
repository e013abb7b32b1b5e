"""Recipe `finetune`: the language model learns the domain under DP-SGD, then writes half of what is selected from.

Most of the budget buys what the chosen matcher measures, by default the statistic of `distribution`: counts, moments
and words for the teacher, the steering and the selection. The rest trains the public model, conditional on the label:
low-rank adapters in its last layers, or more of it where asked. Half of the candidates are then written by the trained
model, half by the public one, and everything that follows is the same.

Hyper-parameters are public rules of declared numbers; none is tuned on the corpus. It does not know private text: it
sees releases.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from privdistill.errors import MechanismError
from privdistill.mechanisms.release import ClassRule, FinetuneRequest, IntArray, MechanismRequest, Release
from privdistill.models.interface import TunableModel
from privdistill.models.loading import Models
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Task
from privdistill.recipes.distribution import (
    OPTIONS,
    DistributionRecipe,
    Ground,
    Matcher,
    make_ground,
    match,
    public_texts,
)
from privdistill.recipes.forecast import Forecast
from privdistill.recipes.gradient import GradientRecipe
from privdistill.recipes.metamodel import MetamodelRecipe
from privdistill.recipes.trajectory import TrajectoryRecipe
from privdistill.synthesis.pool import public_pool, public_shortlist
from privdistill.synthesis.prompts import item_prompts, label_words
from privdistill.synthesis.waves import Author

__all__ = ["GENERATOR", "FinetuneRecipe"]

GENERATOR = "generator"
_MATCHERS: Mapping[str, Matcher] = {
    "distribution": DistributionRecipe(),
    "gradient": GradientRecipe(),
    "metamodel": MetamodelRecipe(),
    "trajectory": TrajectoryRecipe(),
}
_MATCHER_SHARE = 0.8
"""What the generator learns hardly depends on its noise, what the teacher knows does (benchmarks/dpsgd.md)."""
_EPOCHS = 2.5
_BATCH = (128.0, 1024.0)
_BATCHES_PER_EPOCH = 14.0
_UNKNOWN_SIZE_RATE = 0.06
_LAYERS = 4
_RANK = 8
_LEARNING_RATES = {"low-rank": 1.5e-2, "whole": 3e-3, "full": 3e-3}
"""Of Adam, which does not see the scale of what it is given, for so many layers of so wide a model. So few steps ask
for large ones, and on public stand-ins the noise of epsilon 1 asked for no smaller ones than that of epsilon 8
(benchmarks/dpsgd.md)."""
_LAYERS_OF_RATES, _WIDTH = 4, 576
_MAX_GRAD_NORM = 0.01
"""Far below any gradient: each is scaled to this norm, so there is no clip to tune (Bu, Wang, Zha & Karypis 2023,
arXiv:2206.07136), and Adam does not see the scale."""
_POOL_TOKENS = 48
_CELLS_A_LAYER = {"low-rank": 41_472, "whole": 3_538_944, "full": 3_540_096}
"""Trained numbers in a layer of the embedded model."""
_ALL_LAYERS, _LAST_NORM, _EMBEDDINGS = 30, 576, 28_311_552
"""Of the embedded model: its layers, and the numbers that full training trains above and below them."""
_CORES = 2
_TOKENS_TIMED, _SECONDS_BELOW, _SECONDS_ABOVE = 40, 0.065, 0.083
"""Processor seconds of one record below the cut and of one visit above it: measured for sequences of 40 tokens in
bfloat16 on a processor with avx512_bf16, 26 layers below and 4 above, the whole vocabulary."""
_LOUD, _LEFT = 1.8, 0.63
"""The loudest noise that adapters were trained under on public stand-ins, and the part of the gain that it left (TREC,
one draw, benchmarks/dpsgd.md)."""
_HOPELESS = 10.0
"""How many times louder than the loudest that was tried is refused."""
_SHORT = (8192, 0.65, 0.36)
"""Tokens, time of a step and gain per token of held-out film reviews beside the whole vocabulary, one measurement each:
benchmarks/results/dpsgd_shortlist.json."""
_BYTES_A_NUMBER = {"whole": 56, "full": 88}
"""Of each trained number: itself, its sum and noise in double precision, Adam, a checkpoint; in `full`, a gradient."""
_TWICE_TIME, _TWICE_MEMORY = (1.2, 1.3), (0.55, 0.82)
"""Private step with gradient checkpointing over that without, least and most of five points, each measured once:
benchmarks/results/dpsgd_memory.json. Memory is what a step adds to what the process held before it."""


class FinetuneRecipe:
    """A generator trained under DP-SGD; statistic, teacher and selection as in the recipe that `matcher` names."""

    name = "finetune"
    most_records_a_unit = 32
    """Rows of one pass of the mechanism: a unit's gradient is clipped as a whole."""
    kept_width = 576
    """Numbers that are kept of each token of each record while the embedded model is trained."""
    options = (*OPTIONS, "matcher", "tuned_weights", "tuned_layers", "vocabulary_shortlist")

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """Those of the matcher, and one DP-SGD run."""
        sample_rate, steps = schedule_for(task.size)
        matching = _MATCHERS[task.matcher].mechanisms(task)
        return (
            *(replace(one, share=_MATCHER_SHARE * one.share) for one in matching),
            PlannedMechanism(GENERATOR, "sampled-gaussian", 1 - _MATCHER_SHARE, sample_rate, steps),
        )

    def foreseen(self, task: Task, models: Models) -> tuple[MechanismRequest, ...]:
        """The training, but for what the statistic and the public pool will add."""
        labels = task.labels or ("",)
        words = label_words(labels, task.label_descriptions, task.other) if task.labels else [None]
        rule, encoder = ClassRule(labels), models.encoder
        return (_request(task, models.language_model, rule, words, encoder.max_tokens, None, expected_units=1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """That of the statistic."""
        return _MATCHERS[task.matcher].noise_floor(task, noise_multipliers)

    def run(self, context: Context) -> RecipeRun:
        """Measure, train, then write with both models and select."""
        ground = make_ground(context)
        found = yield from _MATCHERS[context.task.matcher].measure(ground)
        trained = yield request_for(context, ground, found.release)
        adapted = context.language_model.adapted(trained.payload)
        drafts = public_pool(
            adapted,
            context.task.describe,
            ground.words,
            len(ground.public),
            max_tokens=_POOL_TOKENS,
            rng=context.rng,
            progress=lambda done, total: context.progress("writing with the trained model", done, total),
            fields=context.task.fields,
        )
        if not drafts:
            raise MechanismError(
                "the trained model wrote no usable text; choose another --model, or recipe distribution"
            )
        encoded = context.encoder.encode([draft.text for draft in drafts])
        author = Author(adapted, drafts, encoded)
        return match(context, ground, found.release, found.choose, found.more, author=author)

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """That of the matcher, and what the training adds."""
        expected = _MATCHERS[task.matcher].forecast(task, noise_multipliers)
        texts = expected.texts + public_texts(task.rows)  # both models write from prompts alone first
        remarks = (*expected.remarks, *_remarks(task, noise_multipliers[GENERATOR]))
        ratio, hopeless = _loudness(task, noise_multipliers[GENERATOR]), None
        if ratio is not None and ratio > _HOPELESS * _LOUD:
            hopeless = (
                f"training would drown: over all steps its noise is {ratio:.2g} times as long as the gradient can be, "
                f"and {_LOUD} is the most that was tried; raise epsilon, train fewer weights, or take another recipe"
            )
        return replace(expected, texts=texts, remarks=remarks, hopeless=hopeless)


def _remarks(task: Task, noise_multiplier: float) -> Iterator[str]:
    """Noise against signal, time and memory of the training, for the embedded model on two cores."""
    options = tuple(_of_options(task))
    yield from options
    size = task.train_size
    if size is None:
        yield (
            "declare --size to see what the training would cost and how loud its noise would be, and to have it "
            "refused before anything is charged where activations might not fit into memory"
        )
        return
    sample_rate, steps = schedule_for(task.size)
    batch, visits = sample_rate * size, sample_rate * steps * size
    ratio = _loudness(task, noise_multiplier) or 0.0
    minutes = (size * _SECONDS_BELOW + visits * _SECONDS_ABOVE) / _CORES / 60
    gigabytes = size * _TOKENS_TIMED * FinetuneRecipe.kept_width * 2 / 1e9
    yield (
        f"about {batch:.0f} records a step; over all steps the noise is {ratio:.2g} times as long as the gradient, "
        "were all records to agree"
    )
    if ratio > _LOUD:
        yield (
            f"that is louder than any noise that was tried with adapters; {_LOUD} times left {_LEFT} of what is learnt "
            "under little noise. Recipe `distribution` asks for far less"
        )
    if task.tuned_weights in _BYTES_A_NUMBER:
        yield (
            f"{_cells(task):,} trained numbers of the embedded model take about "
            f"{_cells(task) * _BYTES_A_NUMBER[task.tuned_weights] / 1e9:.2g} GB more"
        )
    if (task.tuned_layers or _LAYERS, task.tuned_weights) != (_LAYERS, "low-rank"):
        yield f"how long this takes was measured for low-rank adapters in {_LAYERS} layers only"
        return
    yield (
        f"about {math.ceil(minutes)} minutes of training on {_CORES} idle cores and {gigabytes:.2g} GB of activations "
        f"for the embedded model{', without those options' * bool(options)}; then the time of `distribution`"
    )


def _loudness(task: Task, noise_multiplier: float) -> float | None:
    """Noise of all steps over the gradient of all steps, were all records to agree; None without a declared size."""
    if task.train_size is None:
        return None
    sample_rate, steps = schedule_for(task.size)
    return noise_multiplier * math.sqrt(_cells(task) / steps) / (sample_rate * task.train_size)


def _cells(task: Task) -> int:
    """How many numbers of the embedded model are trained."""
    full = task.tuned_weights == "full"
    everything = full and task.tuned_layers is None
    layers = task.tuned_layers or (_ALL_LAYERS if full else _LAYERS)
    return layers * _CELLS_A_LAYER[task.tuned_weights] + full * _LAST_NORM + everything * _EMBEDDINGS


def _layers(task: Task) -> int | None:
    """How many are trained; None: all, and what is around them."""
    return task.tuned_layers or (None if task.tuned_weights == "full" else _LAYERS)


def learning_rate(weights: str, layers: int | None, model: TunableModel) -> float:
    """The rate of Adam: by what is trained, in how many layers, and for weights themselves by how wide a model is.

    What a step adds to the activations grows with the number of layers that add to them, and in each with how many
    inputs a map has, so rates fall with both; that of hidden weights falls so with the width in Yang et al. 2022
    (arXiv:2203.03466), and one rate serves all numbers here. An adapter sees as many inputs as its rank has.
    """
    config = model.body.config.get_text_config()
    rate = _LEARNING_RATES[weights] * _LAYERS_OF_RATES / (layers or int(config.num_hidden_layers))
    return rate if weights == "low-rank" else rate * _WIDTH / int(config.hidden_size)


def _of_options(task: Task) -> Iterator[str]:
    """What is known of options that change time or memory of the training; nothing is guessed."""
    if task.vocabulary_shortlist is not None:
        yield (
            f"odds over {task.vocabulary_shortlist:,} tokens take less time than over all, and teach less: over "
            f"{_SHORT[0]:,} of the embedded model's, a step took {_SHORT[1]:.2g} of the time, and likelihood gained "
            f"{_SHORT[2]:.2g} of what it gains over all"
        )
    if task.recompute:
        yield (
            "trained layers are computed twice: at the embedded model's widths, 4 layers, a step took "
            f"{_TWICE_TIME[0]:.2g} to {_TWICE_TIME[1]:.2g} times as long "
            f"and {_TWICE_MEMORY[0]:.2g} to {_TWICE_MEMORY[1]:.2g} of the memory"
        )


def schedule_for(size: int | None) -> tuple[float, int]:
    """Sample rate and steps: about `_EPOCHS` passes, in batches that grow with the declared size."""
    rate = _UNKNOWN_SIZE_RATE
    if size is not None:
        batch = float(np.clip(size / _BATCHES_PER_EPOCH, *_BATCH))
        rate = min(batch / size, 0.5)
    return rate, math.ceil(_EPOCHS / rate)


def request_for(context: Context, ground: Ground, release: Release) -> FinetuneRequest:
    """What is trained, from public facts and the noised counts."""
    model, task = context.language_model, context.task
    size = task.vocabulary_shortlist
    spoken = ground.words if len(ground.words) == len(ground.rule.names) else [None] * len(ground.rule.names)
    shortlist = None if size is None else _shortlist(context, ground, size, _line_end(model))
    units = _noised_units(release)
    return _request(task, model, ground.rule, spoken, context.encoder.max_tokens, shortlist, expected_units=units)


def _request(
    task: Task,
    model: TunableModel,
    rule: ClassRule,
    words: Sequence[str | None],
    max_tokens: int,
    shortlist: IntArray | None,
    *,
    expected_units: float,
) -> FinetuneRequest:
    return FinetuneRequest(
        name=GENERATOR,
        classes=rule,
        model=model.id,
        layers=_layers(task),
        rank=_RANK if task.tuned_weights == "low-rank" else None,
        prompts=tuple(item_prompts(task.describe, word, task.fields) for word in words),
        end=_line_end(model),
        max_tokens=max_tokens,
        shortlist=shortlist,
        max_grad_norm=_MAX_GRAD_NORM,
        expected_units=expected_units,
        learning_rate=learning_rate(task.tuned_weights, _layers(task), model),
        recompute=task.recompute,
        full=task.tuned_weights == "full",
    )


def _shortlist(context: Context, ground: Ground, size: int, end: int) -> IntArray:
    """Tokens of the zero-shot pool, which is written anyway, and the end of a record."""
    return public_shortlist(ground.public, context.encoder.tokenizer, size, always=[end])


def _noised_units(release: Release) -> float:
    """How many units there are, by the statistic: a unit of several records has a count of its own."""
    counted = release.payload.get("units", release.block("count"))
    return max(float(counted.sum()), 1.0)


def _line_end(model: TunableModel) -> int:
    """The token that ends an item of a list."""
    found = model.token_ids("\n")
    if len(found) != 1:
        raise MechanismError("this model has no token of its own for a line end; choose another --model")
    return found[0]
