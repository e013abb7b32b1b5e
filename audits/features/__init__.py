"""Texts to numbers per unit, with code of the examiner's own. Sides never enter here, so no feature can depend on them."""

__all__: list[str] = []
