"""The last stage: from stored units and decisions to a batch, with every drop in its quarantine and a summary of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pytest_distill import ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest.strict_json import parse_object
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS, How, ModelUse
from pytest_distill.contracts.preprocess import (
    DiagnosticFigures,
    Freeze,
    PreprocessRun,
    PreprocessSummary,
    SourceRead,
    StoredUnit,
)
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.preprocess.clean import FIGURES
from pytest_distill.pipelines.preprocess.config import PIPELINE, REASONS, Config
from pytest_distill.pipelines.preprocess.corpus import batched, read_unit
from pytest_distill.pipelines.preprocess.diagnostics import COLUMN
from pytest_distill.policy.workspace import Workspace

SUMMARY = "preprocess.json"
EVENT = "derived"
# Which stage says what of a record, for its quarantine entry.
BY_READ, BY_CLEAN, BY_DUPLICATES, BY_PERPLEXITY = (
    f"{PIPELINE}.{name}" for name in ("read", "clean", "deduplicate", "perplexity")
)
_CLEANING = {reason.value for reason in (Reason.BLANK, Reason.LENGTH, Reason.LANGUAGE, *REASONS.values())}
_PERCENTILE = 95


class Decisions:
    """What the second and third stage said of each record of the run, read back from their files."""

    def __init__(self, folder: Path, duplicates: StoredUnit, surprises: StoredUnit) -> None:
        table = read_unit(folder, duplicates)
        self.of, self.exact, self.jaccard = (table.column(name).to_numpy() for name in ("of", "exact", "jaccard"))
        table = read_unit(folder, surprises)
        self.perplexity, self.score = (table.column(name).to_numpy() for name in ("perplexity", "score"))


class Writing:
    """Collects the rows' figures while the batch is written."""

    def __init__(
        self, folder: Path, units: Sequence[StoredUnit], decisions: Decisions, config: Config, names: Sequence[str]
    ) -> None:
        self._folder, self._units, self._decisions, self._config, self._names = folder, units, decisions, config, names
        self.dropped: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self.figures: dict[str, list[float]] = {name: [] for name in REASONS}
        self._places = _places(folder, units)

    def rows(self, writer: BatchWriter, read: dict[int, SourceRead], stop: Callable[[], None]) -> None:
        """Every record into the writer: kept with its diagnostics, or rejected with its reason."""
        source = -1
        for record in self._records(stop):
            while source < record["source"]:
                source = self._next(writer, read, source)
            self._take(writer, record)
        while source < len(self._names) - 1:
            source = self._next(writer, read, source)
        if source >= 0:
            self._end(writer, read[source])

    def _next(self, writer: BatchWriter, read: dict[int, SourceRead], source: int) -> int:
        if source >= 0:
            self._end(writer, read[source])
        writer.begin_source(self._names[source + 1])
        return source + 1

    def _end(self, writer: BatchWriter, read: SourceRead) -> None:
        ended = writer.end_source(sha256=read.sha256, size=read.bytes)
        if ended.rows_read != read.docs:
            what = f"{read.name}: {read.docs:,} records were read, and {ended.rows_read:,} are accounted for"
            raise DistillError(Code.RESUME, what, "The stored units are not of this source; start over.")

    def _records(self, stop: Callable[[], None]) -> Iterator[dict[str, Any]]:
        for unit in self._units:
            stop()
            for at, record in enumerate(batched(read_unit(self._folder, unit)), start=unit.first):
                yield record | {"doc": at}

    def _take(self, writer: BatchWriter, record: dict[str, Any]) -> None:
        doc, reason, message = record["doc"], record["reason"], record["message"]
        if reason is not None:
            by = BY_CLEAN if reason in _CLEANING else BY_READ
        else:
            by, reason, message = self._later(doc)
        name = self._names[record["source"]]
        if reason is not None:
            self.dropped[reason] += 1
            original = record["original"]
            writer.reject(
                by=by,
                reason=reason,
                line=record["line"],
                offset=record["offset"],
                message=message,
                original=original or b"",
                sha256=None if original is not None else record["original_sha256"],
                row_id=record["id"],
            )
            return
        row = parse_object(record["row"].encode())
        if row.get("id") is None:
            row["id"] = f"{name}:{record['line']}"
        self.languages[record["language"] or "undetermined"] += 1
        figures = {figure: record[figure] for figure in FIGURES} | {"perplexity": float(self._decisions.score[doc])}
        for figure, value in figures.items():
            if value is not None:
                self.figures[figure].append(value)
        row |= {COLUMN.format(figure): value for figure, value in figures.items() if figure != "perplexity" and value is not None}
        row[COLUMN.format("perplexity")] = float(self._decisions.perplexity[doc])
        row[COLUMN.format("perplexity_z")] = figures["perplexity"]
        writer.add(row, line=record["line"], offset=record["offset"], size=len(record["row"]))

    def _later(self, doc: int) -> tuple[str, str | None, str]:
        """The reason of the second or third stage to drop a record, or None."""
        of, table = int(self._decisions.of[doc]), self._config.diagnostics.perplexity
        if of >= 0:
            source, line = self._places[of]
            place = f"{self._names[source]}:{line}"
            if self._decisions.exact[doc]:
                return BY_DUPLICATES, Reason.DUPLICATE_EXACT.value, f"same as {place}"
            return BY_DUPLICATES, Reason.DUPLICATE_NEAR.value, f"like {place}, Jaccard {self._decisions.jaccard[doc]:.2f}"
        score = float(self._decisions.score[doc])
        if table.promote and score > table.max:
            return BY_PERPLEXITY, Reason.PERPLEXITY.value, f"perplexity z {score:.1f} is over {table.max:g}"
        return "", None, ""


