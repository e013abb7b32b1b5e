"""The examiner: an independent audit of a synthetic text corpus against the corpus it came from.

Usable alone on anybody's synthetic file (`python -m audits --help`). Importing this package loads no numerical library.
It knows nothing of how the corpus was generated, and never imports the generator.
"""

__all__: list[str] = []
