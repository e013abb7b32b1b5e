"""Planted canaries: issue them under seal, and read the seal again when the synthetic corpus is there."""

__all__: list[str] = []
