"""The error tree of privdistill.

    PrivdistillError
    ├── UsageError(ValueError)          exit 2: something the caller can mend
    │   ├── ConfigError                 a configuration file or flag
    │   ├── CorpusError                 the corpus cannot be read as declared
    │   ├── AssetError                  a model or corpus asset is absent, wrong or unreachable
    │   ├── RecipeError                 a recipe that is not built in broke its contract, or ended early
    │   └── RunError                    a run directory is absent, occupied, unfinished or unwritable
    ├── PrivacyError(ValueError)        exit 2: a privacy parameter or request that has no meaning
    ├── IndeterminateError              exit 3: nothing, or not everything required, was measured
    ├── RefusedError                    exit 10: the answer is no
    │   └── BudgetError                 the ledger refuses the charge, or a corpus that belongs to another account
    └── MechanismError(RuntimeError)    exit 1: an invariant of the trusted base was broken; nothing is released

What it does not know: rendering. The command line turns `exit_code` and the sentence into output. A message says what
was expected, what was found and what to do next, and never carries the text of a record.
"""

from typing import ClassVar

__all__ = [
    "AssetError",
    "BudgetError",
    "ConfigError",
    "CorpusError",
    "IndeterminateError",
    "MechanismError",
    "PrivacyError",
    "PrivdistillError",
    "RecipeError",
    "RefusedError",
    "RunError",
    "UsageError",
]


class PrivdistillError(Exception):
    """Root of every error that privdistill raises on purpose."""

    exit_code: ClassVar[int] = 1


class UsageError(PrivdistillError, ValueError):
    """The caller can mend it: a flag, a file, a configuration."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configuration file or a flag is unknown, missing or contradictory."""


class CorpusError(UsageError):
    """The corpus cannot be read as declared."""


class AssetError(UsageError):
    """A model, an encoder or a demo corpus is absent, has the wrong hash, or cannot be fetched."""


class RecipeError(UsageError):
    """A recipe that is not built in broke its contract, or its process ended early."""


class RunError(UsageError):
    """A run directory is absent, occupied, unfinished or not writable."""


class PrivacyError(PrivdistillError, ValueError):
    """A privacy parameter has no meaning, or a mechanism was asked for something outside its plan."""

    exit_code: ClassVar[int] = 2


class IndeterminateError(PrivdistillError):
    """Nothing, or not everything required, was measured: neither yes nor no."""

    exit_code: ClassVar[int] = 3


class RefusedError(PrivdistillError):
    """The answer is no: policy, verification or budget."""

    exit_code: ClassVar[int] = 10


class BudgetError(RefusedError):
    """The ledger refuses the charge."""


class MechanismError(PrivdistillError, RuntimeError):
    """An invariant of the trusted base was broken at run time; nothing is released."""
