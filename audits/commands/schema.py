"""`python -m audits schema NAME`: the JSON Schema of audit.json, of its public form, or of claim.json.

Made from the types of `audits.findings`; the copies in `audits/schemas` are what this prints, and a test keeps them so.
"""

import argparse
import json
import sys
from collections.abc import Sequence

from pydantic import BaseModel

from audits.findings import AuditReport, Claim, PublicReport

__all__ = ["DOCUMENTS", "main", "schema"]

DOCUMENTS: dict[str, type[BaseModel]] = {"audit-v1": AuditReport, "audit-public-v1": PublicReport, "claim-v1": Claim}


def schema(name: str) -> str:
    """Return the JSON Schema (2020-12) of a document, ending with a newline."""
    found = DOCUMENTS[name].model_json_schema(by_alias=True, mode="serialization")
    found["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    found["$id"] = f"privdistill.{name.replace('-v', '/v')}"
    return json.dumps(found, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Print a schema."""
    parser = argparse.ArgumentParser(
        prog="python -m audits schema", description="JSON Schemas of the examiner's files.", allow_abbrev=False
    )
    parser.add_argument("name", choices=sorted(DOCUMENTS), help="which document")
    sys.stdout.write(schema(parser.parse_args(arguments).name))
    return 0
