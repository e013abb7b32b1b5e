"""JUnit XML, one test case per check. Without times, so that the same audit gives the same bytes.

A violated check is a failure. A required check that did not pass is an error, never skipped: a test runner shows
skipped cases as green. What is not required and did not pass is skipped.
"""

import re
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from audits.render.view import Row, View

__all__ = ["render"]

_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(view: View) -> str:
    """Return the document, ending with a newline."""
    failures = sum(row.outcome == "violated" for row in view.rows)
    errors = sum(row.blocking and row.outcome != "violated" for row in view.rows)
    skipped = sum(not row.blocking and row.outcome != "satisfied" for row in view.rows)
    totals = f'tests="{len(view.rows)}" failures="{failures}" errors="{errors}" skipped="{skipped}"'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f'<testsuites name="privdistill audit" {totals}>']
    lines += [f'  <testsuite name="audits" {totals}>', "    <properties>"]
    facts = (("verdict", view.verdict), ("view", view.name), *view.facts)
    lines += [f"      <property name={_quoted(name)} value={_quoted(value)}/>" for name, value in facts]
    lines.append("    </properties>")
    for row in view.rows:
        lines += _case(row)
    return "\n".join([*lines, "  </testsuite>", "</testsuites>"]) + "\n"


def _case(row: Row) -> Iterator[str]:
    start = f"    <testcase classname={_quoted(f'audits.{row.tier}')} name={_quoted(f'{row.id} {row.name}')}"
    if row.outcome == "satisfied":
        yield f"{start}/>"
        return
    yield f"{start}>"
    if not row.blocking:
        yield f"      <skipped message={_quoted(row.summary)}/>"
    else:
        kind = "failure" if row.outcome == "violated" else "error"
        text = _legal("\n".join((row.title, *row.brief, *row.details)))
        yield f"      <{kind} type={_quoted(row.status)} message={_quoted(row.summary)}>{escape(text)}</{kind}>"
    yield "    </testcase>"


def _legal(text: str) -> str:
    return _ILLEGAL.sub("\ufffd", text)


def _quoted(text: str) -> str:
    return quoteattr(_legal(text))
