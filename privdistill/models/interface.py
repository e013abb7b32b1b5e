"""What the rest of the project asks of a generative model: token ids in and out, biased sampling.

It does not know which model answers, nor what the text is for.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["BiasArray", "GenerativeModel", "TunableModel"]

BiasArray = npt.NDArray[np.float32]


class GenerativeModel(Protocol):
    """A causal language model that samples many continuations at once (see `models.language_model`)."""

    @property
    def id(self) -> str:
        """Model id as printed in the claim."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids V."""

    @property
    def pieces(self) -> Sequence[str]:
        """Text of each token id, leading space included."""

    def sample(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        rng: np.random.Generator,
        bias: BiasArray | None = None,
        bias_index: Sequence[int] | None = None,
        opening_bias: BiasArray | None = None,
        may_end: npt.NDArray[np.bool_] | None = None,
        fields: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[tuple[str, bool]]:
        """Continue each prompt once; returns (text, ended by itself) pairs.

        `bias` holds (B, V) rows of additive logit bias, whose positive part holds until its token has been written;
        `bias_index` says which row each prompt uses; `opening_bias` holds (B, P, V) extra bias for the first P sampled
        tokens; `may_end` (V,) says after which tokens a text may end; a text has so many `fields` (`features.fields`).
        """


class TunableModel(GenerativeModel, Protocol):
    """A generative model whose last layers can be adapted."""

    @property
    def body(self) -> Any:
        """The transformers model, wherever its parts lie."""

    @property
    def network(self) -> Any:
        """The same, all of it in the processor's memory; refused where it is not."""

    @property
    def positions(self) -> int | None:
        """Most tokens of a prompt and what follows it together; None where the model does not say."""

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a prompt, as `sample` reads it."""

    def adapted(self, corrections: Mapping[str, npt.NDArray[np.float64]]) -> "TunableModel":
        """The same model with trained corrections of some of its numbers."""
