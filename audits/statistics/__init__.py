"""Tests, intervals and bounds, each checked against a naive reference. No text and no files here."""

__all__: list[str] = []
