"""The JSON Schema (draft 2020-12) that `--schema` gives: rows that do not satisfy it are quarantined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_distill import storage
from pytest_distill.batch.ingest.records import Malformed
from pytest_distill.batch.ingest.strict_json import parse
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError


def load(path: Path) -> tuple[Callable[[dict[str, Any]], None], str]:
    """A check that raises Malformed(SCHEMA), and the schema file's SHA-256. Nothing is fetched: references stay inside the file.

    Raises E-SOURCE-NOTFOUND when the file does not read, E-SOURCE-FORMAT when it is no schema.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    try:
        data = path.read_bytes()
    except OSError as error:
        raise DistillError(Code.SOURCE, f"cannot read the schema {path}: {error.strerror}", "Check the path.") from error
    try:
        schema = parse(data)
        Draft202012Validator.check_schema(schema)
    except Malformed as error:
        raise DistillError(Code.FORMAT, f"the schema {path.name} is no JSON: {error.message}", "Mend it.") from error
    except SchemaError as error:
        raise DistillError(
            Code.FORMAT, f"{path.name} is no JSON Schema: {error.message[:200]}", "Draft 2020-12 is read."
        ) from error
    validator = Draft202012Validator(schema, registry=Registry())

    def check(row: dict[str, Any]) -> None:
        try:
            error = next(validator.iter_errors(row), None)
        except Unresolvable as missing:
            raise DistillError(
                Code.FORMAT, f"{path.name} refers to {missing.ref!r}, which is not in it", "Put it under $defs."
            ) from missing
        if error is not None:
            place = "/".join(str(part) for part in error.absolute_path) or "the row"
            raise Malformed(Reason.SCHEMA, f"{place}: {error.message[:300]}")

    return check, storage.sha256_bytes(data)
