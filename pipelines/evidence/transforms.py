"""Streams and their transforms: read from TOML, checked as a whole, compiled once.

A transform is a function of the source row and of its signature. It sees no clock, no environment and no other row, and calls no
model; functions from a workspace's own file are looked through for that before they are used (`purity`).
"""

from __future__ import annotations

import importlib.util
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pytest_distill import storage
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.evidence import EvidenceRecord, Provenance, ScoringRule, StreamClass, StreamName
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import functions as shipped
from pytest_distill.pipelines.evidence import purity, values
from pytest_distill.pipelines.evidence.values import Condition, Function, Row, Value

SHIPPED = Path(__file__).with_name("streams.toml")
OWN = "evidence.toml"
_REQUIRED = ("run_id", "task_id", "timestamp")
_TAKEN = {"schema_version", "provenance", "source", "source_class", "scored_by", "success_markers", "failure_markers", "metadata"}
FIELDS = frozenset(EvidenceRecord.model_fields) - _TAKEN


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Marker(_Table):
    marker: Any
    when: Any


class StreamTable(_Table):
    """One `[[stream]]`. `file` is its file below the streams folder, `<name>.jsonl` unless said otherwise."""

    name: StreamName
    file: str | None = None
    stream_class: StreamClass = Field(alias="class")
    scored_by: ScoringRule
    requires: tuple[str, ...] = ()
    fields: dict[str, Any]
    metadata: dict[str, Any] = {}
    success: tuple[Marker, ...] = ()
    failure: tuple[Marker, ...] = ()


class TransformFile(_Table):
    schema_version: Literal[1]
    stream: tuple[StreamTable, ...] = Field(min_length=1)


class UnusableRowError(Exception):
    """A source row that becomes no evidence: `reason` is one of the reasons of a Skip."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


@dataclass(frozen=True)
class Stream:
    """A stream and its compiled transform. `sha256` is over all that the transform is: table, functions, and our own code."""

    name: str
    file: str
    source_class: StreamClass
    scored_by: ScoringRule
    sha256: str
    _requires: tuple[tuple[str, ...], ...]
    _fields: tuple[tuple[str, Value], ...]
    _metadata: tuple[tuple[str, Value], ...]
    _success: tuple[tuple[Value, Condition], ...]
    _failure: tuple[tuple[Value, Condition], ...]

    def record(self, row: Row, provenance: Provenance) -> EvidenceRecord:
        """The evidence record of a source row. Raises UnusableRowError."""
        for path in self._requires:
            if values.at(row, path) is None:
                raise UnusableRowError("misnamed_shape", f"a row of {self.name} has {'.'.join(path)!r}; this one does not")
        sig = provenance.sig_hash
        found: dict[str, Any] = {name: value(row, sig) for name, value in self._fields}
        for name in _REQUIRED:
            if found.get(name) is None:
                raise UnusableRowError("missing_field", f"{name}: the row has nothing to take it from")
        try:
            return EvidenceRecord(
                provenance=provenance,
                source=self.name,
                source_class=self.source_class,
                scored_by=self.scored_by,
                success_markers=_markers(self._success, row, sig),
                failure_markers=_markers(self._failure, row, sig),
                metadata={name: each for name, value in self._metadata if (each := value(row, sig)) is not None},
                **found,
            )
        except ValidationError as error:
            raise UnusableRowError("schema_violation", first_problem(error)) from error


def load(workspace_root: Path | None = None) -> tuple[Stream, ...]:
    """The shipped streams, with those of the workspace's evidence.toml added or in their place, in order of name.

    Raises E-POLICY for a file that is no transform file, or a function that is not pure.
    """
    found = {stream.name: stream for stream in read(SHIPPED)}
    if workspace_root is not None and (workspace_root / OWN).is_file():
        found |= {stream.name: stream for stream in read(workspace_root / OWN)}
    files: dict[str, str] = {}
    for stream in found.values():
        if files.setdefault(stream.file, stream.name) != stream.name:
            raise DistillError(
                Code.POLICY, f"the streams {files[stream.file]} and {stream.name} read one file", "Give each stream its own file."
            )
    return tuple(found[name] for name in sorted(found))


def read(path: Path) -> tuple[Stream, ...]:
    """The streams of one TOML file. Raises E-POLICY."""
    try:
        table = TransformFile.model_validate(tomllib.loads(path.read_text("utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DistillError(Code.POLICY, f"{path.name} is no TOML: {error}", "Mend that line.") from error
    except ValidationError as error:
        raise DistillError(
            Code.POLICY, f"{path.name}: {first_problem(error)}", "docs/evidence.md lists what a stream has."
        ) from error
    names = [stream.name for stream in table.stream]
    if len(set(names)) != len(names):
        raise DistillError(Code.POLICY, f"{path.name} has two streams of one name", "Names are unique.")
    return tuple(compile_stream(stream, path) for stream in table.stream)


def compile_stream(table: StreamTable, path: Path, extra: dict[str, Function] | None = None) -> Stream:
    """One stream's tables as functions; `extra` adds functions by name. Raises E-POLICY."""
    where = f"{path.name}: stream {table.name}"
    if unknown := sorted(table.fields.keys() - FIELDS):
        raise DistillError(Code.POLICY, f"{where}: evidence has no field {unknown[0]!r}", f"It has {', '.join(sorted(FIELDS))}.")
    if missing := [name for name in _REQUIRED if name not in table.fields]:
        raise DistillError(Code.POLICY, f"{where}: fields lack {missing[0]!r}", f"{', '.join(_REQUIRED)} are needed.")
    file = table.file or f"{table.name}.jsonl"
    if Path(file).is_absolute() or ".." in Path(file).parts:
        raise DistillError(Code.POLICY, f"{where}: {file!r} leaves the streams folder", "Name a file below it.")
    own, code = _own_functions(table, path)
    known = {**shipped.FUNCTIONS, **own, **(extra or {})}
    for name, function in {**own, **(extra or {})}.items():
        if found := purity.impurities(function):
            raise DistillError(
                Code.POLICY, f"{where}: the function {name} {found[0]}", "A transform is a function of the source row alone."
            )
    return Stream(
        name=table.name,
        file=file,
        source_class=table.stream_class,
        scored_by=table.scored_by,
        sha256=storage.sha256_bytes(storage.canonical_json([table.model_dump(mode="json"), code, _shipped_code()])),
        _requires=tuple(tuple(name.split(".")) for name in table.requires),
        _fields=tuple((name, values.value(spec, known, f"{where}, {name}")) for name, spec in table.fields.items()),
        _metadata=tuple((name, values.value(spec, known, f"{where}, {name}")) for name, spec in table.metadata.items()),
        _success=tuple(_compile(each, known, where) for each in table.success),
        _failure=tuple(_compile(each, known, where) for each in table.failure),
    )


