"""Public models: pinned assets, language model, encoder, tokenizers. Nothing here sees which text is private."""
