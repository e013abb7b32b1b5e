"""One line of a function changed as a slip of the hand would change it: the bug that a test has to notice."""

import inspect
import textwrap
from typing import Any

import pytest

__all__ = ["plant"]


def plant(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, old: str, new: str) -> None:
    """Put `new` in the place of `old` in function `name` of a module or class, until the test ends.

    The text must be there exactly once: a planted bug that no longer bites would be worth nothing.
    """
    real = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(real))
    assert source.count(old) == 1, f"{name} no longer says {old!r}: plant the bug where it would be today"
    scope: dict[str, Any] = {}
    exec(compile(source.replace(old, new), f"<planted in {name}>", "exec"), real.__globals__, scope)
    monkeypatch.setattr(owner, name, scope[name])
