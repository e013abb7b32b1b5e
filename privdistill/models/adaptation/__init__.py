"""Adapting the last layers of a model: where it is cut, how frozen weights are kept, what is trained beside them."""
