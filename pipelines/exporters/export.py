"""What the three exporters share: writing a batch, accounting for every record, and reading the batch again.

An exporter's batch holds the samples as rows and, as candidates, what became of every record it looked at: kept, or one of the
eleven reasons with the record's own words. Its id comes from what it was made of, so the same evidence gives the same batch, and
exporting twice adds nothing. It leaves like any other batch: once the gates have sealed it.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import orjson
from pydantic import ValidationError

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.rows import json_lines
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.base import Contract, first_problem
from pytest_distill.contracts.evidence import Exporter, PreferenceSample, QuarantineEntry, RagSample, SftSample
from pytest_distill.contracts.manifest import How, Kind
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence.score import SCORER_VERSION
from pytest_distill.pipelines.exporters import source
from pytest_distill.pipelines.exporters.firewall import Refusal
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import TIMELESS, Digests

EXPORTER_VERSION = "1.0.0"  # a constant of the code, raised whenever a sample comes out otherwise
MAX_PAIRS_PER_TASK = 5
KEPT = "kept"
_TIMES = ("created_at", "recorded_at")

Sample = RagSample | SftSample | PreferenceSample
MODELS: dict[Exporter, type[Sample]] = {
    "export-rag": RagSample,
    "export-sft": SftSample,
    "export-preference": PreferenceSample,
}
KINDS: dict[Exporter, Kind] = {"export-rag": "rag", "export-sft": "sft", "export-preference": "preference"}


@dataclass(frozen=True)
class Options:
    """`include_partial` is of export-sft, `include_review` of export-rag. `dry_run` looks at everything and writes nothing."""

    include_partial: bool = False
    include_review: bool = False
    dry_run: bool = False
    known_files: frozenset[str] = frozenset()
    batch_id: str | None = None

    def optional(self, exporter: Exporter) -> bool:
        return self.include_review if exporter == "export-rag" else self.include_partial


@dataclass(frozen=True)
class Exported:
    """What became of an export. `batch` is None for a dry run or without samples; `added` is 0 where it stood already."""

    exporter: Exporter
    considered: int
    samples: int
    reasons: dict[str, int] = field(default_factory=dict)
    batch: Batch | None = None
    added: int = 0

    @property
    def quarantined(self) -> int:
        return sum(self.reasons.values())


class Export:
    """One export at work: samples are kept, records turned away, and every one of both is counted."""

    def __init__(
        self, workspace: Workspace, exporter: Exporter, options: Options, pairs: Sequence[source.Pair], digests: Digests | None
    ) -> None:
        self.workspace, self.exporter, self.options, self.pairs = workspace, exporter, options, tuple(pairs)
        self.created_at = clock.timestamp()
        self.samples = 0
        self.reasons: Counter[str] = Counter()
        self.digests = digests or Digests(workspace.root)
        self.key = self._key()
        self.id = options.batch_id or f"{KINDS[exporter]}-{self.key[:12]}"
        self._ids: set[bytes] = set()
        self._timeless = hashlib.sha256()
        self._writer: BatchWriter | None = None

    def _key(self) -> str:
        """The digest of what the batch is made of: evidence and scores without their times, the options, the versions."""
        read = []
        for pair in self.pairs:
            files = self.digests.file(pair.evidence), self.digests.file(pair.scored)
            read.append([pair.source, *(file.timeless_sha256 or file.sha256 for file in files)])
        options = [self.options.optional(self.exporter), sorted(self.options.known_files)]
        return storage.sha256_bytes(storage.canonical_json([self.exporter, EXPORTER_VERSION, SCORER_VERSION, options, read]))

    def standing(self) -> Batch | None:
        """The batch of an earlier export of the same, opened and checked; None where there is none.

        Raises E-BATCH-EXISTS when the id that was asked for is that of another batch.
        """
        folder = self.workspace.batch_folder(self.id)
        if not folder.exists():
            return None
        batch = open_batch(folder)
        if batch.manifest.how.parameters.get("key") != self.key:
            raise DistillError(
                Code.BATCH_EXISTS, f"the batch {self.id} was made of something else", "Batches are never edited; take another id."
            )
        return batch

    def __enter__(self) -> Self:
        if not self.options.dry_run:
            parameters: dict[str, str | int | float | bool | None] = {
                "exporter_version": EXPORTER_VERSION,
                "scorer_version": SCORER_VERSION,
                "include_partial": self.options.include_partial and self.exporter == "export-sft",
                "include_review": self.options.include_review and self.exporter == "export-rag",
                "key": self.key,
            }
            self._writer = BatchWriter(
                self.workspace.batch_folder(self.id),
                id=self.id,
                kind=KINDS[self.exporter],
                origin="derived",
                what=f"{KINDS[self.exporter]} samples of scored evidence",
                why="distillation from what agents did and how it went",
                how=How(pipeline=self.exporter, parameters=parameters),
            ).__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.__exit__(kind, error, trace)

    def begin(self, pair: source.Pair) -> None:
        """The samples that follow are of this partition."""
        if self._writer is not None:
            self._writer.begin_source(pair.evidence.relative_to(self.workspace.root).as_posix().replace("/", "-"))

    def end(self, pair: source.Pair) -> None:
        if self._writer is not None:
            self._writer.end_source(sha256=self.digests.file(pair.evidence).sha256, size=pair.evidence.stat().st_size)

    def keep(self, row: source.Row, values: dict[str, Any]) -> bool:
        """Makes the sample and keeps it; what the sample's model refuses, or an id that is taken, is turned away."""
        try:
            sample = MODELS[self.exporter](**values)
        except ValidationError as error:
            return self.refuse(row, Refusal(Reason.SCHEMA_VIOLATION, first_problem(error)))
        key = bytes.fromhex(sample.id)
        if key in self._ids:
            return self.refuse(row, Refusal(Reason.DUPLICATE_ID, f"there is a sample {sample.id[:12]} already"))
        self._ids.add(key)
        self.samples += 1
        written = sample.model_dump(mode="json")
        self._timeless.update(orjson.dumps(_without_times(written), option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_SORT_KEYS))
        if self._writer is not None:
            self._writer.add(written, line=row.line, offset=row.offset, size=len(row.evidence))
            self._writer.add_candidate(_candidate(self.exporter, KEPT, row.scored) | {"sample": sample.id})
        return True

    def refuse(self, row: source.Row, refusal: Refusal, other: source.Row | None = None) -> bool:
        """Turns a record away. Its entry is checked against its own contract before it is written. Returns False."""
        record = {name: row.scored.get(name) for name in ("evidence_run_id", "evidence_task_id", "category")}
        if other is not None:
            record["rejected_run_id"] = other.scored.get("evidence_run_id")
        provenance = row.scored.get("provenance")
        entry = QuarantineEntry(
            exporter=self.exporter,
            reason=refusal.reason,
            source_record=record,
            errors=(refusal.message,),
            provenance=provenance if refusal.reason is not Reason.MISSING_PROVENANCE else None,
        )
        self.reasons[refusal.reason.value] += 1
        if self._writer is not None:
            values = entry.model_dump(mode="json")
            self._writer.add_candidate(
                _candidate(self.exporter, refusal.reason.value, row.scored)
                | {"source_record": values["source_record"], "errors": values["errors"], "provenance": values["provenance"]}
            )
        return False

    def finish(self, considered: int) -> Exported:
        """Writes the batch, reads all of it again, and tells the ledger. Raises E-BATCH-CORRUPT when it is not what was made."""
        found = dict(sorted(self.reasons.items()))
        if self._writer is None or not self.samples:
            return Exported(self.exporter, considered, self.samples, found)
        digest = {"schema_version": 1, "rows": self.samples, "sha256": self._timeless.hexdigest()}
        self._writer.attach(TIMELESS, storage.canonical_json(digest))
        batch = self._writer.finish()
        read_again(batch, self.exporter, samples=self.samples, considered=considered)
        ledger.append(
            self.workspace.ledger, "exported-evidence", batch=batch.id, how=self.exporter, sha256=batch.sha256, kept=self.samples,
            quarantined=sum(found.values()),
        )  # fmt: skip
        return Exported(self.exporter, considered, self.samples, found, batch, added=self.samples)


