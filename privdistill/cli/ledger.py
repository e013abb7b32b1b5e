"""`ledger show`: what each source has lost so far. It does not know how losses add up."""

from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import show, show_json
from privdistill.cli.options import Json
from privdistill.errors import ConfigError

__all__ = ["app"]

app = typer.Typer(help="What each source has lost so far.", no_args_is_help=True)


@app.command(name="show")
def show_ledger(
    ledger: Annotated[
        Path | None, typer.Option("--ledger", metavar="PATH", help="Ledger file (default: the user's own).")
    ] = None,
    json: Json = False,
) -> None:
    """Print every source with its total epsilon, delta and number of attempts over all runs."""
    from privdistill.accounting.ledger import Ledger, default_ledger

    path = ledger or default_ledger()
    if not path.is_file():
        raise ConfigError(f"no ledger at {path}; generate makes one when it first charges a source")
    book = Ledger(path)
    rows = [(source, name, unit, book.total(source)) for source, name, unit in book.sources()]
    if json:
        sources = [
            {
                "source_id": source,
                "name": name,
                "privacy_unit": unit,
                "epsilon": total.epsilon,
                "delta": total.delta,
                "attempts": total.attempts,
                "unprotected_attempts": total.unprotected,
            }
            for source, name, unit, total in rows
        ]
        show_json({"ledger": str(path), "sources": sources})
        return
    show(f"ledger {path}")
    for source, name, unit, total in rows:
        loss = f"epsilon {total.epsilon:.4g} at delta {total.delta:.3g}"
        bare = f", {total.unprotected} of them without any protection" if total.unprotected else ""
        show(f"  {name}  ({source}, unit {unit}): {loss} over {total.attempts} run(s){bare}")
