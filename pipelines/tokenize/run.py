"""A tokenising run: documents in, a folder of shards out, the same bytes however often it was stopped on the way.

The unit of work is an output shard. A shard takes documents, whole and in order, as long as they fit; then its two files appear,
a line in units.jsonl says which records it holds, and state_stage_2.json, the commit, vouches for that line. What is not
vouched for is made again. A run that goes on compares its sources, values and finished shards with those it began with, and
the checksums of all records that it skips. manifest.json appears last, and SHA256SUMS over everything.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pytest_distill import clock, storage
from pytest_distill.batch import digest
from pytest_distill.contracts.preprocess import Cursor, ResumeState, RngState
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.contracts.tokens import (
    MANIFEST,
    RUN,
    STAGE,
    STATE,
    UNITS,
    DType,
    ShardEntry,
    SourceInfo,
    TokenizeRun,
    TokensManifest,
    TokenUnit,
    freeze,
    stem,
)
from pytest_distill.engine.engine import Engine
from pytest_distill.engine.local import Threads
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.tokenize.blocks import Encoded, encoded
from pytest_distill.pipelines.tokenize.resume import check_frozen, finished, pass_over, vouched
from pytest_distill.pipelines.tokenize.sources import Document, Sources
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer, same
from pytest_distill.pipelines.tokenize.writer import ShardWriter
from pytest_distill.stages.progress import Report
from pytest_distill.stages.receipts import git_sha
from pytest_distill.stages.stopping import Stop

SHARD_TOKENS = 1 << 25
PIPELINE_VERSION = "data_v1"
# base64 of canonical JSON null: nothing here is drawn by chance
_NO_GENERATOR = RngState(python="bnVsbAo=", numpy="bnVsbAo=")


@dataclass(frozen=True)
class Order:
    """What is to be made: names of the set, the column of the texts, and values that one pipeline version must not change."""

    dataset: str
    version: str
    text_field: str = "text"
    dtype: DType = "uint32"
    shard_tokens: int = SHARD_TOKENS
    pipeline_version: str = PIPELINE_VERSION


def tokenize(
    sources: Sources,
    tokenizer: Tokenizer,
    out: Path,
    order: Order,
    *,
    engine: Engine | None = None,
    resume: bool = False,
    stop: Stop | None = None,
    report: Report | None = None,
) -> TokensManifest:
    """Writes the shard set `out`: the same bytes whatever `engine` encodes (None: a thread).

    With `resume`, goes on with the run that was stopped there, and is done where it is finished.

    Raises E-SHARD-FILES when `out` is taken, E-TOKENIZER-DRIFT, E-FREEZE and E-RESUME-CURSOR-MISMATCH when a resumed run is not
    the one that began, E-SHARD-CHECKSUM and E-INDEX-MISSING when its files are no longer those it wrote, E-SHARD-TOKENS,
    E-SOURCE-NOTFOUND and E-SOURCE-FORMAT; SystemExit with 143 or 130 after a signal, between two shards.
    """
    begun = _plan(sources, tokenizer, order)
    with storage.locked(out, wait=False):
        if (out / MANIFEST).is_file():
            manifest = TokensManifest.load(out / MANIFEST)
            same(tokenizer.stamp, manifest.stamp, str(out))
            if resume and not (out / RUN).exists():
                return finished(out, manifest, begun)
        if resume:
            storage.remove_leftovers(out / RUN)
        if (out / RUN).is_file() and resume:
            begun = check_frozen(TokenizeRun.load(out / RUN), begun)
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            what = "holds no run that could go on" if resume else "is there already"
            hint = "Name another folder." if resume else "Name another folder; --resume goes on with a run that was stopped."
            raise DistillError(Code.SHARD_FILES, f"{out} {what}", hint)
        else:
            begun.write(out / RUN)
        run = _Run(out, begun, vouched(out, begun))
        run.go_on(sources, tokenizer, engine or Threads(1), stop or Stop(), report)
        return run.finish()


def _plan(sources: Sources, tokenizer: Tokenizer, order: Order) -> TokenizeRun:
    stamp = tokenizer.stamp
    if order.dtype == "uint16" and stamp.vocab_size > 1 << 16:
        raise DistillError(Code.USAGE, f"a vocabulary of {stamp.vocab_size:,} does not fit into uint16", "--dtype uint32")
    return TokenizeRun(
        dataset=order.dataset,
        version=order.version,
        dtype=order.dtype,
        shard_tokens=order.shard_tokens,
        text_field=order.text_field,
        freeze=freeze(
            stamp,
            pipeline_version=order.pipeline_version,
            dtype=order.dtype,
            shard_tokens=order.shard_tokens,
            text_field=order.text_field,
        ),
        stamp=stamp,
        git_sha=git_sha(Path.cwd()),
        started_at=clock.timestamp(),
        sources=sources.identity,
        batch_id=sources.batch.id if sources.batch else None,
        batch_sha256=sources.batch.sha256 if sources.batch else None,
    )


@dataclass
class _Run:
    """One run at work. `units` are the shards that stand."""

    out: Path
    plan: TokenizeRun
    units: list[TokenUnit]
    _writer: ShardWriter | None = None
    _read: int = 0
    _dropped: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._lines = sha256(b"".join(unit.model_dump_json().encode() + b"\n" for unit in self.units))

    def go_on(self, sources: Sources, tokenizer: Tokenizer, engine: Engine, stop: Stop, report: Report | None) -> None:
        """Makes the shards that do not stand yet."""
        self._read = self.units[-1].read if self.units else 0
        if not self.units:
            self._commit_state()
        number = len(self.units)
        for name in (f"{stem(self.plan.dataset, self.plan.version, number)}{suffix}" for suffix in (".npy", ".idx")):
            storage.remove_leftovers(self.out / name)
        for name in (STATE, UNITS, MANIFEST, digest.SUMS):
            storage.remove_leftovers(self.out / name)
        shown = _Shown(report, sources.size, self._read)
        documents: Iterator[Document] = pass_over(sources.documents(shown.read), self.units)
        try:
            with contextlib.closing(encoded(documents, tokenizer, engine)) as blocks:
                for block in blocks:
                    self._take(block, stop)
                    shown.documents(len(block.places))
            if self._writer is not None and self._writer.tokens:
                self._commit()
                stop.check()
        finally:
            self._abandon()
        if not self.units:
            raise DistillError(Code.SOURCE, "there is no document with a text in what was read", "Nothing was written.")

    def _take(self, block: Encoded, stop: Stop) -> None:
        """Appends documents as long as the shard has room; one that is longer than a shard gets one of its own."""
        at = 0
        while at < len(block.places):
            writer = self._open()
            before = int(block.ends[at - 1]) if at else 0
            room = max(self.plan.shard_tokens - writer.tokens, 0)  # a record without a token always fits
            until = int(block.ends.searchsorted(before + room, side="right"))
            if until <= at and not writer.tokens:
                until = int(block.ends.searchsorted(block.ends[at], side="right"))  # with those behind it that have no token
            if until > at:
                self._append(writer, block, at, until)
                at = until
            if at < len(block.places) and writer.tokens:
                self._commit()
                stop.check()

    def _append(self, writer: ShardWriter, block: Encoded, first: int, until: int) -> None:
        before = int(block.ends[first - 1]) if first else 0
        ends = block.ends[first:until] - before
        full = ends > 0
        full[1:] = ends[1:] > ends[:-1]
        writer.add(block.ids[before : int(block.ends[until - 1])], ends[full])
        for place in block.places[first:until]:
            self._hash.update(place.digest)
        self._last = block.places[until - 1]
        self._read += until - first
        if empty := int((~full).sum()):
            self._dropped[Reason.BLANK.value] += empty

    def _open(self) -> ShardWriter:
        if self._writer is None:
            name = stem(self.plan.dataset, self.plan.version, len(self.units))
            self._writer = ShardWriter(self.out, name, self.plan.dtype).__enter__()
            self._hash = sha256()
            self._dropped = Counter()
        return self._writer

    def _abandon(self) -> None:
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._writer = None

    def _commit(self) -> None:
        """The shard's files, its line, and the state that vouches for both."""
        assert self._writer is not None
        entry: ShardEntry = self._writer.finish()
        self._abandon()
        unit = TokenUnit(
            shard=entry,
            dropped=dict(self._dropped),
            read=self._read,
            source=self._last.source,
            done=self._last.done,
            records_sha256=self._hash.hexdigest(),
            last_record_digest=f"sha256:{self._last.digest.hex()}",
        )
        line = unit.model_dump_json().encode()
        storage.append_line(self.out / UNITS, line)
        self.units.append(unit)
        self._lines.update(line + b"\n")
        self._commit_state()

    def _commit_state(self, manifest: TokensManifest | None = None) -> None:
        last = self.units[-1] if self.units else None
        listed = storage.sha256_bytes(manifest.to_bytes()) if manifest else self._lines.hexdigest()
        ResumeState(
            stage=STAGE,
            started_at=self.plan.started_at,
            completed_at=clock.timestamp() if manifest else None,
            status="completed" if manifest else "running",
            rng_state=_NO_GENERATOR,
            cursor=Cursor(
                source=self.plan.sources[last.source].name if last else None,
                shard_dir=None,  # paths of a machine do not enter what is hashed
                local_doc_count=last.done if last else 0,
            ),
            last_record_digest=last.last_record_digest if last else None,
            manifest_digest=f"sha256:{listed}",
            pipeline_version=self.plan.freeze.pipeline_version,
            git_sha=self.plan.git_sha,
        ).write(self.out / STATE)

    def finish(self) -> TokensManifest:
        """manifest.json, the completed state, SHA256SUMS; then what only a run at work needs goes."""
        shards = tuple(unit.shard for unit in self.units)
        dropped: Counter[str] = Counter()
        for unit in self.units:
            dropped.update(unit.dropped)
        plan = self.plan
        manifest = TokensManifest(
            pipeline_version=plan.freeze.pipeline_version,
            git_sha=plan.git_sha,
            dataset=plan.dataset,
            version=plan.version,
            tokenizer=plan.stamp.tokenizer_name,
            **plan.stamp.model_dump(),
            dtype=plan.dtype,
            created_at=plan.started_at,
            total_tokens=sum(shard.num_tokens for shard in shards),
            total_documents=sum(shard.num_documents for shard in shards),
            num_shards=len(shards),
            shards=shards,
            source_info=SourceInfo(
                sources=plan.sources,
                batch_id=plan.batch_id,
                batch_sha256=plan.batch_sha256,
                text_field=plan.text_field,
                shard_tokens=plan.shard_tokens,
                freeze_sha256=plan.freeze.sha256,
                documents_read=self.units[-1].read,
                documents_dropped=dict(sorted(dropped.items())),
            ),
        )
        manifest.write(self.out / MANIFEST)
        self._commit_state(manifest)
        digest.write_sums(self.out, unhashed=(RUN, UNITS))
        for name in (UNITS, RUN):
            (self.out / name).unlink(missing_ok=True)
        storage.fsync_folder(self.out)
        return manifest


class _Shown:
    """Progress in megabytes of the sources, with documents and their rate beside. Records that are passed over do not count."""

    def __init__(self, report: Report | None, size: int, passed: int) -> None:
        self._report, self._size = report, size
        self._bytes = self._documents = 0
        self._passed = passed
        self._started = time.perf_counter()

    def read(self, count: int) -> None:
        self._bytes += count
        self._show()

    def documents(self, count: int) -> None:
        self._documents += count
        self._show()

    def _show(self) -> None:
        if self._report is not None:
            rate = self._documents / max(time.perf_counter() - self._started, 1e-9)
            words = f"{self._passed + self._documents:,} documents, {rate:,.0f} docs/s"
            self._report(self._bytes / 1e6, self._size / 1e6, words)