def _places(folder: Path, units: Sequence[StoredUnit]) -> np.ndarray:
    """(records, 2): the source and line of each record of the run."""
    found = np.empty((sum(unit.docs for unit in units), 2), np.int64)
    for unit in units:
        table = read_unit(folder, unit, ["source", "line"])
        found[unit.first : unit.first + unit.docs, 0] = table.column("source").to_numpy()
        found[unit.first : unit.first + unit.docs, 1] = table.column("line").to_numpy()
    return found


def summarise(writing: Writing, writer: BatchWriter, freeze: Freeze, config: Config) -> PreprocessSummary:
    read = writer.rows + writer.rejected
    diagnostics = {}
    for name, values in writing.figures.items():
        table, column = getattr(config.diagnostics, name), np.array(values)
        known: dict[str, float | None] = {"mean": None, "median": None, "p95": None, "max": None}
        if len(column):
            measured = (column.mean(), np.median(column), np.percentile(column, _PERCENTILE), column.max())
            known = {key: round(float(value), 6) for key, value in zip(known, measured, strict=True)}
        diagnostics[name] = DiagnosticFigures(
            bound=table.max, promoted=table.promote, rows=len(column), over=int((column > table.max).sum()), **known
        )
    return PreprocessSummary(
        freeze=freeze,
        read=read,
        kept=writer.rows,
        dropped=dict(sorted(writing.dropped.items())),
        retention=writer.rows / read if read else 0.0,
        languages=dict(sorted(writing.languages.items())),
        diagnostics=diagnostics,
    )


def write_batch(
    workspace: Workspace,
    run: PreprocessRun,
    config: Config,
    writing: Writing,
    read: dict[int, SourceRead],
    parents: tuple[str, ...],
    models: tuple[ModelUse, ...],
    stop: Callable[[], None],
) -> Batch:
    """Writes the batch, or opens the one that a killed run had finished. Raises E-SOURCE-NOTFOUND when nothing is kept."""
    folder = workspace.batch_folder(run.id)
    if folder.exists():
        batch = open_batch(folder)
        found = [(source.name, source.sha256, source.rows_read) for source in batch.manifest.sources]
        expected = [(source.name, source.sha256, source.docs) for _, source in sorted(read.items())]
        same = (batch.manifest.freeze_sha256, batch.manifest.how.pipeline) == (run.freeze.sha256, PIPELINE)
        if not same or found != expected:
            raise DistillError(
                Code.BATCH_EXISTS, f"there is another batch {run.id}", "Batches are never edited; take another id."
            )
        return batch
    storage.remove_leftovers(folder)
    parameters = {name: ", ".join(value) if isinstance(value, tuple) else value for name, value in run.freeze.thresholds.items()}
    with BatchWriter(
        folder,
        command=run.command,
        id=run.id,
        kind=run.kind,
        origin="derived",
        what=run.what,
        why=run.why,
        how=How(pipeline=PIPELINE, models=models, parameters=parameters),
        bulk_kind="labelling",  # these models tell a language or a score; they make no row
        spec_version=run.freeze.pipeline_version,
        seed=config.seed,
        parents=parents,
        freeze_sha256=run.freeze.sha256,
        mapping=config.mapping,
    ) as writer:
        writing.rows(writer, read, stop)
        if not writer.rows:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in writing.dropped.most_common())
            raise DistillError(
                Code.SOURCE,
                f"none of {writer.rejected:,} records could be kept: {reasons}",
                f"{_look(writing, config)} Nothing was written.",
            )
        writer.attach(SUMMARY, summarise(writing, writer, run.freeze, config).to_bytes())
        return writer.finish()


def _look(writing: Writing, config: Config) -> str:
    """Where to look when no record was kept."""
    if Reason.MISSING_FIELD.value not in writing.dropped:
        return "Look at the bounds."
    needed = " and ".join(REQUIRED_COLUMNS[config.kind])
    other = " Or is it --kind sft?" if config.kind == "text" else ""
    return f"Rows of kind {config.kind} need {needed}: --map {REQUIRED_COLUMNS[config.kind][0]}=YOURS.{other}"


def record(workspace: Workspace, batch: Batch) -> None:
    """The ledger's line about the batch; once, however often the run was killed."""
    counts = batch.manifest.counts
    ledger.append_once(
        workspace.ledger,
        EVENT,
        batch=batch.id,
        what=batch.manifest.what,
        why=batch.manifest.why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=PIPELINE,
        sha256=batch.sha256,
        read=counts.read,
        kept=counts.kept,
        quarantined=counts.quarantined,
        freeze_sha256=batch.manifest.freeze_sha256,
    )
