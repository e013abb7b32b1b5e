"""Attacks that need more than two corpora: canaries, an encoder, a model of their own. Skipped where that is absent."""

__all__: list[str] = []
