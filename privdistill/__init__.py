"""privdistill: differentially private synthetic text, examined by an independent auditor, released by a written policy.

Start at `pipeline`: one function per step. Importing this package loads nothing heavy and changes nothing.
"""

__all__: list[str] = []
