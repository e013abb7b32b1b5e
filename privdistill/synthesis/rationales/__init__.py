"""Rationales of rows that are there already: written by the public model, weighed by what they are worth to it."""
