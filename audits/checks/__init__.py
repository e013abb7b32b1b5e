"""The attacks: one file each, its threat model in the first paragraph. Checks do not import one another."""

__all__: list[str] = []
