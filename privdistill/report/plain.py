"""Text that cannot act: control characters, bidirectional overrides and markup made visible.

Labels, descriptions and names are declared by people and copied by models. Printed raw they could move a terminal's
cursor, repaint a verdict, or open an HTML tag in a page. Nothing is dropped: what is unsafe is shown as its escape.
It does not know reports.
"""

import re
import unicodedata

__all__ = ["markdown", "plain"]

_JOINERS = "\u200c\u200d"
"""Needed to write Persian and emoji, and harmless."""
_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|!&~])")


def plain(text: str) -> str:
    r"""One line of text, safe for a terminal.

    Example:
        >>> plain("ok\x1b[2Jgone")
        'ok\\x1b[2Jgone'
    """
    return "".join(character if _harmless(character) else _escape(character) for character in text)


def markdown(text: str) -> str:
    r"""One line of text, safe inside Markdown prose and tables.

    Example:
        >>> markdown("<b>|")
        '\\<b\\>\\|'
    """
    return _MARKUP.sub(r"\\\1", plain(text))


def _harmless(character: str) -> bool:
    return character in _JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def _escape(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