def stood(exporter: Exporter, batch: Batch) -> Exported:
    """What an earlier export left, counted from the batch itself."""
    status = batch.candidates()["status"].value_counts()
    counts = dict(zip(status["status"].to_list(), status["count"].to_list(), strict=True))
    kept = counts.pop(KEPT, 0)
    return Exported(exporter, kept + sum(counts.values()), batch.rows, dict(sorted(counts.items())), batch)


def read_again(batch: Batch, exporter: Exporter, *, samples: int, considered: int) -> None:
    """Every sample of a batch through its model, and what no model sees: unique ids, few pairs a task, all records accounted for.

    Raises E-BATCH-CORRUPT with the first thing that is wrong; the batch then has no seal to leave with.
    """
    model, ids, tasks = MODELS[exporter], set[str](), Counter[str]()
    partial = bool(batch.manifest.how.parameters.get("include_partial"))
    review = bool(batch.manifest.how.parameters.get("include_review"))
    for shard in batch.manifest.shards:
        for line in json_lines(batch.read_shard(shard, batch.column_names), batch.manifest.columns):
            try:
                sample: Contract = model.model_validate_json(line)
            except ValidationError as error:
                raise _wrong(batch, first_problem(error)) from error
            assert isinstance(sample, RagSample | SftSample | PreferenceSample)
            if sample.id in ids:
                raise _wrong(batch, f"the id {sample.id} is there twice")
            ids.add(sample.id)
            if isinstance(sample, SftSample) and sample.quality_score != "accepted" and not partial:
                raise _wrong(batch, f"{sample.id} is {sample.quality_score}")
            if isinstance(sample, RagSample) and sample.source_category == "needs_human_review" and not review:
                raise _wrong(batch, f"{sample.id} needs a human")
            if isinstance(sample, PreferenceSample):
                tasks.update({sample.task_id, sample.rejected_task_id})
    if tasks and max(tasks.values()) > MAX_PAIRS_PER_TASK:
        raise _wrong(batch, f"a task has {max(tasks.values())} pairs")
    accounted = sum(shard.rows for shard in batch.manifest.candidates)
    if (len(ids), accounted) != (samples, considered):
        raise _wrong(batch, f"{len(ids)} samples and {accounted} records are there, {samples} and {considered} were written")


def _candidate(exporter: Exporter, status: str, scored: dict[str, Any]) -> dict[str, Any]:
    return {
        "exporter": exporter,
        "status": status,
        "evidence_run_id": scored.get("evidence_run_id"),
        "category": scored.get("category"),
    }


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_times(each) for name, each in value.items() if name not in _TIMES}
    return value


def _wrong(batch: Batch, problem: str) -> DistillError:
    return DistillError(
        Code.BATCH_CORRUPT,
        f"{batch.id} is not what was exported: {problem}",
        "This is a defect of ours, or of the disk; report it.",
    )
