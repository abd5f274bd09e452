"""`distill evidence score`: one ScoredRun for every evidence row, in the same place and order; and how each model did.

Nothing is done where neither the evidence nor the scorer has changed. Otherwise all of it is scored, because a new verdict may be
the parent of an old extraction; rows whose score stays the same keep their `scored_at`, so scoring again adds nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from pytest_distill import clock, storage
from pytest_distill.contracts.evidence import (
    CATEGORIES,
    Category,
    EvidenceRecord,
    ModelLedgerEntry,
    ScoredRun,
    StageState,
    Written,
)
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.evidence.score import SCORER_VERSION, Parent, Score, score_record
from pytest_distill.pipelines.evidence.store import Partition
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.progress import Report

STATE = "score.state.json"
LEDGER = "model-ledger.jsonl"
_DECIDED = CATEGORIES[:3]


class Scored(NamedTuple):
    """What became of scoring: evidence rows seen, scores that are new or changed, and what stands by category."""

    rows: int
    out: int
    categories: dict[Category, int]
    ledger_entries: int

    @property
    def deduped(self) -> int:
        return self.rows - self.out


def score(workspace: Workspace, *, report: Report | None = None) -> Scored:
    """Scores all evidence of the workspace. Raises E-SOURCE-NOTFOUND when there is none, E-MANIFEST for a row that is none."""
    evidence = store.evidence_folder(workspace)
    found = store.partitions(evidence)
    if not found:
        raise DistillError(Code.SOURCE, "there is no evidence to score", "`distill evidence build` makes it from streams.")
    with storage.locked(store.state_folder(workspace) / "score"):
        return _Scoring(workspace, found, report).run()


class _Scoring:
    def __init__(self, workspace: Workspace, found: list[Partition], report: Report | None) -> None:
        self.root, self.evidence, self.scored = workspace.root, store.evidence_folder(workspace), store.scored_folder(workspace)
        self.state = store.state_folder(workspace) / STATE
        self.partitions, self.report = found, report
        self.scored_at = clock.timestamp()
        self.parents: dict[str, Parent] = {}
        self.tallies: dict[tuple[str, str], list[int]] = {}
        self.categories: dict[Category, int] = {}
        self.rows = self.out = 0

    def run(self) -> Scored:
        key = storage.sha256_bytes(
            storage.canonical_json(
                [
                    SCORER_VERSION,
                    *([p.path.relative_to(self.root).as_posix(), storage.sha256_file(p.path)] for p in self.partitions),
                ]
            )
        )
        if (before := self._standing(key)) is not None:
            counts = before.counts
            categories = {name: counts[name] for name in CATEGORIES if counts.get(name)}
            return Scored(counts["rows"], 0, categories, counts["ledger_entries"])
        # Those with a verdict first: extractions are joined to them. Each pass reads one partition at a time.
        joined = {p for p in self.partitions if _is_joined(p.path)}
        order = [*(p for p in self.partitions if p not in joined), *(p for p in self.partitions if p in joined)]
        for done, partition in enumerate(order):
            if self.report:
                self.report(done, len(order), partition.source)
            self._score(partition)
        self._drop_orphans()
        entries = self._ledger()
        outputs = (*(self._target(p) for p in self.partitions), self.scored / LEDGER)
        StageState(
            stage="score",
            key=key,
            outputs=tuple(self._written(path) for path in outputs),
            counts={"rows": self.rows, "ledger_entries": entries, **self.categories},
        ).write(self.state)
        return Scored(
            self.rows, self.out, {name: self.categories[name] for name in CATEGORIES if name in self.categories}, entries
        )

    def _standing(self, key: str) -> StageState | None:
        """The state of the last run when everything is as it was then."""
        if not self.state.is_file():
            return None
        state = StageState.load(self.state)
        whole = state.key == key and all(
            store.holds(self.root / w.path, w) and (self.root / w.path).stat().st_size == w.bytes for w in state.outputs
        )
        return state if whole else None

    def _target(self, partition: Partition) -> Path:
        return self.scored / partition.path.relative_to(self.evidence)

    def _score(self, partition: Partition) -> None:
        target = self._target(partition)
        old = _old_scores(target)
        before = next(old, None)
        with store.Appending(target, fresh=True) as file:
            for record in store.records(partition.path):
                sig = record.provenance.sig_hash
                parent = self.parents.get(record.task_id) if record.scored_by == "join" else None
                found = score_record(record, parent)
                # Both files are in one order and rows are only added, so the old score of a row comes when it is its turn.
                same = before is not None and before.provenance.sig_hash == sig and _is(before, found)
                if not same:
                    self.out += 1
                run = ScoredRun(
                    evidence_run_id=record.run_id,
                    evidence_task_id=record.task_id,
                    category=found.category,
                    reasons=found.reasons,
                    sub_scores=found.sub_scores,
                    joined_run_id=found.joined_run_id,
                    scored_at=before.scored_at if same and before is not None else self.scored_at,
                    scorer_version=SCORER_VERSION,
                    provenance=record.provenance,
                )
                if before is not None and before.provenance.sig_hash == sig:
                    before = next(old, None)
                file.write(store.line(run))
                self._count(record, run)
        old.close()

    def _count(self, record: EvidenceRecord, run: ScoredRun) -> None:
        self.rows += 1
        self.categories[run.category] = self.categories.get(run.category, 0) + 1
        if run.category != "needs_human_review":
            if record.source_class == "verdict-bearing":
                known = self.parents.get(record.task_id)
                if known is None:
                    self.parents[record.task_id] = Parent(run.category, record.run_id)
                elif known.category != run.category:
                    self.parents[record.task_id] = Parent(None, known.run_id)
            if record.model_name and record.source_class != "extraction":
                tally = self.tallies.setdefault((record.model_name, record.task_type or record.source or "unknown"), [0, 0, 0])
                tally[_DECIDED.index(run.category)] += 1

    def _ledger(self) -> int:
        entries = [
            ModelLedgerEntry(
                model=model, task_type=task_type, success_rate=round(tally[0] / sum(tally), 6), sample_count=sum(tally),
                accepted=tally[0], partially_accepted=tally[1], rejected=tally[2],
            )
            for (model, task_type), tally in sorted(self.tallies.items())
        ]  # fmt: skip
        storage.write_bytes(self.scored / LEDGER, b"".join(map(store.line, entries)))
        return len(entries)

    def _drop_orphans(self) -> None:
        """Scores of evidence that is no longer there."""
        targets = {self._target(p) for p in self.partitions}
        for partition in store.partitions(self.scored):
            if partition.path not in targets:
                partition.path.unlink()

    def _written(self, path: Path) -> Written:
        with path.open("rb") as file:
            rows = sum(piece.count(b"\n") for piece in iter(lambda: file.read(storage.CHUNK), b""))
        return Written(
            path=path.relative_to(self.root).as_posix(), bytes=path.stat().st_size, rows=rows, sha256=storage.sha256_file(path)
        )


def _is(old: ScoredRun, found: Score) -> bool:
    """Whether an old score is what this scorer says of the same row."""
    return (
        old.scorer_version == SCORER_VERSION
        and (old.category, old.reasons, old.joined_run_id) == (found.category, found.reasons, found.joined_run_id)
        and old.sub_scores == found.sub_scores
    )


def _old_scores(path: Path) -> Generator[ScoredRun, None, None]:
    """The scores of the last run. They are derived: whatever cannot be read any more is scored again."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                yield ScoredRun.model_validate_json(line)
            except ValidationError:
                return


def _is_joined(path: Path) -> bool:
    return next((record.scored_by == "join" for record in store.records(path)), False)
