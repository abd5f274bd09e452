"""Going on with a run: is it still the same run, do its shards stand, and are the records it passes over those it has read?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import ValidationError

from pytest_distill import storage
from pytest_distill.batch import shards
from pytest_distill.contracts.preprocess import ResumeState
from pytest_distill.contracts.tokens import STATE, UNITS, TokenizeRun, TokensManifest, TokenUnit
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.tokenize.sources import Document
from pytest_distill.pipelines.tokenize.tokenizer import same


def check_frozen(begun: TokenizeRun, asked: TokenizeRun) -> TokenizeRun:
    """The run as it began, if what is asked for now is the same. Its time and commit stay those of its beginning.

    Raises E-TOKENIZER-DRIFT, E-FREEZE, or E-RESUME-CURSOR-MISMATCH for other sources.
    """
    same(asked.stamp, begun.stamp, "the run that is to go on")
    if begun.freeze != asked.freeze or (begun.dataset, begun.version) != (asked.dataset, asked.version):
        mine, theirs = begun.model_dump(), asked.model_dump()
        names = ("dataset", "version", "dtype", "shard_tokens", "text_field")
        changed = [f"{name}: {mine[name]}, now {theirs[name]}" for name in names if mine[name] != theirs[name]]
        what = "; ".join(changed) or f"pipeline_version: {begun.freeze.pipeline_version}, now {asked.freeze.pipeline_version}"
        raise DistillError(Code.FREEZE, f"the run began with other values ({what})", "Give those, or begin in another folder.")
    if (begun.sources, begun.batch_sha256) != (asked.sources, asked.batch_sha256):
        changed = [now.name for was, now in zip(begun.sources, asked.sources, strict=False) if was != now]
        what = f"{changed[0]} is not what it was" if changed else "other sources are named"
        raise DistillError(Code.RESUME, f"the run began with other sources: {what}", "Give those, or begin in another folder.")
    return begun


def finished(out: Path, manifest: TokensManifest, asked: TokenizeRun) -> TokensManifest:
    """The manifest of a run that has ended, if it is the one that is asked for. Raises E-FREEZE, E-RESUME-CURSOR-MISMATCH."""
    info = manifest.source_info
    if info.freeze_sha256 != asked.freeze.sha256 or (manifest.dataset, manifest.version) != (asked.dataset, asked.version):
        raise DistillError(Code.FREEZE, f"{out} was made with other values", "Begin in another folder.")
    if (info.sources, info.batch_sha256) != (asked.sources, asked.batch_sha256):
        raise DistillError(Code.RESUME, f"{out} was made from other sources", "Begin in another folder.")
    return manifest


def vouched(out: Path, run: TokenizeRun) -> list[TokenUnit]:
    """The units that the state vouches for, their shards checked; what lies behind them in units.jsonl is cut off.

    Raises E-RESUME-CURSOR-MISMATCH, E-INDEX-MISSING, E-SHARD-CHECKSUM.
    """
    if not (out / STATE).is_file():
        return []
    state = ResumeState.load(out / STATE)
    units, lines = _read(out / UNITS)
    if state.status == "completed":
        kept = len(units)
    else:
        found = _behind(lines, state.manifest_digest)
        if found is None:
            code = Code.RESUME if (out / UNITS).is_file() else Code.INDEX_MISSING
            raise DistillError(code, f"{UNITS} of {out} does not hold what {STATE} vouches for", "Begin in another folder.")
        kept = found
    last = units[kept - 1] if kept else None
    if last is not None and (state.last_record_digest, state.cursor.local_doc_count) != (last.last_record_digest, last.done):
        raise DistillError(Code.RESUME, f"{STATE} and {UNITS} of {out} disagree on the last record", "Begin in another folder.")
    if kept < len(lines) or (out / UNITS).is_file():
        storage.write_bytes(out / UNITS, b"".join(lines[:kept]))
    for unit in units[:kept]:
        for problem in shards.shard_problems(out, unit.shard, dtype=run.dtype, stamp=run.stamp):
            raise problem
    return units[:kept]


def _behind(lines: Sequence[bytes], digest: str) -> int | None:
    """How many lines, from the first on, have this digest."""
    listed = sha256()
    for number, line in enumerate((b"", *lines)):
        listed.update(line)
        if f"sha256:{listed.hexdigest()}" == digest:
            return number
    return None


def _read(path: Path) -> tuple[list[TokenUnit], list[bytes]]:
    """The whole lines of units.jsonl; a line that was torn when the process died is left out."""
    if not path.is_file():
        return [], []
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    try:
        return [TokenUnit.model_validate_json(line) for line in lines], lines
    except ValidationError as error:
        raise DistillError(Code.RESUME, f"{path} holds a line that is no unit", "Begin in another folder.") from error


def pass_over(documents: Iterator[Document], units: Sequence[TokenUnit]) -> Iterator[Document]:
    """The documents behind the last unit. Those before have to be the records that the units were made from.

    Raises E-RESUME-CURSOR-MISMATCH.
    """
    read = 0
    for unit in units:
        records, last = sha256(), b""
        while read < unit.read:
            document = next(documents, None)
            if document is None:
                raise _differs(unit, f"the sources end after {read:,} records")
            last = sha256(document.text.encode()).digest()
            records.update(last)
            read += 1
        if f"sha256:{last.hex()}" != unit.last_record_digest:
            raise _differs(unit, f"record {read:,} is not the one it ended with")
        if records.hexdigest() != unit.records_sha256:
            raise _differs(unit, "its records are not those it was made from")
    yield from documents


def _differs(unit: TokenUnit, what: str) -> DistillError:
    return DistillError(Code.RESUME, f"{unit.shard.path}: {what}", "The sources changed; begin in another folder.")
