"""Load the public models of a run: sentence encoder, tokenizer, language model.

The only module that joins `assets` with the three loaders. It does not know the corpus or the recipe.
"""

from dataclasses import dataclass
from pathlib import Path

from audits.findings import Model
from privdistill.config import Performance, Synthesis
from privdistill.features.encoded import TextEncoder
from privdistill.models import assets
from privdistill.models.interface import TunableModel

__all__ = ["Located", "Models", "load_located", "load_models", "model_name"]

_ROUNDED = ", linear maps rounded to 8 bits"
"""Follows the name of a model in the claim: what computes is another function than the file that the digest is of."""


@dataclass(frozen=True, slots=True)
class Located:
    """Where the public models lie on this machine, and what they are called: enough to load them once more.

    Attributes:
        encoder: folder of the sentence encoder.
        encoder_id: its name in the claim.
        language_model: folder or GGUF file of the language model.
        language_model_id: its name in the claim.
        max_tokens: texts are read up to this many tokens.
        base_weights: how the language model's weights are kept, see `config.Synthesis`.
    """

    encoder: Path
    encoder_id: str
    language_model: Path
    language_model_id: str
    max_tokens: int
    base_weights: str = "full"


@dataclass(frozen=True, slots=True)
class Models:
    """Encoder, language model, how the claim names them, and where they lie."""

    encoder: TextEncoder
    language_model: TunableModel
    named: tuple[Model, ...]
    located: Located | None = None


def load_models(synthesis: Synthesis, performance: Performance, progress: assets.AssetProgress) -> Models:
    """Resolve and load; fetches embedded assets when they are absent.

    Raises:
        AssetError: unknown, unreachable or unsafe model.
    """
    encoder_path = assets.resolve(synthesis.encoder, "encoder", progress)
    model_path = assets.resolve(synthesis.model, "language-model", progress)
    encoder_id = model_name(synthesis.encoder, encoder_path)
    model_id = model_name(synthesis.model, model_path)
    if synthesis.base_weights == "8-bit":
        model_id += _ROUNDED
    located = Located(
        encoder_path.absolute(),
        encoder_id,
        model_path.absolute(),
        model_id,
        synthesis.max_tokens,
        synthesis.base_weights,
    )
    encoder, language_model = load_located(located, performance)
    return Models(
        encoder,
        language_model,
        (
            Model(role="language-model", id=model_id, sha256=_digest(synthesis.model, "language-model")),
            Model(role="encoder", id=encoder_id, sha256=_digest(synthesis.encoder, "encoder")),
        ),
        located,
    )


def load_located(located: Located, performance: Performance) -> tuple[TextEncoder, TunableModel]:
    """Load the encoder and the language model from where they lie."""
    import torch

    from privdistill.models.encoder import SentenceEncoder
    from privdistill.models.language_model import LanguageModel
    from privdistill.models.tokenizer import ModelTokenizer

    if performance.threads is not None:
        torch.set_num_threads(performance.threads)
    model, name = located.language_model, located.language_model_id
    sentences = SentenceEncoder(
        located.encoder, model_id=located.encoder_id, dtype=performance.dtype, max_tokens=located.max_tokens
    )
    tokenizer = ModelTokenizer(model, model_id=name)
    language_model = LanguageModel.load(
        model, model_id=name, performance=performance, base_weights=located.base_weights
    )
    return TextEncoder(sentences, tokenizer, located.max_tokens), language_model


def model_name(spec: str, path: Path) -> str:
    """What the claim prints of a model that was asked for as `spec` and lies at `path`: never a local path."""
    if spec == "embedded":
        return f"embedded:{path.name}"
    return path.name if Path(spec).expanduser().exists() else spec


def _digest(spec: str, asset: str) -> str | None:
    return assets.digest(asset) if spec == "embedded" else None
