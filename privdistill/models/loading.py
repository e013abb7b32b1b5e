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

__all__ = ["Models", "load_models"]


@dataclass(frozen=True, slots=True)
class Models:
    """Encoder, language model, and how the claim names them."""

    encoder: TextEncoder
    language_model: TunableModel
    named: tuple[Model, ...]


def load_models(synthesis: Synthesis, performance: Performance, progress: assets.AssetProgress) -> Models:
    """Resolve and load; fetches embedded assets when they are absent.

    Raises:
        AssetError: unknown, unreachable or unsafe model.
    """
    encoder_path = assets.resolve(synthesis.encoder, "encoder", progress)
    model_path = assets.resolve(synthesis.model, "language-model", progress)
    import torch

    from privdistill.models.encoder import SentenceEncoder
    from privdistill.models.language_model import LanguageModel
    from privdistill.models.tokenizer import ModelTokenizer

    if performance.threads is not None:
        torch.set_num_threads(performance.threads)
    encoder_id, model_id = _name(synthesis.encoder, encoder_path), _name(synthesis.model, model_path)
    sentences = SentenceEncoder(
        encoder_path, model_id=encoder_id, dtype=performance.dtype, max_tokens=synthesis.max_tokens
    )
    tokenizer = ModelTokenizer(model_path, model_id=model_id)
    language_model = LanguageModel.load(model_path, model_id=model_id, performance=performance)
    return Models(
        TextEncoder(sentences, tokenizer, synthesis.max_tokens),
        language_model,
        (
            Model(role="language-model", id=model_id, sha256=_digest(synthesis.model, "language-model")),
            Model(role="encoder", id=encoder_id, sha256=_digest(synthesis.encoder, "encoder")),
        ),
    )


def _name(spec: str, path: Path) -> str:
    """What the claim prints: never a local path."""
    if spec == "embedded":
        return f"embedded:{path.name}"
    return path.name if Path(spec).expanduser().exists() else spec


def _digest(spec: str, asset: str) -> str | None:
    return assets.digest(asset) if spec == "embedded" else None
