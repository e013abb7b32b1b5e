"""A causal language model that samples many short continuations at once.

Each distinct prompt is read once, however many rows continue it; finished rows leave the batch at once; tokens come
from the nucleus of the `_CANDIDATES` likeliest after a bias of the caller's choice was added. Weights are safetensors
or GGUF, never pickles, and no remote code runs.

It does not know what the text is for, nor where a bias comes from.
"""

import atexit
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from privdistill.config import Performance
from privdistill.errors import AssetError, ConfigError, UsageError
from privdistill.features.fields import DIVIDER, spaced
from privdistill.machine import memory
from privdistill.models.adaptation.low_rank import merged, round_maps
from privdistill.models.adaptation.placement import corrected, is_spread
from privdistill.models.encoder import bfloat16_is_fast
from privdistill.models.guidance import Guidance
from privdistill.models.interface import BiasArray

__all__ = ["LanguageModel"]

_CANDIDATES = 192
"""Tokens that compete in the nucleus. Sorting a whole vocabulary would cost as much as the model."""
_ROWS_AT_ONCE = 32
"""Rows whose logits are processed together: small enough to stay in a processor's cache."""
_STRAGGLERS = 0.04
"""A batch ends when so few of its rows are still unfinished: small batches cost nearly as much as full ones."""
_ATTENTION = "privdistill_grouped"
_OF_MEMORY = 0.5
"""Share of memory that weights of a spread model may take before they lie on disk."""


