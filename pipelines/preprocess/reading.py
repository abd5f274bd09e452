"""From sources to units: records in order, cut by the records alone, and the place from which a resumed run goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from pytest_distill.batch.ingest.records import Record
from pytest_distill.contracts.preprocess import Cursor, RngState, SourceRead
from pytest_distill.pipelines.preprocess.clean import Task, record_digest
from pytest_distill.pipelines.preprocess.config import Config
from pytest_distill.pipelines.preprocess.resume import Generators, Stage
from pytest_distill.pipelines.preprocess.sources import Source

UNIT_BYTES = 16 << 20


class Piece(NamedTuple):
    """One unit's records, the sources that ended among them, and where the run stands once they are done.

    `source_records_sha256` is over the digests of all records of the last one's source up to here.
    """

    task: Task
    ended: tuple[SourceRead, ...]
    first: int
    source: int
    cursor: Cursor
    rng: RngState
    source_records_sha256: str
    last_record_digest: str | None


class Reader:
    """Reads what a stage has not done yet."""

    def __init__(
        self,
        sources: Sequence[Source],
        stage: Stage,
        generators: Generators,
        config: Config,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._sources, self._stage, self._generators, self._config = sources, stage, generators, config
        self._progress = progress
        units = stage.units()
        self._first = sum(unit.docs for unit in units)
        self._source = units[-1].source if units else 0
        self._source_docs = units[-1].source_docs if units else 0
        self._running = hashlib.sha256()  # of the source at hand: the digests of its records so far
        self._last = units[-1].last_record_digest if units else None
        self._records: list[Record] = []
        self._from: list[int] = []
        self._size = 0
        self._ended: list[SourceRead] = []

    def pieces(self) -> Iterator[Piece]:
        """In order. Raises E-RESUME-CURSOR-MISMATCH when what was read before is not what the source holds now."""
        self._agree()
        read = self._stage.read()
        for number, source in enumerate(self._sources):
            if number in read:
                continue
            with source.open(self._progress) as reading:
                records = iter(reading.records)
                if number == self._source and self._source_docs:
                    self._skip(records, source.name)
                else:
                    self._source, self._source_docs, self._running = number, 0, hashlib.sha256()
                for record in records:
                    self._take(record)
                    if len(self._records) == self._config.unit_rows or self._size >= UNIT_BYTES:
                        yield self._piece()
                self._ended.append(
                    SourceRead(
                        source=number,
                        name=source.name,
                        sha256=reading.sha256(),
                        bytes=reading.size(),
                        docs=self._source_docs,
                    )
                )
        if self._records or self._ended:
            yield self._piece()

    def _agree(self) -> None:
        """The state and the last line of the index say the same."""
        state, units = self._stage.state, self._stage.units()
        if state is None:
            return
        expected = units[-1].source_docs if units else 0
        if state.cursor.local_doc_count != expected or state.last_record_digest != self._last:
            raise self._stage.mismatch("the cursor is not where the last stored unit ends")
        if units and state.cursor.source != self._sources[self._source].name:
            raise self._stage.mismatch(f"the cursor is in {state.cursor.source}")

    def _skip(self, records: Iterator[Record], name: str) -> None:
        """Goes past the records that are done, and checks that they are the ones that were read."""
        digest = b""
        for number in range(self._source_docs):
            record = next(records, None)
            if record is None:
                raise self._stage.mismatch(f"{name} has {number:,} records, and {self._source_docs:,} were read from it")
            digest = record_digest(record)
            self._running.update(digest)
        if f"sha256:{digest.hex()}" != self._last:
            raise self._stage.mismatch(f"record {self._source_docs:,} of {name} is not the one that was read last")
        if self._running.hexdigest() != self._stage.units()[-1].source_records_sha256:
            raise self._stage.mismatch(f"{name} has other records before record {self._source_docs:,} than were read")

    def _take(self, record: Record) -> None:
        digest = record_digest(record)
        self._running.update(digest)
        self._last = f"sha256:{digest.hex()}"
        self._source_docs += 1
        self._records.append(record)
        self._from.append(self._source)
        self._size += len(record.raw) or 256

    def _piece(self) -> Piece:
        share = self._config.diagnostics.perplexity.sample
        task = Task(
            records=tuple(self._records),
            sources=tuple(self._from),
            names={number: self._sources[number].name for number in set(self._from)},
            sampled=tuple(self._generators.python.random() < share for _ in self._records),
        )
        source = self._sources[self._source]
        piece = Piece(
            task=task,
            ended=tuple(self._ended),
            first=self._first,
            source=self._source,
            cursor=Cursor(source=source.name, shard_dir=source.folder, local_doc_count=self._source_docs),
            rng=self._generators.state(),
            source_records_sha256=self._running.hexdigest(),
            last_record_digest=self._last if self._source_docs else None,
        )
        self._first += len(self._records)
        self._records, self._from, self._ended, self._size = [], [], [], 0
        return piece
