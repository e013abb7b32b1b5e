"""Renderings of a report. They compute nothing and decide nothing."""

__all__: list[str] = []
