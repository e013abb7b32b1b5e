"""Texts to numbers per unit, with code of the examiner's own. Sides do not enter, so no feature depends on them."""

__all__: list[str] = []
