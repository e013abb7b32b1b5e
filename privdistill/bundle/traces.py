"""Traces of the machine that made a file: absolute paths and file URLs. None may leave in a bundle.

A path names people (home directories), projects and customers. The search is by shape, on text. It does not know
which files exist.
"""

import re

__all__ = ["local_trace"]

_ROOTS = "home|root|Users|tmp|var|mnt|opt|srv|etc|usr|private|media|scratch|workspace|work|data"
_TRACE = re.compile(
    rf"(?<![\w.:/-])/(?:{_ROOTS})/[\w.+@-]+|\b[A-Za-z]:\\{{1,2}}[\w.$-]+\\|\bfile:/|(?<![\w])~[a-z0-9_-]*/\w|\\{{2,4}}(?![xuU][0-9a-f])\w+\\{{1,2}}\w"
)


def local_trace(text: str) -> bool:
    r"""Whether the text names a place on somebody's machine.

    Example:
        >>> local_trace("model at /home/ada/model"), local_trace("3/5 stars, see data/train.parquet")
        (True, False)
    """
    return _TRACE.search(text) is not None
