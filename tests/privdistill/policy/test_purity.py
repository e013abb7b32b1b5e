"""Loading these rooms loads no model, no data library and no numbers library."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "datasets", "opacus", "transformers", "opendp", "numpy", "scipy", "pyarrow", "sklearn", "pandas")


@pytest.mark.parametrize(
    "module", ["privdistill.policy", "privdistill.policy.cases", "privdistill.report", "privdistill.bundle"]
)
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
