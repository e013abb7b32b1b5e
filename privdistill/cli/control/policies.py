"""`policy list|show|explain|test|doc`. They do not know what a policy means."""

from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import hint, show, show_json
from privdistill.cli.options import Json, Quiet

__all__ = ["app", "run_cases"]

app = typer.Typer(help="Release policies: read them, have them explained, test them.", no_args_is_help=True)

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME|PATH", help="Shipped name, or path of a policy file (./NAME for one here).")
]


@app.command(name="list")
def list_policies(json: Json = False) -> None:
    """Name the shipped policies."""
    from privdistill.policy.load import load_policy, shipped_policies

    loaded = [load_policy(name) for name in shipped_policies()]
    if json:
        show_json([{"name": each.policy.name, "sha256": each.sha256} for each in loaded])
    else:
        show(*(f"{each.policy.name:<10} sha256 {each.sha256}  {each.policy.description}" for each in loaded))


@app.command(name="show")
def show_policy(name: NameArgument, json: Json = False) -> None:
    """Print a policy, after checking that it is one."""
    from privdistill.policy.load import load_policy

    loaded = load_policy(name)
    if json:
        show_json({"sha256": loaded.sha256, "policy": loaded.policy.model_dump(mode="json", by_alias=True)})
    else:
        show(loaded.text.rstrip("\n"))


@app.command(name="explain")
def explain_policy(
    name: NameArgument,
    rule: Annotated[str | None, typer.Argument(metavar="[RULE]", help="Only the rule of that id.")] = None,
) -> None:
    """Say in words what a policy asks, rule by rule, and why; the rules that apply under every policy first."""
    from privdistill.errors import ConfigError
    from privdistill.policy.load import load_policy
    from privdistill.report.policy import render_policy, render_rule

    loaded = load_policy(name)
    if rule is None:
        show(render_policy(loaded.policy, loaded.sha256))
        return
    text = render_rule(loaded.policy, rule)
    if text is None:
        raise ConfigError(f"policy {loaded.policy.name!r} has no rule {rule!r}; policy explain {name} names them all")
    show(text)


@app.command(name="test")
def try_policies(
    cases: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[CASES]...", help="Files of cases, or folders of them (default: the shipped ones)."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME|PATH", help="A policy that cases name; repeatable."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Decide every case of a policy and compare with the answer that is expected. Exit code 10 if one differs.

    Example: privdistill policy test policies/cases --policy policies/ours.yaml
    """
    results = run_cases(cases or [], policy or [])
    wrong = [result for result in results if result["problem"]]
    if json:
        show_json({"cases": results, "failed": len(wrong)})
    else:
        if not quiet:
            for result in wrong:
                show(f"FAIL  {result['file']}: {result['case']} [{result['policy']}]: {result['problem']}")
        show(f"{len(results)} cases, {len(results) - len(wrong)} as expected, {len(wrong)} not")
    raise typer.Exit(10 if wrong else 0)


@app.command(name="doc")
def document_rules(
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FILE", help="Write it there instead of printing it.")
    ] = None,
) -> None:
    """Print the reference of the policy language, as Markdown made from the rules themselves."""
    from privdistill.report.language import render_language

    if output is None:
        show(render_language())
    else:
        output.write_text(render_language(), encoding="utf-8")
        hint(f"written: {output}")


def run_cases(cases: list[Path], policies: list[str]) -> list[dict[str, str | None]]:
    """Decide cases; what differs from the expected answer is in `problem`.

    Raises:
        ConfigError: a file is malformed, a case names a policy that is not known, or there is no case at all.
    """
    from privdistill.errors import ConfigError
    from privdistill.policy.cases import case_files, judge, load_cases
    from privdistill.policy.load import load_policy, shipped_policies

    known = {name: load_policy(name) for name in shipped_policies()}
    known |= {loaded.policy.name: loaded for loaded in map(load_policy, policies)}
    results = []
    for file in case_files(cases):
        base, found = load_cases(file)
        for case in found:
            for name in case.policies:
                if name not in known:
                    raise ConfigError(f"{file.name}: no policy {name!r}; give its file with --policy")
                problem = judge(case, base, known[name])
                results.append({"file": file.name, "case": case.name, "policy": name, "problem": problem})
    if not results:
        raise ConfigError("no case was found, so nothing was tested; name a file of cases")
    return results
