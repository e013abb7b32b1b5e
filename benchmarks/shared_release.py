"""One release and one pool of candidates that many rows of an ablation share, kept on disk so that slices add up.

The release is drawn once, behind the real door, from the train side; the holdout side is what students are tested on.
The test part of the corpus is never read. Texts of a pool are written once a redraw.
"""

import hashlib
import json
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import Corpus
from benchmarks.quality import configured
from privdistill import pipeline
from privdistill.config import Performance, RunConfig
from privdistill.mechanisms.door import Door
from privdistill.mechanisms.release import MechanismRecord, PrivateUnits, Release, StatisticRequest
from privdistill.models.loading import Models
from privdistill.recipes import distribution, gradient
from privdistill.recipes.base import Context, Rows, make_context
from privdistill.recipes.distribution import STATISTIC, Ground
from privdistill.synthesis import waves
from privdistill.synthesis.pool import Draft
from privdistill.synthesis.selection import Candidates

__all__ = ["SharedRelease"]

_TRAIN_SIDE = 0.7


class SharedRelease:
    """Ground, releases and pools of one corpus at one epsilon."""

    def __init__(
        self, corpus: Corpus, epsilon: float, rows: int, models: Models, place: Path, performance: Performance
    ) -> None:
        private, order = corpus.private, np.random.default_rng(0).permutation(len(corpus.private))
        cut = round(_TRAIN_SIDE * len(private))
        self._train = [private[i] for i in order[:cut]]
        self.holdout = [private[i] for i in order[cut:]]
        self.corpus, self._epsilon, self._rows, self._models = corpus, epsilon, rows, models
        self._performance, self._place = performance, place
        place.mkdir(parents=True, exist_ok=True)
        self._grounds: dict[str, Ground] = {}
        self._scratch = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, self._scratch, True)

    def context(self, recipe: str, refinement: str = "none") -> Context:
        """A fresh context: sampling is never seeded."""
        plan = pipeline.plan(self._config(recipe, refinement))
        private = Path(tempfile.mkdtemp(dir=self._scratch))  # what one context writes is not remembered by the next
        quiet = lambda *told: None  # noqa: E731
        return make_context(plan.task, plan.mechanisms, self._models, self._performance, quiet, private)

    def rows(self, recipe: str, refinement: str, redraw: int, writes: bool) -> Rows:
        """Post-processing of the one release: from the pool of a redraw, or from texts written anew."""
        context, ground = self.context(recipe, refinement), self.ground(recipe)
        more = gradient.head_gradients(ground) if recipe == "gradient" else ()
        release = self.release(recipe)
        choose = gradient.aligned if recipe == "gradient" else distribution.herded
        improve = refinement != "none"
        refine = (lambda *given: gradient.refined(context, *given)) if improve else None
        if writes:
            return distribution.match(context, ground, release, choose, more, refine)
        with self._remembered(recipe, redraw):
            return distribution.match(context, ground, release, choose, more, refine)

    def ground(self, recipe: str) -> Ground:
        """The public pool, written once; the map is made from it."""
        if recipe not in self._grounds:
            known, context = self._place / "ground.npz", self.context(recipe)
            if not known.exists():
                made = distribution.make_ground(context)
                texts, aims = [draft.text for draft in made.public], [draft.aim for draft in made.public]
                _save(known, texts=np.array(texts), aims=np.array(aims), basis=made.map_.moment.basis)
            stored = _read(known)
            drafts = [Draft(str(text), int(aim)) for text, aim in zip(stored["texts"], stored["aims"], strict=True)]
            original, distribution.public_pool = distribution.public_pool, lambda *given, **named: drafts
            try:
                ground = distribution.make_ground(context)
            finally:
                distribution.public_pool = original
            if not np.allclose(ground.map_.moment.basis, stored["basis"], atol=1e-6):
                raise SystemExit(f"the public map came out different on this machine; remove {self._place}")
            self._grounds[recipe] = ground
        return self._grounds[recipe]

    def drawn(self) -> str:
        """Names the release that rows are paired on."""
        self.release("distribution")
        return hashlib.sha256((self._place / "release-distribution.npz").read_bytes()).hexdigest()[:12]

    def release(self, recipe: str) -> Release:
        """Drawn once, kept."""
        known = self._place / f"release-{recipe}.npz"
        if not known.exists():
            ground, config = self.ground(recipe), self._config(recipe)
            more = gradient.head_gradients(ground) if recipe == "gradient" else ()
            units = PrivateUnits(
                tuple(text for text, _ in self._train),
                tuple(label for _, label in self._train),
                np.arange(len(self._train), dtype=np.int64),
                "record",
                1,
            )
            door = Door(units, self._models.encoder, pipeline.plan(config).budget, lambda record: None)
            made = door.answer(StatisticRequest(STATISTIC, ground.rule, (*ground.map_.blocks, *more)))
            said = json.dumps({"noise": dict(made.noise), "record": asdict(made.record), "classes": made.classes})
            _save(known, said=np.array(said), **{f"block.{name}": block for name, block in made.payload.items()})
        stored = _read(known)
        said = json.loads(str(stored["said"]))
        payload = {name.removeprefix("block."): one for name, one in stored.items() if name.startswith("block.")}
        return Release(payload, said["noise"], MechanismRecord(**said["record"]), tuple(said["classes"]))

    @contextmanager
    def _remembered(self, recipe: str, redraw: int) -> Iterator[None]:
        """Answer `Waves.write` from the pool of this redraw; the first time, write it."""
        known, original = self._place / f"pool-{recipe}-{redraw}.npz", waves.Waves.write

        def write(
            self: waves.Waves, wanted: Any, factor: Any, public: Any, encoded: Any, author: Any = None
        ) -> Candidates:
            if not known.exists():
                made = original(self, wanted, factor, public, encoded, author)
                _save(known, **{name: np.asarray(getattr(made, name)) for name in Candidates.__dataclass_fields__})
                return made
            self.begin(encoded)
            stored = _read(known)
            found = Candidates(**{**stored, "texts": [str(text) for text in stored["texts"]]})
            self._seen.update(text.casefold() for text in found.texts)
            return found

        waves.Waves.write = write  # type: ignore[method-assign]
        try:
            yield
        finally:
            waves.Waves.write = original  # type: ignore[method-assign]

    def _config(self, recipe: str, refinement: str = "none") -> RunConfig:
        config = configured(self.corpus, "corpus.csv", self._epsilon, recipe, self._rows, self._performance)
        synthesis = config.synthesis.model_copy(update={"refinement": refinement})
        return config.model_copy(update={"synthesis": synthesis})


def _save(path: Path, **arrays: Any) -> None:
    partial = path.with_name(f".{path.name}")
    with partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    partial.replace(path)


def _read(path: Path) -> Mapping[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
