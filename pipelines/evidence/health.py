"""`distill evidence health`: does evidence trace back to its sources, what does each stream fill in, how much can be scored?

The provenance round trip takes sampled evidence rows back to the bytes they name: the line has to be there, and both digests of
it have to be the row's own. Nothing is taken from what the build remembered.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch.canonical import NoCanonicalFormError, canonical
from pytest_distill.batch.ingest.records import MAX_ROW_BYTES, Malformed
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.contracts.evidence import EvidenceRecord, Provenance, Skip
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.evidence.score import score_record
from pytest_distill.policy.workspace import Workspace

# What the coverage matrix shows of every stream: the share of rows that have it.
COVERED = (
    "model_name", "model_role", "task_type", "file", "instruction", "text", "success_markers", "failure_markers",
    "observer_verdict", "validation_results", "retrieved_context", "latency_ms", "cost", "prompt_tokens",
)  # fmt: skip


@dataclass
class StreamHealth:
    """One stream: its class, its rows, how many have each field, and how many the scorer can decide without a parent."""

    source: str
    source_class: str
    rows: int = 0
    skipped: int = 0
    scoreable: int = 0
    filled: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COVERED, 0))

    def coverage(self) -> dict[str, float]:
        return {name: round(count / self.rows, 4) for name, count in self.filled.items()} if self.rows else {}


@dataclass(frozen=True)
class Health:
    """`broken` are sampled rows that do not trace back, each as `file:line: what is wrong`."""

    streams: tuple[StreamHealth, ...]
    sampled: int
    broken: tuple[str, ...]

    @property
    def rows(self) -> int:
        return sum(stream.rows for stream in self.streams)

    @property
    def scoreable(self) -> int:
        return sum(stream.scoreable for stream in self.streams)


def health(workspace: Workspace, folder: Path, *, sample: int = 30, seed: int = 0) -> Health:
    """Reads all evidence once and traces `sample` rows back to `folder`, drawn over all streams, the same ones for one seed.

    Raises E-SOURCE-NOTFOUND without evidence, E-USAGE when nothing is to be sampled.
    """
    if sample < 1:
        raise DistillError(Code.USAGE, f"--sample {sample} traces nothing back", "Give a number from 1 on.")
    found = store.partitions(store.evidence_folder(workspace))
    if not found:
        raise DistillError(Code.SOURCE, "there is no evidence here", "`distill evidence build` makes it from streams.")
    drawn = random.Random(seed)  # noqa: S311 - which rows to look at, not a secret
    kept: list[tuple[str, Provenance]] = []
    streams: dict[str, StreamHealth] = {}
    seen = 0
    for partition in found:
        for number, record in enumerate(store.records(partition.path), start=1):
            stream = streams.setdefault(partition.source, StreamHealth(partition.source, record.source_class or "unknown"))
            _count(stream, record)
            seen += 1  # a reservoir: every row is as likely to be looked at as any other
            place = f"{partition.path.relative_to(workspace.root).as_posix()}:{number}"
            if len(kept) < sample:
                kept.append((place, record.provenance))
            elif (position := drawn.randrange(seen)) < sample:
                kept[position] = (place, record.provenance)
    for path in sorted((store.evidence_folder(workspace) / "skips").glob("*.jsonl")):
        stream = streams.setdefault(path.stem, StreamHealth(path.stem, "unknown"))
        stream.skipped = sum(1 for _ in store.rows(path, Skip))
    broken = [f"{place}: {problem}" for place, provenance in kept if (problem := trace(folder, provenance))]
    return Health(tuple(streams[name] for name in sorted(streams)), len(kept), tuple(broken))


def trace(folder: Path, provenance: Provenance) -> str | None:
    """What is wrong with the way back from a row to its source line; None when it holds."""
    path = folder / provenance.source_file
    if Path(provenance.source_file).is_absolute() or ".." in Path(provenance.source_file).parts or not path.is_file():
        return f"{provenance.source_file} is not there"
    with path.open("rb") as file:
        if provenance.line_offset:
            file.seek(provenance.line_offset - 1)
            if file.read(1) != b"\n":
                return f"no line of {provenance.source_file} begins at byte {provenance.line_offset}"
        line = file.readline(MAX_ROW_BYTES + 1).removesuffix(b"\n")
    if storage.sha256_bytes(line) != provenance.line_hash:
        return f"the line at byte {provenance.line_offset} of {provenance.source_file} has other bytes"
    try:
        sig = storage.sha256_bytes(canonical(parse_object(line)))
    except (Malformed, NoCanonicalFormError) as error:
        return f"the line at byte {provenance.line_offset} of {provenance.source_file} is no row: {error}"
    return None if sig == provenance.sig_hash else "its sig_hash is not that of its line"


def _count(stream: StreamHealth, record: EvidenceRecord) -> None:
    stream.rows += 1
    for name in COVERED:
        value = getattr(record, name)
        if value is not None and value != () and value != "":
            stream.filled[name] += 1
    if score_record(record).category != "needs_human_review":
        stream.scoreable += 1