def _compile(marker: Marker, known: dict[str, Function], where: str) -> tuple[Value, Condition]:
    return values.value(marker.marker, known, where), values.condition(marker.when, known, where)


def _markers(markers: tuple[tuple[Value, Condition], ...], row: Row, sig: str) -> tuple[str, ...]:
    return tuple(str(text) for marker, when in markers if when(row, sig) and (text := marker(row, sig)) is not None)


def _shipped_code() -> dict[str, str]:
    return {module.__name__: storage.sha256_file(Path(module.__file__ or "")) for module in (shipped, values)}


def _own_functions(table: StreamTable, path: Path) -> tuple[dict[str, Function], dict[str, str]]:
    """Functions named as `file.py:name`, from files beside the TOML file, and the digests of those files."""
    found: dict[str, Function] = {}
    code: dict[str, str] = {}
    for name in sorted(_named(table.model_dump())):
        file, colon, attribute = name.partition(":")
        if not colon:
            continue
        source = path.parent / file
        if source.resolve().parent != path.parent.resolve() or not source.is_file():
            raise DistillError(Code.POLICY, f"{path.name} names {file}, which is no file beside it", "Put the file there.")
        spec = importlib.util.spec_from_file_location(f"distill_transforms_{source.stem}", source)
        assert spec is not None, "a .py file has a loader"
        assert spec.loader is not None, "a .py file has a loader"
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        function = getattr(module, attribute, None)
        if not callable(function):
            raise DistillError(Code.POLICY, f"{file} has no function {attribute!r}", "Check its name.")
        found[name], code[file] = function, storage.sha256_file(source)
    return found, code


def _named(spec: Any) -> Iterable[str]:
    if isinstance(spec, dict):
        if isinstance(spec.get("function"), str):
            yield spec["function"]
        for each in spec.values():
            yield from _named(each)
    elif isinstance(spec, list | tuple):
        for each in spec:
            yield from _named(each)
