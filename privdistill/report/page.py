"""report.html: the privacy statement as one page that loads nothing, runs nothing, and prints well.

Made from the Markdown that this package writes (headings, paragraphs, lists, tables, bold, code), and from no other: it
is no Markdown reader. Every character comes out as text; the page forbids itself scripts and requests.
"""

import html
import re
from collections.abc import Iterator

__all__ = ["render_page"]

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;"
    "padding:0 1rem}table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #8888;padding:.25rem .6rem;"
    "text-align:left;vertical-align:top;overflow-wrap:anywhere}@media print{body{max-width:none;font-size:11px}}"
)
_HEAD = (
    '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
    '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    f"<title>Privacy statement</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
)
_ESCAPED = re.compile(r"\\([\\`*_{}\[\]<>#|!&~])")
_CELL = re.compile(r"(?<!\\)(?:\\\\)*\|")


def render_page(text: str) -> str:
    """Render a statement that `render_privacy` wrote."""
    return _HEAD + "\n".join(_blocks(text.splitlines())) + "\n</body>\n</html>\n"


def _blocks(lines: list[str]) -> Iterator[str]:
    block: list[str] = []
    for line in [*lines, ""]:
        if line:
            block.append(line)
        elif block:
            yield _block(block)
            block = []


def _block(lines: list[str]) -> str:
    first = lines[0]
    if first.startswith("#"):
        level = len(first) - len(first.lstrip("#"))
        return f"<h{level}>{_inline(first[level:].strip())}</h{level}>"
    if first.startswith("- "):
        return "<ul>" + "".join(f"<li>{_inline(line[2:])}</li>" for line in lines) + "</ul>"
    if first.startswith("| "):
        head, _, *rows = [_cells(line) for line in lines]
        body = "".join(f"<tr>{_row(row, 'td')}</tr>" for row in rows)
        return f"<table><thead><tr>{_row(head, 'th')}</tr></thead><tbody>{body}</tbody></table>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _row(cells: list[str], tag: str) -> str:
    return "".join(f"<{tag}>{_inline(cell)}</{tag}>" for cell in cells)


def _cells(line: str) -> list[str]:
    r"""Cells of a table row; `\|` is text.

    Example:
        >>> _cells(r"| a \| b | c |")
        ['a \\| b', 'c']
    """
    cells, start = [], 1
    for match in _CELL.finditer(line, 1):
        cells.append(line[start : match.end() - 1].strip())
        start = match.end()
    return cells


def _inline(text: str) -> str:
    r"""Text with `**bold**` and code; everything else as it is, with escapes undone and markup made harmless.

    Example:
        >>> _inline(r"**a** \<b\> `c`")
        '<strong>a</strong> &lt;b&gt; <code>c</code>'
    """
    kept = _ESCAPED.sub(lambda match: f"\ue000{ord(match[1]):04x}\ue001", text)  # what is escaped is no markup
    marked = html.escape(kept)
    marked = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", marked)
    marked = re.sub(r"\*([^*]+)\*", r"<em>\1</em>", marked)
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", marked)
    return re.sub("\ue000([0-9a-f]{4})\ue001", lambda match: html.escape(chr(int(match[1], 16))), marked)
