"""Reading what is examined: tables, privacy units, the claim. It computes no statistic."""

__all__: list[str] = []
