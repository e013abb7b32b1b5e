"""`privdistill ledger`: what each source has lost, how it came about, and what may still be spent.

Every command takes `--ledger`, a path or a URL. It does not know how losses add up.
"""

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from privdistill.cli.console import show, show_json
from privdistill.cli.options import Json
from privdistill.errors import ConfigError

if TYPE_CHECKING:
    from privdistill.accounting.ledger import Ledger

__all__ = ["app"]

app = typer.Typer(help="What each source has lost so far, how, and what is left.", no_args_is_help=True)

_Address = Annotated[
    str | None, typer.Option("--ledger", metavar="PATH|URL", help="The ledger (default: the user's own).")
]
_Sources = Annotated[list[str] | None, typer.Argument(metavar="[SOURCE]...", help="Names or ids (default: all).")]
_By = Annotated[str, typer.Option("--by", metavar="WHO", help="Who says so; kept for good.")]
_Reason = Annotated[str, typer.Option("--reason", metavar="WORDS", help="Why; kept for good.")]
_A_RUN_S_DELTA = 1e-6
_MECHANISMS = 5
"""The most that a built-in recipe draws with the label list; the more, the smaller the largest epsilon of all."""


@app.command(name="show")
def show_ledger(sources: _Sources = None, ledger: _Address = None, json: Json = False) -> None:
    """Print every source with its total epsilon, delta and number of attempts over all runs."""
    book = _open(ledger)
    number, digest = book.verify()
    documents = [_standing(book, *source) for source in _chosen(book, sources)]
    if json:
        show_json({"ledger": book.address, "entries": number, "head": digest, "sources": documents})
        return
    show(f"ledger {book.address}", f"  {number} entries, unbroken; head {digest}")
    for found in documents:
        with_ = f", together with {', '.join(found['linked_with'])}" if found["linked_with"] else ""
        show(
            f"  {found['name']}  ({found['source_id']}, unit {found['privacy_unit']}): {_loss(found)} over "
            f"{found['attempts']} run(s), {found['reviewed_attempts']} reviewed{with_}"
        )


@app.command()
def history(sources: _Sources = None, ledger: _Address = None, json: Json = False) -> None:
    """Print every entry, oldest first."""
    book = _open(ledger)
    ids = {source_id for source_id, _, _ in _chosen(book, sources)}
    entries = [entry for entry in book.entries() if entry.source_id in ids]
    if json:
        show_json({"ledger": book.address, "entries": [entry.as_json() for entry in entries]})
        return
    names = {source_id: name for source_id, name, _ in book.sources()}
    for entry in entries:
        what = " ".join(part for part in (entry.run_id, entry.name if entry.kind == "drawn" else "") if part)
        said = f"  by {entry.body['by']}: {entry.body['reason']}" if "reason" in entry.body else ""
        show(f"{entry.number:>5}  {entry.at[:19]}Z  {entry.kind:<9}  {names[entry.source_id]}  {what}{said}".rstrip())


@app.command()
def remaining(
    sources: _Sources = None,
    ledger: _Address = None,
    delta: Annotated[float, typer.Option(help="Delta of the run that is thought of.")] = _A_RUN_S_DELTA,
    json: Json = False,
) -> None:
    """Say how much of each source's cap is spent, and what one more run may ask for. Several smaller ones cost less."""
    from privdistill.accounting.accountant import gaussian_epsilon
    from privdistill.accounting.budget import largest_epsilon

    book = _open(ledger)
    if not 0 < delta < 1:
        raise ConfigError(f"expected 0 < --delta < 1, found {delta:g}; it is the delta of the run that is thought of")
    found: list[dict[str, Any]] = []
    for source in _chosen(book, sources):
        room, standing = book.remaining(source[0], delta=delta), _standing(book, *source)
        fits = gaussian_epsilon(delta, room.mu) if room.mu > 0 else 0.0
        epsilon = max(0.0, min(fits, largest_epsilon(delta, mechanisms=_MECHANISMS)))
        found.append(
            {
                "source_id": source[0],
                "name": source[1],
                "cap": {"epsilon": room.cap.epsilon, "delta": room.cap.delta},
                "spent_at_cap_delta": room.spent,
                "left_at_cap_delta": room.left,
                "unprotected_attempts": standing["unprotected_attempts"],
                "remaining_mu": room.mu,
                "remaining_epsilon": math.floor(epsilon * 1000) / 1000,
                "at_delta": delta,
            }
        )
    if json:
        show_json({"ledger": book.address, "sources": found})
        return
    for one in found:
        bare = f"{_unprotected(one['unprotected_attempts'])}; otherwise " if one["unprotected_attempts"] else ""
        show(
            f"{one['name']}  ({one['source_id']}): {bare}epsilon {one['spent_at_cap_delta']:.4g} is spent of a cap of "
            f"{one['cap']['epsilon']:g}, and {one['left_at_cap_delta']:.4g} left for one more run, at the cap's delta "
            f"{one['cap']['delta']:g}"
        )
        show(
            f"  at delta {delta:g} that run may ask for up to epsilon {one['remaining_epsilon']:g}: the same noise "
            "has another epsilon at another delta, and noise of several runs adds up in squares"
            if one["remaining_epsilon"] > 0
            else f"  no run at delta {delta:g} fits any more; the cap is final"
        )


