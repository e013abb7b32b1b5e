"""croissant.json: the rows described for machines that look for data sets (MLCommons Croissant 1.0, with RAI terms).

It does not know the audit; everything in it is in the privacy statement as well.
"""

import json

from privdistill.bundle import layout
from privdistill.report.plain import plain
from privdistill.report.statement import PrivacyStatement

__all__ = ["croissant"]

_CONFORMS = "http://mlcommons.org/croissant/1.0"
_TERMS = (
    "citeAs column conformsTo data dataType equivalentProperty examples extract field fileProperty fileObject fileSet "
    "format includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
).split()
_SPECIAL: dict[str, object] = {
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}
_MEANING = {
    "text": "A synthetic text.",
    "label": "Its hard label.",
    "rationale": "What a public model wrote about the row.",
    "step_difficulty": "How much the rationale helps that model, from 0 to 1.",
}


def croissant(statement: PrivacyStatement, *, columns: tuple[str, ...], data_sha256: str, jsonl_sha256: str) -> str:
    """Describe a bundle.

    Args:
        statement: what the release guarantees.
        columns: of the parquet file.
        data_sha256: of the parquet file.
        jsonl_sha256: of its JSON-lines twin.
    """
    guarantee, declared = statement.guarantee, statement.declarations
    title = f"Synthetic {plain(declared.describe)}" if declared.describe else "Synthetic texts"
    meaning = _MEANING | {name: f"Part {i} of the text." for i, name in enumerate(declared.fields, start=1)}
    soft = " The column soft_label has one probability a class." if "soft_label" in columns else ""
    document = {
        "@context": _context(),
        "@type": "sc:Dataset",
        "conformsTo": [_CONFORMS, "http://mlcommons.org/croissant/RAI/1.0"],
        "name": "synthetic-texts",
        "alternateName": title,
        "description": f"{statement.rows} synthetic rows with a differential-privacy guarantee. "
        f"{plain(guarantee.sentence)}{soft} See PRIVACY.md for what is not protected.",
        "version": "1.0.0",
        "identifier": plain(statement.run_id),
        "datePublished": statement.evidence.decided_at[:10],
        "creator": {"@type": "sc:Organization", "name": "the holder of the source, with privdistill"},
        "license": layout.LICENSE,
        "url": layout.CARD,
        "citeAs": f"See {layout.CITATION}.",
        "rai:dataCollection": "Written by a public language model, steered by noised sums over a private corpus.",
        "rai:dataCollectionType": "Synthetic data",
        "rai:personalSensitiveInformation": f"epsilon {guarantee.epsilon:.6g}, delta {guarantee.delta:.3g}, "
        f"unit: {plain(guarantee.privacy_unit)}, {guarantee.adjacency}.",
        "rai:dataLimitations": "; ".join(plain(item) for item in guarantee.not_protected),
        "rai:dataUseCases": "Training and testing models of the declared task; not statistics about the source.",
        "distribution": [
            _file("rows-parquet", layout.DATA, "application/x-parquet", data_sha256),
            _file("rows-jsonl", layout.JSONL, "application/jsonlines", jsonl_sha256),
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "rows",
                "name": "rows",
                "description": "One synthetic text a record.",
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"rows/{plain(name)}",
                        "name": plain(name),
                        "description": meaning[name],
                        "dataType": "sc:Float" if name == "step_difficulty" else "sc:Text",
                        "source": {"fileObject": {"@id": "rows-parquet"}, "extract": {"column": name}},
                    }
                    for name in columns
                    if name in meaning
                ],
            }
        ],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _file(id_: str, path: str, format_: str, sha256: str) -> dict[str, str]:
    return {
        "@type": "cr:FileObject",
        "@id": id_,
        "name": id_,
        "description": f"The rows as {path.rpartition('.')[2]}.",
        "contentUrl": path,
        "encodingFormat": format_,
        "sha256": sha256,
    }


def _context() -> dict[str, object]:
    fixed: dict[str, object] = {
        "@language": "en",
        "@vocab": "https://schema.org/",
        "sc": "https://schema.org/",
        "cr": "http://mlcommons.org/croissant/",
        "rai": "http://mlcommons.org/croissant/RAI/",
        "dct": "http://purl.org/dc/terms/",
    }
    return fixed | {term: f"cr:{term}" for term in _TERMS} | _SPECIAL
