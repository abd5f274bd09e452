"""`export-preference`: two answers to one task, of which one went well and the other did not.

Within a task an accepted answer is set against rejected ones, and against partially accepted ones where none was rejected. Across
streams, an accepted answer about a file is set against a rejected one about the same file by the same role. No task is in more
than five pairs, and none is made up to reach that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple

import orjson
import polars as pl
from pydantic import ValidationError

from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.evidence import EvidenceRecord, sample_id
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.pipelines.exporters import firewall, source
from pytest_distill.pipelines.exporters.export import MAX_PAIRS_PER_TASK, Export, Exported, Options, stood
from pytest_distill.pipelines.exporters.firewall import Refusal
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests
from pytest_distill.stages.progress import Report

_TRIED = 4 * MAX_PAIRS_PER_TASK  # combinations looked at for one task or file: so many bad ones, and it is left alone
_SIDES = ("accepted", "partially_accepted", "rejected")
_SCHEMA = {
    "task": pl.String, "file": pl.String, "role": pl.String, "source": pl.String, "run": pl.String, "side": pl.String,
    "pair": pl.Int32, "line": pl.Int64, "offset": pl.Int64, "size": pl.Int64, "scored": pl.Int64,
}  # fmt: skip


class Side(NamedTuple):
    """One answer: where its evidence row and its score stand, and what it may be paired by."""

    task: str
    file: str | None
    role: str
    source: str
    run: str
    side: str
    pair: int
    line: int
    offset: int
    size: int
    scored: int


def export_preference(
    workspace: Workspace, options: Options | None = None, *, digests: Digests | None = None, report: Report | None = None
) -> Exported:
    """Pairs of all scored evidence. Raises E-SOURCE-NOTFOUND without scores, E-STALE where they are not of this evidence."""
    options = options or Options()
    found = source.pairs(workspace)
    export = Export(workspace, "export-preference", options, found, digests)
    if not options.dry_run and (batch := export.standing()) is not None:
        return stood("export-preference", batch)
    sides = _sides(found, report)
    with export:
        return _Pairing(export, found).run(sides)


class _Pairing:
    """Sets answers against each other, and counts how often each task was used."""

    def __init__(self, export: Export, found: Sequence[source.Pair]) -> None:
        self.export, self.found = export, found
        self.used: Counter[str] = Counter()
        self.considered = 0

    def run(self, sides: pl.DataFrame) -> Exported:
        # A sample's position is that of its chosen side, so pairs are written partition by partition.
        planned: list[tuple[Side, Side, str]] = []
        for group in _groups(sides, "task"):
            planned += self._within(group)
        for group in _groups(sides.drop_nulls("file"), "file"):
            planned += self._across(group)
        planned.sort(key=lambda each: (each[0].pair, each[0].line, each[1].pair, each[1].line))
        for number, pair in enumerate(self.found):
            self.export.begin(pair)
            for chosen, rejected, reason in planned:
                if chosen.pair == number:
                    self.considered += 1
                    self._take(chosen, rejected, reason)
            self.export.end(pair)
        return self.export.finish(self.considered)

    def _within(self, group: list[Side]) -> Iterator[tuple[Side, Side, str]]:
        accepted = [side for side in group if side.side == "accepted"]
        worse = [side for side in group if side.side == "rejected"] or [s for s in group if s.side == "partially_accepted"]
        yield from self._chosen(accepted, worse, "the same task")

    def _across(self, group: list[Side]) -> Iterator[tuple[Side, Side, str]]:
        accepted = [side for side in group if side.side == "accepted"]
        rejected = [side for side in group if side.side == "rejected"]
        yield from self._chosen(accepted, rejected, "the same file, reviewed in two streams", across=True)

    def _chosen(
        self, accepted: list[Side], worse: list[Side], by: str, *, across: bool = False
    ) -> Iterator[tuple[Side, Side, str]]:
        taken = 0
        for a, b in islice(_diagonal(accepted, worse), _TRIED):
            if across and (a.source == b.source or a.role != b.role or a.task == b.task):
                continue
            tasks = {a.task, b.task}
            if taken == MAX_PAIRS_PER_TASK or any(self.used[task] >= MAX_PAIRS_PER_TASK for task in tasks):
                continue
            self.used.update(tasks)
            taken += 1
            yield a, b, f"{a.side} against {b.side}: {by}"

    def _take(self, chosen: Side, rejected: Side, reason: str) -> None:
        good, bad = self._row(chosen), self._row(rejected)
        if chosen.run == rejected.run:
            self.export.refuse(good, Refusal(Reason.SELF_PAIRING, "chosen and rejected come from one run"), bad)
            return
        try:
            a, b = good.record(), bad.record()
        except ValidationError as error:
            self.export.refuse(good, Refusal(Reason.SCHEMA_VIOLATION, first_problem(error)), bad)
            return
        refusal = self._refusal(a, b, good, bad)
        if refusal is not None:
            self.export.refuse(good, refusal, bad)
            return
        self.export.keep(good, _sample(a, b, reason) | {"created_at": self.export.created_at})

    def _refusal(self, a: EvidenceRecord, b: EvidenceRecord, good: source.Row, bad: source.Row) -> Refusal | None:
        """Both sides through the firewall. The rejected side may be wrong about files: that is what it was rejected for."""
        for row in (good, bad):
            if refusal := firewall.of_source(row.scored):
                return refusal
        if good.scored.get("category") != "accepted" or bad.scored.get("category") not in ("rejected", "partially_accepted"):
            return Refusal(Reason.INVALID_PREFERENCE_PAIRING, "the chosen side is not the better one")
        if not (b.text or "").strip():
            return Refusal(Reason.EMPTY_CONTENT, "the rejected side has no text")
        if refusal := firewall.of_text(a, self.export.options.known_files):
            return refusal
        if not (a.instruction or "").strip():
            return Refusal(Reason.INVALID_PREFERENCE_PAIRING, "the chosen side has no instruction to be a prompt")
        if (a.text or "").split() == (b.text or "").split():
            return Refusal(Reason.INVALID_PREFERENCE_PAIRING, "chosen and rejected are the same text")
        return None

    def _row(self, side: Side) -> source.Row:
        pair = self.found[side.pair]
        with pair.scored.open("rb") as scored:
            scored.seek(side.scored)
            score = orjson.loads(scored.readline())
        with pair.evidence.open("rb") as evidence:
            evidence.seek(side.offset)
            return source.Row(score, evidence.read(side.size), side.line, side.offset)


def _sample(a: EvidenceRecord, b: EvidenceRecord, reason: str) -> dict[str, Any]:
    return {
        "id": sample_id(a.run_id, a.provenance.sig_hash, b.run_id, b.provenance.sig_hash),
        "prompt": a.instruction,
        "chosen": a.text,
        "rejected": b.text,
        "reason": reason,
        "task_id": a.task_id,
        "rejected_task_id": b.task_id,
        "chosen_run_id": a.run_id,
        "rejected_run_id": b.run_id,
        "provenance": a.provenance,
        "rejected_provenance": b.provenance,
    }


def _sides(found: Sequence[source.Pair], report: Report | None) -> pl.DataFrame:
    """Every answer that a pair could be made of, one partition in Python objects at a time."""
    frames = [pl.DataFrame(schema=_SCHEMA)]
    for number, pair in enumerate(found):
        if report is not None:
            report(number, len(found), pair.source)
        sides: list[tuple[Any, ...]] = []
        place = 0
        for row in source.rows(pair):
            at, place = place, place + row.scored_size
            if row.scored.get("category") not in _SIDES:
                continue
            values = orjson.loads(row.evidence)
            if firewall.gives_answers(values):
                sides.append(
                    (
                        values["task_id"], values.get("file"), values["model_role"], pair.source, values["run_id"],
                        row.scored["category"], number, row.line, row.offset, len(row.evidence), at,
                    )
                )  # fmt: skip
        frames.append(pl.DataFrame(sides, schema=_SCHEMA, orient="row"))
    return pl.concat(frames)


def _groups(sides: pl.DataFrame, by: str) -> Iterator[list[Side]]:
    """The answers that share a task or a file, of groups that have an accepted one and another; in order of name, then of run."""
    accepted = (pl.col("side") == "accepted").any().over(by)
    other = (pl.col("side") != "accepted").any().over(by)
    wanted = sides.filter(accepted & other).sort(by, "run", "pair", "line")
    group: list[Side] = []
    for values in wanted.iter_rows():
        side = Side(*values)
        if group and getattr(group[-1], by) != getattr(side, by):
            yield group
            group = []
        group.append(side)
    if group:
        yield group


def _diagonal(a: Sequence[Side], b: Sequence[Side]) -> Iterator[tuple[Side, Side]]:
    """All pairs, those of early ones first, so that the first few have many different sides."""
    for total in range(len(a) + len(b) - 1):
        for i in range(max(0, total - len(b) + 1), min(total, len(a) - 1) + 1):
            yield a[i], b[total - i]
