"""Recipes: plug-ins that ask for releases and return rows."""
