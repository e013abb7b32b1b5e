"""Recipes that are not built in: guests in a process of their own, which never hears where the corpus is."""
