"""Public models: pinned assets, the language model, the encoder, their tokenizers. Nothing here sees which text is private."""
