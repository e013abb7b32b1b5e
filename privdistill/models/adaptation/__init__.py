"""Adapting the last layers of a model: where it is cut, and what is trained beside its frozen weights."""
