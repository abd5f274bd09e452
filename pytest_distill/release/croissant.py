"""croissant.json of an export: Croissant 1.1 metadata (JSON-LD), so that other tools find and load the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.policy.model import Card
from pytest_distill.release.data import DataFile, Format
from pytest_distill.release.runs import SealedRun

# The context of the specification's first appendix; schema.org by https, as its reference implementation reads it.
# fmt: off
_TERMS = (
    "annotation", "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "excludes",
    "extract", "field", "fileProperty", "fileObject", "fileSet", "format", "includes",
    "isArray", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path",
    "recordSet", "references", "regex", "readLines", "repeated", "replace", "samplingRate",
    "sdVersion", "separator", "source", "subField", "transform", "unArchive", "value",
)
# fmt: on
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "description": {"@container": "@language"},
    "name": {"@container": "@language"},
    **{term: f"cr:{term}" for term in _TERMS},
}
_TYPES = {"string": "sc:Text", "json": "sc:Text", "int64": "cr:Int64", "float64": "cr:Float64", "bool": "sc:Boolean"}
_FORMATS = {"jsonl": "application/jsonlines", "parquet": "application/x-parquet", "hf": "application/x-parquet"}


def croissant(batch: Batch, run: SealedRun, card: Card, folder: Path, files: Sequence[DataFile], form: Format) -> dict[str, Any]:
    """The metadata of the data files that lie in `folder`. Licence, creator and address are there when the policy gives them."""
    metadata: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": batch.id,
        "description": batch.manifest.what,
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "datePublished": run.judged_at[:10],
        "version": "1.0.0",
        "keywords": ["pytest-distill", batch.kind],
    }
    if card.license:
        metadata["license"] = card.license
    if card.creator:
        metadata["creator"] = {"@type": "sc:Organization", "name": card.creator}
    if card.url:
        metadata["url"] = card.url
    objects = [
        {
            "@type": "cr:FileObject",
            "@id": file.name,
            "name": file.name,
            "contentUrl": file.name,
            "contentSize": f"{(folder / file.name).stat().st_size} B",
            "encodingFormat": _FORMATS[form],
            "sha256": storage.sha256_file(folder / file.name),
        }
        for file in files
    ]
    # One file is read as itself; the parts of one table as a set, so that readers know they belong together.
    data = {"fileObject": {"@id": files[0].name}} if form != "hf" else {"fileSet": {"@id": "train"}}
    parts = {
        "@type": "cr:FileSet",
        "@id": "train",
        "name": "train",
        "encodingFormat": _FORMATS[form],
        "includes": "data/train-*.parquet",
    }
    metadata["distribution"] = [*objects, parts] if form == "hf" else objects
    metadata["recordSet"] = [
        {
            "@type": "cr:RecordSet",
            "@id": "rows",
            "name": "rows",
            "description": f"{run.record.rows.remaining} rows that every required gate let pass.",
            "field": [
                {
                    "@type": "cr:Field",
                    "@id": f"rows/{quote(column.name, safe='')}",
                    "name": column.name,
                    "description": "Any JSON value, as JSON text."
                    if column.type == "json"
                    else f"A column of type {column.type}.",
                    "dataType": _TYPES[column.type],
                    "source": {**data, "extract": {"column": column.name}},
                }
                for column in batch.manifest.columns
            ],
        }
    ]
    return metadata
