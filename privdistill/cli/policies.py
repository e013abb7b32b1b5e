"""`policy list` and `policy show`. They do not know what a policy means."""

from typing import Annotated

import typer

from privdistill.cli.console import show, show_json
from privdistill.cli.options import Json

__all__ = ["app"]

app = typer.Typer(help="Shipped release policies.", no_args_is_help=True)


@app.command(name="list")
def list_policies(json: Json = False) -> None:
    """Name the shipped policies."""
    from privdistill.policy.load import load_policy, shipped_policies

    names = shipped_policies()
    if json:
        show_json([{"name": name, "sha256": load_policy(name).sha256} for name in names])
    else:
        show(*(f"{name:<10} sha256 {load_policy(name).sha256}" for name in names))


@app.command(name="show")
def show_policy(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="Shipped name, or path of a policy file.")],
    json: Json = False,
) -> None:
    """Print a policy, after checking that it is one."""
    from privdistill.policy.load import load_policy

    loaded = load_policy(name)
    if json:
        show_json({"sha256": loaded.sha256, "policy": loaded.policy.model_dump(mode="json", by_alias=True)})
    else:
        show(loaded.text.rstrip("\n"))
