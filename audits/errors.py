"""Why an audit could not start.

Messages name files, columns, counts and line numbers; they never carry the text of a record.
"""

__all__ = ["BadInputError"]


class BadInputError(Exception):
    """An input cannot be audited as given: exit code 2, and never a pass."""