class LanguageModel:
    """Sampler over a decoder-only model."""

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        model_id: str,
        batch_size: int = 128,
        corrections: Mapping[str, npt.NDArray[np.float64]] | None = None,
    ) -> None:
        """Wrap a loaded model.

        Args:
            model: a transformers causal language model in evaluation mode.
            tokenizer: its tokenizer.
            model_id: what the claim prints.
            batch_size: sequences per batch.
            corrections: with which a model that is spread over devices computes, see `adaptation.placement`.
        """
        self.id = model_id
        # Rows of the embedding matrix past the tokenizer's own size are padding: never sample them.
        self.vocabulary_size = min(len(tokenizer), int(model.config.vocab_size))
        self.pieces: tuple[str, ...] = tuple(tokenizer.batch_decode([[i] for i in range(self.vocabulary_size)]))
        self._model = model
        self._tokenizer = tokenizer
        self._batch_size = batch_size
        self._corrections = corrections
        self._heads: dict[tuple[int, ...], list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self._stop = self._stop_tokens()  # (V,) bool
        first = model.get_input_embeddings().weight.device
        self._entry = torch.device("cpu") if first.type == "meta" else first  # of offloaded weights, hooks take care

    @classmethod
    def load(
        cls, path: Path, *, model_id: str, performance: Performance, base_weights: str = "full"
    ) -> "LanguageModel":
        """Load from a folder of safetensors or from a GGUF file; `base_weights` as in `config.Synthesis`.

        Raises:
            AssetError: the path holds no causal language model that can be read without executing foreign code.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        fast = performance.dtype == "bfloat16" or (performance.dtype == "auto" and bfloat16_is_fast())
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        placed = _placement(performance)
        folder = path
        if path.is_file():
            folder, options["gguf_file"] = path.parent, path.name
        kind = torch.bfloat16 if fast else torch.float32
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model = AutoModelForCausalLM.from_pretrained(
                folder, dtype=kind, use_safetensors=True, attn_implementation=_register_attention(), **placed, **options
            )
        except (OSError, ValueError, KeyError) as error:
            raise AssetError(
                f"{model_id} cannot be loaded as a causal language model ({type(error).__name__}); expected a folder "
                "with config.json, tokenizer.json and safetensors weights, or a .gguf file"
            ) from None
        if base_weights == "8-bit":
            round_maps(model)
        return cls(model.eval(), tokenizer, model_id=model_id, batch_size=performance.batch_size)

    @property
    def body(self) -> Any:
        """The transformers model, wherever its parts lie; frozen."""
        return self._model

    @property
    def network(self) -> Any:
        """The same, all of it in the processor's memory.

        Raises:
            ConfigError: parts of it lie elsewhere.
        """
        if is_spread(self._model):
            raise ConfigError("the language model is spread over devices; what looks inside it needs --device-map cpu")
        return self._model

    @property
    def positions(self) -> int | None:
        """Most tokens of a prompt and what follows it together; None where the model does not say."""
        found = getattr(self._model.config, "max_position_embeddings", None)
        return None if found is None else int(found)

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a prompt, as `sample` reads it."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def adapted(self, corrections: Mapping[str, npt.NDArray[np.float64]]) -> "LanguageModel":
        """The same model with trained corrections added to some of its numbers; shares the rest.

        Raises:
            ConfigError: they do not fit this model, or change nothing.
        """
        spread = is_spread(self._model)
        if self._corrections is not None:
            raise ConfigError("this model was adapted before; adapt the public one")
        if spread:
            with corrected(self._model, corrections):
                pass  # refused now or never
        return LanguageModel(
            self._model if spread else merged(self._model, corrections),
            self._tokenizer,
            model_id=self.id,
            batch_size=self._batch_size,
            corrections=corrections if spread else None,
        )

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
        """Continue each prompt once; returns (text, ended by itself) pairs in the order of the prompts.

        A continuation ends by itself at an end token or a line break. Rows cut off by `max_new_tokens`, or left over
        when nearly all of their batch has ended, come back as not ended.

        Args:
            prompts: texts to continue.
            max_new_tokens: most tokens of one continuation.
            temperature: divides the model's logits before the bias is added.
            top_p: mass of the nucleus.
            rng: randomness of the sampling.
            bias: (B, V) rows of additive logit bias, whose positive part holds until its token has been written.
            bias_index: which row of `bias` each prompt uses.
            opening_bias: (B, P, V) extra bias for the first P sampled tokens.
            may_end: (V,) tokens after which a text may end; None: all.
            fields: of a text; what would end before its last one goes on with the divider.
            progress: told (prompts done, prompts in all).
        """
        ids = self._tokenizer(list(prompts), add_special_tokens=False)["input_ids"] if prompts else []
        if any(not one for one in ids):
            raise UsageError("a prompt without a single token cannot be continued; describe the texts")
        self._heads.clear()
        divider = self.token_ids(f" {DIVIDER}") if fields > 1 else []
        rows = np.zeros(len(ids), dtype=np.int64) if bias_index is None else np.asarray(bias_index, dtype=np.int64)
        out: list[tuple[str, bool]] = [("", False)] * len(ids)
        done = 0
        for batch in _batches(len(ids), self._batch_size):
            guidance = Guidance(
                self._stop,
                rows[batch].tolist(),
                bias=bias,
                opening=opening_bias,
                may_end=may_end,
                divider=divider,
                fields=fields,
            )
            with nullcontext() if self._corrections is None else corrected(self._model, self._corrections):
                tokens, ended = self._continue(
                    [ids[i] for i in batch], max_new_tokens, temperature, top_p, rng, guidance
                )
            for i, one, finished in zip(batch, tokens, ended, strict=True):
                text = self._tokenizer.decode(one, skip_special_tokens=True)
                out[i] = (spaced(text) if fields > 1 else text, finished)
            done += len(batch)
            if progress is not None:
                progress(done, len(ids))
        return out

    @torch.inference_mode()
    def _continue(
        self,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        rng: np.random.Generator,
        guidance: Guidance,
    ) -> tuple[list[list[int]], list[bool]]:
        """Sample one batch of prompts."""
        count = len(prompts)
        cache, mask, position = self._begin(prompts)
        chosen = torch.as_tensor([prompt[-1] for prompt in prompts])  # (b,)
        tokens: list[list[int]] = [[] for _ in prompts]
        ended = [False] * count
        active = torch.arange(count)  # (b,) rows still in the batch
        for step in range(max_new_tokens):
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)  # (b, T)
            logits = self._model(
                chosen[:, None].to(self._entry),
                attention_mask=mask.to(self._entry),
                position_ids=(position[:, None] + step).to(self._entry),
                past_key_values=cache,
                use_cache=True,
            ).logits[:, -1]  # (b, V)
            logits = logits.to(mask.device)
            chosen = self._choose(logits, active, step, chosen, temperature, top_p, rng, guidance)  # (b,)
            chosen = guidance.continued(active, chosen)
            guidance.wrote(active, chosen)
            stops = self._stop[chosen]  # (b,)
            for row, token, stop in zip(active.tolist(), chosen.tolist(), stops.tolist(), strict=True):
                ended[row] = stop
                if not stop:
                    tokens[row].append(token)
            if bool(stops.any()):
                stay = torch.nonzero(~stops).squeeze(1)  # (b',)
                active, chosen, mask, position = active[stay], chosen[stay], mask[stay], position[stay]
                if len(active) <= _STRAGGLERS * count:
                    break
                cache.batch_select_indices(stay)
        return tokens, ended

    def _begin(self, prompts: Sequence[Sequence[int]]) -> tuple[Any, torch.Tensor, torch.Tensor]:
        """Cache of all prompts without their last tokens, padded on the left; mask (b, L); next position (b,).

        Each distinct beginning is read once, by itself, whatever the number of rows that share it.
        """
        from transformers import DynamicCache

        heads = [tuple(prompt[:-1]) for prompt in prompts]
        distinct = list(dict.fromkeys(heads))
        which = torch.as_tensor([distinct.index(head) for head in heads])  # (b,)
        longest = max(len(head) for head in distinct)
        cache: Any = DynamicCache(config=self._model.config)
        mask = torch.zeros(len(distinct), longest, dtype=torch.long)  # (m, L)
        layers: list[list[tuple[torch.Tensor, torch.Tensor]]] = []
        for row, head in enumerate(distinct):
            mask[row, longest - len(head) :] = 1
            if longest:
                layers.append(self._read(head, longest))
        for layer, parts in enumerate(zip(*layers, strict=True)):
            keys, values = (torch.cat(kind)[which] for kind in zip(*parts, strict=True))  # (b, heads, L, width)
            cache.update(keys, values, layer)
        return cache, mask[which], torch.as_tensor([len(head) for head in heads])

    def _read(self, head: tuple[int, ...], longest: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Keys and values of one beginning for each layer, padded on the left to `longest`: (1, heads, L, width)."""
        from transformers import DynamicCache

        known = self._heads.get(head)
        if known is None:
            own: Any = DynamicCache(config=self._model.config)
            # A beginning of no tokens reads one stand-in, of which nothing is kept.
            self._model(torch.as_tensor([head or (0,)]).to(self._entry), past_key_values=own, use_cache=True)
            known = [(layer.keys[:, :, : len(head)], layer.values[:, :, : len(head)]) for layer in own.layers]
            self._heads[head] = known
        pad = (0, 0, longest - len(head), 0)
        return [(torch.nn.functional.pad(k, pad), torch.nn.functional.pad(v, pad)) for k, v in known]

    def _choose(
        self,
        logits: torch.Tensor,
        active: torch.Tensor,
        step: int,
        last: torch.Tensor,
        temperature: float,
        top_p: float,
        rng: np.random.Generator,
        guidance: Guidance,
    ) -> torch.Tensor:
        """Draw one token for each active row from the nucleus of the biased distribution."""
        chosen = torch.empty(len(active), dtype=torch.long)  # (b,)
        uniform = torch.as_tensor(rng.random(len(active)), dtype=torch.float32)  # (b,)
        for start in range(0, len(active), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            scores = logits[part, : self.vocabulary_size].float() / temperature  # (r, V)
            guidance.bend(scores, active[part], step, last[part])
            best, tokens = scores.topk(min(_CANDIDATES, scores.shape[1]), dim=-1)  # (r, k), likeliest first
            mass = torch.softmax(best, dim=-1).cumsum(dim=-1)  # (r, k)
            size = (
                (mass < top_p).sum(dim=-1, keepdim=True).clamp(max=mass.shape[1] - 1)
            )  # (r, 1) last index of the nucleus
            target = uniform[part, None] * mass.gather(1, size)  # (r, 1)
            drawn = torch.searchsorted(mass, target, right=True).minimum(size)  # (r, 1)
            chosen[part] = tokens.gather(1, drawn).squeeze(1)
        return chosen

    def _stop_tokens(self) -> torch.Tensor:
        """End tokens, other special tokens, and every token with a line break: one text is one line. Shape (V,)."""
        stop = torch.zeros(self.vocabulary_size, dtype=torch.bool)
        named = self._model.config.eos_token_id
        special = {*self._tokenizer.all_special_ids, *(named if isinstance(named, list) else [named])}
        stop[[i for i, piece in enumerate(self.pieces) if "\n" in piece]] = True
        stop[[i for i in special if i is not None and i < self.vocabulary_size]] = True
        return stop


def _placement(performance: Performance) -> dict[str, Any]:
    """How transformers is to place the weights; what fits nowhere else lies in a folder that goes with the process."""
    if performance.device_map == "cpu":
        return {}
    folder = tempfile.TemporaryDirectory(prefix="privdistill-weights-")
    atexit.register(folder.cleanup)
    from accelerate.utils import get_max_memory

    most = get_max_memory()
    there = memory()
    if there is not None:  # the rest is for everything that is not the model
        most["cpu"] = min(most["cpu"], int(_OF_MEMORY * there))
    return {"device_map": performance.device_map, "offload_folder": folder.name, "max_memory": most}


def _batches(count: int, size: int) -> Iterator[list[int]]:
    """Indices 0 to count - 1 in batches of nearly equal size, at most `size` each."""
    batches = -(-count // size)
    for part in np.array_split(np.arange(count), max(batches, 1)):
        if part.size:
            yield [int(i) for i in part]


def _register_attention() -> str:
    """Teach transformers an attention for one new token that reads each key once per group of query heads.

    The stock kernel repeats keys for every query head, which costs as much as all matrix products of a small model.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def attend(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, scaling: float | None = None, **options: Any
    ) -> tuple[Any, None]:
        batch, heads, length, width = query.shape
        groups = key.shape[1]
        if length != 1 or heads % groups:
            return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **options)
        grouped = query.reshape(batch, groups, heads // groups, width)
        out = torch.nn.functional.scaled_dot_product_attention(
            grouped, key, value, attn_mask=attention_mask, scale=scaling
        )
        return out.reshape(batch, heads, 1, width).transpose(1, 2).contiguous(), None

    ALL_ATTENTION_FUNCTIONS.register(_ATTENTION, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(_ATTENTION, sdpa_mask)
    return _ATTENTION
