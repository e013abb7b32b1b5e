"""`hook policy-check`, `hook no-private-files`, `hook outputs`: what pre-commit and CI call.

They look at files that somebody is about to commit or publish, and say no with exit code 10. They do not know git.
"""

from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import show
from privdistill.cli.control.policies import run_cases
from privdistill.cli.control.private_copies import PrivateCopies
from privdistill.cli.control.private_files import private_reason
from privdistill.errors import ConfigError, PrivdistillError

__all__ = ["app"]

app = typer.Typer(help="For pre-commit and CI.", no_args_is_help=True)

FilesArgument = Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Files about to be committed.")]


@app.command(name="policy-check")
def check_policies(files: FilesArgument = None) -> None:
    """Check policies, their cases and waivers: each file by its schema, and every case against its policy.

    Cases lie in the folder `cases` beside the policies. Exit codes: 2 a file is malformed, 10 a case or a waiver fails.
    """
    kinds: dict[str, list[Path]] = {"policy": [], "policy-cases": [], "waivers": []}
    for file in files or []:
        kinds[_kind(file)].append(file)
    folders = {file.parent for file in kinds["policy"]} | {file.parent.parent for file in kinds["policy-cases"]}
    expired = [sentence for file in kinds["waivers"] for sentence in _expired(file)]
    wrong: list[str] = []
    for folder in sorted(folders):
        wrong += _check_folder(folder, kinds["policy"], kinds["policy-cases"])
    show(*expired, *wrong, f"{len(files or [])} file(s), {len(expired) + len(wrong)} problem(s)")
    raise typer.Exit(10 if expired or wrong else 0)


@app.command(name="no-private-files")
def refuse_private_files(files: FilesArgument = None) -> None:
    """Refuse files that must not leave: runs, internal audits and decisions, ledgers, keys, the corpus itself.

    A file is judged by its place, its name, what its beginning says it is, and by being byte for byte the corpus that
    privdistill.yaml names, or the corpus or a private file of a run in runs/, under any name. An excerpt, or the same
    records in another format, is not recognised.
    """
    copies = PrivateCopies()
    found = [(file, reason) for file in files or [] if (reason := private_reason(file, copies)) is not None]
    show(*(f"PRIVATE  {file}: {reason}" for file, reason in found), f"{len(files or [])} file(s), {len(found)} private")
    raise typer.Exit(10 if found else 0)


@app.command(name="outputs")
def print_outputs(
    decision: Annotated[Path, typer.Option("--decision", help="JSON report of the gate; may be absent.")],
    target: Annotated[Path, typer.Option("--target", help="What the gate decided about.")],
) -> None:
    """Print the outputs of a CI step, one `name=value` a line, made of closed vocabularies and numbers only."""
    from pydantic import ValidationError

    from privdistill.cli.records import read_records
    from privdistill.policy.decision import Decision

    try:
        found = Decision.model_validate_json(decision.read_bytes())
    except (OSError, ValidationError):
        show("decision=none")
        return
    lines = [f"decision={found.verdict}", f"policy-sha256={found.policy.sha256}"]
    try:
        claim = read_records(target).claim  # None if it does not hold
        told = (("epsilon", claim.epsilon), ("delta", claim.delta)) if claim is not None else ()
        lines += [f"{name}={value!r}" for name, value in told if value]
    except PrivdistillError:
        pass  # the gate has said so already
    show(*lines)


def _kind(file: Path) -> str:
    from privdistill.policy.strict_yaml import YamlError, read_yaml

    try:
        document = read_yaml(file.read_text("utf-8"))
    except (OSError, ValueError, YamlError) as error:
        raise ConfigError(f"{file} is not readable as strict YAML ({error})") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    known = {f"privdistill.{name}/v1": name for name in ("policy", "policy-cases", "waivers")}
    if not isinstance(schema, str) or schema not in known:
        raise ConfigError(f"{file} is no file of policy, cases or waivers; its `schema` has to be {', '.join(known)}")
    return known[schema]


def _check_folder(folder: Path, policies: list[Path], cases: list[Path]) -> list[str]:
    """Check the policies of one folder and every case beside them."""
    from privdistill.policy.load import load_policy

    siblings = sorted(path for path in folder.glob("*.y*ml") if path in policies or _is_policy(path))
    names = [load_policy(path).policy.name for path in siblings]
    if len(set(names)) != len(names):
        raise ConfigError(f"two policies in {folder} have the same name; a decision names its policy")
    files = sorted({*(folder / "cases").glob("*.yaml"), *(case for case in cases if case.parent.parent == folder)})
    if not files:
        return []
    results = run_cases(files, [f"{path.parent}/{path.name}" for path in siblings])
    return [f"FAIL  {r['file']}: {r['case']} [{r['policy']}]: {r['problem']}" for r in results if r["problem"]]


def _is_policy(path: Path) -> bool:
    try:
        return _kind(path) == "policy"
    except ConfigError:
        return False


def _expired(file: Path) -> list[str]:
    from privdistill.policy.load import load_waivers
    from privdistill.policy.waivers import still_valid
    from privdistill.runs import now

    moment = now()
    old = [waiver for waiver in load_waivers(file) if not still_valid(waiver.expires, moment)]
    return [f"EXPIRED  {file}: the waiver of {each.rule}, last day {each.expires}; renew or remove it" for each in old]
