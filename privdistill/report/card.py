"""README.md of a bundle, a dataset card whose YAML header `datasets.load_dataset` reads; CITATION.cff; LICENSE.

It does not know files; names of data files are passed in.
"""

import yaml

from privdistill.report.plain import markdown, plain
from privdistill.report.statement import PrivacyStatement

__all__ = ["render_card", "render_citation", "render_licence"]

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_EXPLAINED = {
    "rationale": "what a public model wrote about how the last part follows from the others, from this row alone; "
    "empty: nothing usable. The audit did not read it",
    "step_difficulty": "how much that rationale helps the same model to the last part, from 0 to 1",
}


def render_card(statement: PrivacyStatement, *, data_file: str, columns: tuple[str, ...]) -> str:
    """Render the dataset card.

    Args:
        statement: what the release guarantees.
        data_file: path of the parquet file inside the bundle.
        columns: its columns.
    """
    g, d = statement.guarantee, statement.declarations
    title = f"Synthetic {plain(d.describe)}" if d.describe else "Synthetic texts"
    header = {
        "pretty_name": title,
        "license": "other",
        "license_name": "not-stated",
        "task_categories": ["text-generation" if d.fields else "text-classification"],
        "size_categories": [next((name for limit, name in _SIZES if statement.rows < limit), "n>1M")],
        "source_datasets": [],
        "annotations_creators": ["machine-generated"],
        "language_creators": ["machine-generated"],
        "tags": ["synthetic", "differential-privacy", "privdistill"],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": data_file}]}],
    }
    meaning = {
        "text": "a synthetic text",
        "label": "its hard label",
        "soft_label": "one probability a class",
        **{name: f"part {i} of the text" for i, name in enumerate(d.fields, start=1)},
        **_EXPLAINED,
    }
    body = [
        f"# {markdown(title)}",
        "",
        f"{statement.rows} synthetic rows with a differential-privacy guarantee: epsilon {g.epsilon:.4g}, "
        f"delta {g.delta:.3g}, {g.adjacency.replace('-', ' ')}, unit: {markdown(g.privacy_unit)}.",
        "",
        markdown(g.sentence),
        "",
        "The epsilon report, also on what is *not* protected, is in `PRIVACY.md` (for machines: `privacy.json`).",
        "",
        "## Use",
        "",
        "```python",
        "from datasets import load_dataset",
        'rows = load_dataset("path/to/this/folder", split="train")',
        "```",
        "",
        "| column | meaning |",
        "| --- | --- |",
        *(f"| {markdown(column)} | {meaning.get(column, '')} |" for column in columns),
        "",
        "The rows are machine-made and may be wrong, biased or offensive; none of them states a fact about anybody.",
        "They are meant for training and testing models of the declared task, not for statistics about the source: "
        "how often a label occurs here need not be how often it occurs there.",
        "",
        "## Provenance",
        "",
        f"Made by privdistill {markdown(statement.code_version)}, recipe {markdown(statement.recipe)}, "
        f"run {markdown(statement.run_id)}; released under policy {markdown(statement.evidence.policy.name)}.",
        "",
        "See `provenance.json`, `decision.json` and `policy.yaml`; `privdistill verify .` checks this folder offline.",
    ]
    head = yaml.safe_dump(header, sort_keys=False, allow_unicode=False, width=1_000)
    return "---\n" + head + "---\n\n" + "\n".join(body) + "\n"


def render_citation(statement: PrivacyStatement) -> str:
    """Render CITATION.cff (Citation File Format 1.2.0)."""
    d = statement.declarations
    document = {
        "cff-version": "1.2.0",
        "message": "If you use these rows, cite them as below, and name epsilon, delta and unit with them.",
        "type": "dataset",
        "title": f"Synthetic {plain(d.describe)}" if d.describe else "Synthetic texts",
        "version": plain(statement.run_id),
        "date-released": statement.evidence.decided_at[:10],
        "authors": [{"name": "The holder of the source"}],
        "abstract": plain(statement.guarantee.sentence),
        "keywords": ["synthetic data", "differential privacy"],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=1_000)


def render_licence() -> str:
    """Render LICENSE: nobody but the holder of the source can grant one, and none was stated."""
    return (
        "No licence was stated when this bundle was made, so none is granted by it.\n"
        "Ask the holder of the source, from whom you have it, what you may do with these rows.\n"
        "Nothing in this file changes what PRIVACY.md says.\n"
    )
