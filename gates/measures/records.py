"""Rows that are no record of their kind, or do not satisfy the workspace's own JSON Schema."""

from __future__ import annotations

from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from pytest_distill import measure
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS
from pytest_distill.contracts.rows import SftRow
from pytest_distill.measuring.candidates import examined, first_of, nothing_found
from pytest_distill.policy.model import RecordSchema
from pytest_distill.policy.record_schema import load_validator

# The fields whose values have to agree with each other. Rows without them need no more than the texts of their kind.
_JUDGED = (
    "instruction_critique",
    "pair_critique",
    "candidate_status",
    "raw_tokens",
    "clean_tokens",
    "hit_token_limit",
    "trim_rule",
)
_JSON = ("instruction_critique", "pair_critique")


@measure(version=1)
def record_fault(
    kind: str,
    instruction: pl.Series | None = None,
    response: pl.Series | None = None,
    prompt: pl.Series | None = None,
    completion: pl.Series | None = None,
    instruction_critique: pl.Series | None = None,
    pair_critique: pl.Series | None = None,
    candidate_status: pl.Series | None = None,
    raw_tokens: pl.Series | None = None,
    clean_tokens: pl.Series | None = None,
    hit_token_limit: pl.Series | None = None,
    trim_rule: pl.Series | None = None,
    chosen: pl.Series | None = None,
    rejected: pl.Series | None = None,
    content: pl.Series | None = None,
    text: pl.Series | None = None,
) -> pl.Series:
    """Why a row is no record of its kind, as `field: what is wrong`; null where it is one.

    Rows with the fields of a critic go through the kind's model; for the others the model asks no more than texts that are
    there, and for pairs that differ, which is judged for all rows at once. (That texts are not blank is another gate's matter.)
    """
    given = {name: series for name, series in locals().items() if isinstance(series, pl.Series)}
    frame = pl.DataFrame([series.alias(name) for name, series in given.items()])
    faults = [nothing_found(frame.height)]
    for name in REQUIRED_COLUMNS[kind]:
        missing = pl.col(name).is_null() if name in given else pl.lit(value=True)
        faults.append(frame.select(pl.when(missing).then(pl.lit(f"{name}: is missing"))).to_series())
    if kind == "preference" and {"chosen", "rejected"} <= given.keys():
        same = pl.when(pl.col("chosen") == pl.col("rejected")).then(pl.lit("chosen and rejected are the same text"))
        faults.append(frame.select(same).to_series())
    judged = [name for name in _JUDGED if name in given]
    if kind == "sft" and judged:
        wanted = frame.select(pl.any_horizontal(pl.col(name).is_not_null() for name in judged)).to_series()
        rows = frame.with_row_index("row").get_column("row")
        faults.append(examined(lambda row: _sft_fault(frame.row(row, named=True)), wanted, rows))
    return first_of(*faults)


@measure(version=1, config="record_schema")
def schema_fault(record: pl.Series, config: RecordSchema) -> pl.Series:
    """The first place where a row does not satisfy the workspace's JSON Schema, as `path: what is wrong`; null where it does.

    Raises E-POLICY when the schema cannot be used.
    """
    assert config.path is not None, "the gate applies where a schema is set"
    validator = load_validator(config.path.resolved.read_bytes(), config.path.path)
    return pl.Series([validator.fault(orjson.loads(line)) for line in record], dtype=pl.String)


def _sft_fault(row: dict[str, Any]) -> str | None:
    fields = {name: value for name, value in row.items() if value is not None}
    for name in _JSON:
        if isinstance(fields.get(name), str):
            try:
                fields[name] = orjson.loads(fields[name])
            except orjson.JSONDecodeError:
                return f"{name}: is text, not an object"
    for name in ("instruction", "response"):
        if not fields.get(name, "").strip():
            fields[name] = "(blank)"  # the gate text.blank says so
    try:
        SftRow.model_validate(fields)
    except ValidationError as error:
        return first_problem(error)
    return None
