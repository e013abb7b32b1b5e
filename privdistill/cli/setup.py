"""`init`: writes a commented configuration and a .gitignore line, and never overwrites anything.

It does not know what the settings do; `config` and `privdistill plan` say so.
"""

from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import hint, show
from privdistill.cli.settings import FILE_NAME
from privdistill.errors import RunError

__all__ = ["TEMPLATE", "init"]

TEMPLATE = """\
# What privdistill is told in this folder and below. A flag overrides a line; `privdistill plan` prints what follows.
# Paths are relative to this file. Whatever is written here is public by your declaration, so write nothing that you
# learned from single records.

source:
  path: demo                   # csv, tsv, jsonl (also .gz) or parquet; demo: the embedded film-review sentences
  text_column: text
  # fields: [prompt, response] # instead of text_column: columns that make up a text together
  label_column: category       # drop it for an unlabelled corpus
  labels: [fresh, rotten]      # drop it to have the list released under a part of the budget
  # label_descriptions:        # words for the prompts
  #   fresh: the reviewer liked the film
  #   rotten: the reviewer disliked the film
  unit: record                 # who is protected; or a column that names a person, with contribution_bound
  # contribution_bound: 5      # at most so many records of one person are read
  # name: film-reviews         # persistent name in the ledger; default: the path of the corpus
  # cap_epsilon: 48            # the most that the source may ever lose over all runs; final with its first charge
  size: 12000                  # declared, for warnings only

privacy:
  # epsilon: 8                 # no default on purpose: say it here or with --epsilon
  delta: 1e-6                  # stay below 1 / (10 x number of units)

synthesis:
  rows: 1000
  describe: short movie reviews
  model: embedded              # or a Hugging Face id, or a path (safetensors or GGUF)

# ledger: ledger.sqlite3       # what each source has lost so far, or postgresql://user@host/db; default: the user's own
"""
_IGNORED = "/runs/"


def init(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to write.")] = Path()) -> None:
    """Write privdistill.yaml, set up for the embedded demo corpus, and keep runs/ out of git. Overwrites nothing."""
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file; name the folder to write {FILE_NAME} to")
    if not folder.parent.is_dir():
        raise RunError(f"there is no folder {folder.parent}; make it, or name another")
    try:
        folder.mkdir(exist_ok=True)
        with (folder / FILE_NAME).open("x", encoding="utf-8") as stream:
            stream.write(TEMPLATE)
        _ignore_runs(folder / ".gitignore")
    except FileExistsError:
        raise RunError(f"{folder / FILE_NAME} exists already; edit it, or delete it and try again") from None
    except OSError as error:
        raise RunError(f"{folder} cannot be written ({error.strerror}); name another folder") from None
    show(str(folder / FILE_NAME))
    hint("next: privdistill plan --epsilon 8, then privdistill generate --epsilon 8")


def _ignore_runs(file: Path) -> None:
    """Add one line to .gitignore unless it is there."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    if _IGNORED not in lines and "runs/" not in lines:
        with file.open("a", encoding="utf-8") as stream:
            stream.write(("" if not lines or file.read_bytes().endswith(b"\n") else "\n") + _IGNORED + "\n")