@app.command()
def link(
    first: Annotated[str, typer.Argument(metavar="SOURCE")],
    second: Annotated[str, typer.Argument(metavar="SOURCE")],
    by: _By,
    reason: _Reason,
    ledger: _Address = None,
    json: Json = False,
) -> None:
    """Join the accounts of two sources that share people or records. Their losses add up from then on, for good.

    One that no run was charged to yet is opened as the last run on this machine declared it.
    """
    book = _open(ledger)
    book.link(first, second, by=by, reason=reason)
    (source,) = _chosen(book, [first])
    found = _standing(book, *source)
    if json:
        show_json(found)
    else:
        show(f"{first} and {second} are one account: {_loss(found)}")


@app.command()
def review(
    source: Annotated[str, typer.Argument(metavar="SOURCE")],
    by: _By,
    reason: _Reason,
    ledger: _Address = None,
    json: Json = False,
) -> None:
    """Record that a person has looked at all attempts on a source so far, so that a policy may allow another one."""
    book = _open(ledger)
    attempts = book.review(source, by=by, reason=reason)
    if json:
        show_json({"source": source, "reviewed_attempts": attempts})
    else:
        show(f"{attempts} attempt(s) on {source} reviewed by {by}")


@app.command()
def export(
    ledger: _Address = None,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="File to make (default: stdout).")] = None,
) -> None:
    """Write every entry as one JSON object a line: to keep elsewhere, or to hand to somebody who checks the chain.

    Holds what the ledger holds (names, times, noise parameters, digests of claims), no key and no hash of a unit.
    """
    lines = list(_open(ledger).export())
    if out is None:
        show(*lines)
        return
    if out.exists():
        raise ConfigError(f"{out} exists already; name a new file with --out")
    out.write_text("\n".join(lines) + "\n", encoding="utf-8")


@app.command()
def verify(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="An export, instead of the ledger.")] = None,
    ledger: _Address = None,
    json: Json = False,
) -> None:
    """Replay every entry: is the chain unbroken, and does each entry follow from those before it?

    Exit codes: 0 it holds, 10 it does not (the first broken entry is named). A chain that was cut off or written anew
    as a whole is found by comparing the head with one that was noted elsewhere; this machine notes the one it wrote.
    """
    from privdistill.accounting.ledger import BrokenLedgerError, verify_export

    where = str(file) if file is not None else None
    try:
        if file is not None:
            number, digest = verify_export(file)
        else:
            book = _open(ledger)
            where = book.address
            number, digest = book.verify()
    except BrokenLedgerError as broken:
        if not json:
            raise
        show_json({"ledger": where, "ok": False, "broken_entry": broken.number, "reason": broken.reason})
        raise typer.Exit(broken.exit_code) from None
    if json:
        show_json({"ledger": where, "ok": True, "entries": number, "head": digest})
    else:
        show(f"{number} entries, unbroken; head {digest}")


def _open(address: str | None) -> "Ledger":
    from privdistill.accounting.ledger import Ledger

    return Ledger(address, create=False)


def _chosen(book: "Ledger", named: list[str] | None) -> list[tuple[str, str, str]]:
    sources = book.sources()
    for name in named or []:
        if not any(name in source[:2] for source in sources):
            raise ConfigError(f"the ledger knows no source {name!r}; `privdistill ledger show` lists them")
    return [source for source in sources if not named or set(source[:2]) & set(named)]


def _standing(book: "Ledger", source_id: str, name: str, unit: str) -> dict[str, Any]:
    total = asdict(book.total(source_id))
    names = {other: other_name for other, other_name, _ in book.sources()}
    return {
        "source_id": source_id,
        "name": name,
        "privacy_unit": unit,
        "epsilon": None if total["unprotected"] else total["epsilon"],
        "charged_epsilon": total["epsilon"],
        "delta": total["delta"],
        "attempts": total["attempts"],
        "reviewed_attempts": total["reviewed"],
        "unprotected_attempts": total["unprotected"],
        "linked_with": [names[other] for other in book.group(source_id) if other != source_id],
    }


def _loss(found: dict[str, Any]) -> str:
    charged = f"epsilon {found['charged_epsilon']:.4g} at delta {found['delta']:.3g}"
    bare = found["unprotected_attempts"]
    if not bare:
        return charged
    return _unprotected(bare) + (f", {charged} by the others" if found["attempts"] > bare else "")


def _unprotected(runs: int) -> str:
    return f"no protection (epsilon unlimited): {runs} run(s) copied records as they are"
