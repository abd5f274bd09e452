"""What the gates of exported evidence judge, taken from the rows and from what became of every record the exporter looked at.

Nothing here is shared with the exporters: ids, digests and categories are computed again from the batch itself. A column that the
batch lacks counts as null in every row, so that missing evidence shows as missing.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
from pydantic import ValidationError

from pytest_distill import measure
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.evidence import Provenance, QuarantineEntry

if TYPE_CHECKING:
    from pytest_distill.gating.columns import JudgedBatch

TIMELESS = "timeless.json"
_TIMES = ("created_at", "recorded_at")
_RUNS = {"export-rag": "source_run_id", "export-sft": "source_run_id", "export-preference": "chosen_run_id"}


@measure(version=1)
def sample_record(record: pl.Series) -> pl.Series:
    """Each sample as the JSON text it was."""
    return record


def untraceable(rows: pl.Series, *names: str) -> int:
    """Samples that lack a whole provenance under one of `names`."""
    return sum(any(_provenance(row.get(name)) is None for name in names) for row in map(orjson.loads, rows))


def misnamed(rows: pl.Series, pipeline: str) -> int:
    """Samples whose id is not the digest of the runs and source rows they are made of."""
    wrong = 0
    for row in map(orjson.loads, rows):
        sides = [(row.get(_RUNS[pipeline]), row.get("provenance"))]
        if pipeline == "export-preference":
            sides.append((row.get("rejected_run_id"), row.get("rejected_provenance")))
        parts = [str(part) for run, at in sides for part in (run, (at or {}).get("sig_hash"))]
        wrong += row.get("id") != hashlib.sha256("\x1f".join(parts).encode()).hexdigest()
    return wrong


def repeated(ids: pl.Series) -> int:
    return len(ids) - ids.n_unique()


def outside(values: pl.Series, allowed: list[str]) -> int:
    """Values that are not among `allowed`; a null is not."""
    return int((~values.is_in(allowed).fill_null(value=False)).sum())


def most_pairs(frame: pl.DataFrame) -> int:
    """The most pairs that one task is in, on either side."""
    used: Counter[str] = Counter()
    for chosen, rejected in frame.iter_rows():
        used.update({chosen, rejected})
    return max(used.values(), default=0)


def same_text(chosen: pl.Series, rejected: pl.Series) -> int:
    """Pairs whose two texts differ in white space at most."""
    return sum(str(a).split() == str(b).split() for a, b in zip(chosen, rejected, strict=True))


def candidates(batch: JudgedBatch) -> list[dict[str, Any]]:
    """What became of every record: objects with `status`, and for those turned away, their quarantine entry."""
    rows = batch.candidates().iter_rows(named=True)
    return [{name: _value(name, value) for name, value in row.items()} for row in rows]


def unexplained(found: list[dict[str, Any]]) -> list[str]:
    """Records that were turned away without a whole quarantine entry, each with what is wrong."""
    wrong = []
    for each in found:
        if each.get("status") == "kept":
            continue
        try:
            QuarantineEntry(
                exporter=each.get("exporter"),
                reason=each.get("status"),
                source_record=each.get("source_record"),
                errors=each.get("errors"),
                provenance=each.get("provenance"),
            )
        except ValidationError as error:
            wrong.append(first_problem(error))
    return wrong


def leaked(found: list[dict[str, Any]], allowed: list[str]) -> int:
    """Records that were kept although their score is not among `allowed`."""
    return sum(each.get("status") == "kept" and each.get("category") not in allowed for each in found)


def timeless(rows: pl.Series) -> str:
    """The digest of the samples without injected times: what a second run of the same has to reach."""
    digest = hashlib.sha256()
    for row in map(orjson.loads, rows):
        digest.update(orjson.dumps(_without_times(row), option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE))
    return digest.hexdigest()


def declared_timeless(batch: JudgedBatch) -> str | None:
    data = batch.attachment(TIMELESS)
    found = orjson.loads(data).get("sha256") if data is not None else None
    return found if isinstance(found, str) else None


def _provenance(value: Any) -> Provenance | None:
    try:
        return Provenance.model_validate(value)
    except ValidationError:
        return None


def _value(name: str, value: Any) -> Any:
    return orjson.loads(value) if name in ("source_record", "errors", "provenance") and isinstance(value, str) else value


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in _TIMES}
    return value
