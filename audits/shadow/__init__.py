"""The shadow-run attack: drive a generator many times, with and without one unit, and try to tell the runs apart."""

__all__: list[str] = []
