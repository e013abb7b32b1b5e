"""A short rationale for each row: how its last field follows from the others, in the words of the public model.

Post-processing: what is read is a row that was written from releases, and what writes is public, so nothing is charged.
The same model read the row before or wrote it, and it is small: a rationale may be wrong, which is why each comes with
a weight (see `difficulty`). It does not know releases, labels, nor private text.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from privdistill.features.fields import DIVIDER, divided
from privdistill.models.interface import TunableModel
from privdistill.synthesis.form import tidy
from privdistill.synthesis.prompts import spoken
from privdistill.synthesis.rationales.difficulty import step_difficulties

__all__ = ["Rationales", "usable", "write_rationales"]

_TOKENS = 48
_TEMPERATURE = 0.7
_TOP_P = 0.9
_ATTEMPTS = 2
_LEAST_WORDS = 3


@dataclass(frozen=True, slots=True)
class Rationales:
    """What was written about rows.

    Attributes:
        texts: one rationale a row, empty where the model wrote nothing usable.
        weights: step difficulty of each row in [0, 1], 0 where there is no rationale.
    """

    texts: tuple[str, ...]
    weights: tuple[float, ...]

    @property
    def facts(self) -> Mapping[str, object]:
        """Numbers for the run report, of synthetic rows alone."""
        written = [weight for text, weight in zip(self.texts, self.weights, strict=True) if text]
        return {
            "rationales_written": len(written),
            "rationales_empty": len(self.texts) - len(written),
            "mean_step_difficulty": round(float(np.mean(written)), 3) if written else None,
        }


def write_rationales(
    model: TunableModel,
    texts: Sequence[str],
    fields: Sequence[str],
    *,
    rng: np.random.Generator,
    progress: Callable[[int, int], None],
) -> Rationales:
    """Write and weigh; rows of the same text share a rationale.

    Args:
        model: the public language model.
        texts: the rows.
        fields: names of the fields of a row, two at least.
        rng: randomness of the sampling.
        progress: told (done, in all) of a round of writing.
    """
    known = {text: parts for text in texts if (parts := divided(text, len(fields))) is not None}
    found: dict[str, str] = {}
    for _ in range(_ATTEMPTS):
        lacking = [text for text in known if text not in found]
        written = model.sample(
            [_asked(fields, known[text]) for text in lacking],
            max_new_tokens=_TOKENS,
            temperature=_TEMPERATURE,
            top_p=_TOP_P,
            rng=rng,
            progress=progress,
        )
        for text, (rationale, ended) in zip(lacking, written, strict=True):
            kept = usable(rationale, ended, known[text])
            if kept is not None:
                found[text] = kept
    whole = [text for text in known if text in found]
    weights = dict(
        zip(whole, step_difficulties(model, fields, [known[t] for t in whole], [found[t] for t in whole]), strict=True)
    )
    return Rationales(tuple(found.get(text, "") for text in texts), tuple(weights.get(text, 0.0) for text in texts))


def usable(rationale: str, ended: bool, parts: Sequence[str]) -> str | None:
    """The rationale made plain, or None when it says nothing: cut off, a few words, or what a field says already."""
    kept = tidy(rationale, ended, within=lambda _: True, whole_sentences=False)
    if kept is None or len(kept.split()) < _LEAST_WORDS or DIVIDER in kept:
        return None
    said = kept.casefold().rstrip(".!?")
    return None if any(said in part.casefold() for part in parts) else kept


def _asked(fields: Sequence[str], parts: Sequence[str]) -> str:
    lines = [f"{spoken(name)}: {value}" for name, value in zip(fields, parts, strict=True)]
    return "\n".join([*lines, f"Why this {spoken(fields[-1])}:"])
