"""What every exporter reads: evidence and its scores, row beside row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from pytest_distill.contracts.evidence import EvidenceRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import store
from pytest_distill.pipelines.evidence.score import SCORER_VERSION
from pytest_distill.policy.workspace import Workspace


class Pair(NamedTuple):
    """A partition of evidence and the one of its scores."""

    source: str
    evidence: Path
    scored: Path


class Row(NamedTuple):
    """One evidence row with its score: both as they stand in their files, and where the evidence row stands."""

    scored: dict[str, Any]
    evidence: bytes
    line: int
    offset: int
    scored_size: int = 0  # bytes of the score's line

    def record(self) -> EvidenceRecord:
        """Raises ValidationError where the evidence row is none."""
        return EvidenceRecord.model_validate_json(self.evidence)


def pairs(workspace: Workspace) -> list[Pair]:
    """Raises E-SOURCE-NOTFOUND without scores, E-STALE where evidence has none."""
    folder, scored = store.evidence_folder(workspace), store.scored_folder(workspace)
    found = store.partitions(folder)
    if not found or not store.partitions(scored):
        raise DistillError(Code.SOURCE, "there are no scored runs", "`distill evidence build`, then `distill evidence score`.")
    made = []
    for partition in found:
        target = scored / partition.path.relative_to(folder)
        if not target.is_file():
            raise _stale(f"{partition.path.relative_to(workspace.root)} has no scores")
        made.append(Pair(partition.source, partition.path, target))
    return made


def rows(pair: Pair) -> Iterator[Row]:
    """Raises E-STALE where the two files do not belong together, or another scorer made the scores."""
    with pair.evidence.open("rb") as evidence, pair.scored.open("rb") as scored:
        offset = 0
        for number, line in enumerate(evidence, start=1):
            try:
                score_line = scored.readline()
                score = orjson.loads(score_line)
            except orjson.JSONDecodeError as error:
                raise _stale(f"{pair.scored.name} has no score for row {number} of its evidence") from error
            if type(score) is not dict or score.get("scorer_version") != SCORER_VERSION:
                raise _stale(f"{pair.scored.name}:{number} was not scored by version {SCORER_VERSION}")
            sig = score["provenance"].get("sig_hash") if isinstance(score.get("provenance"), dict) else None
            if sig is not None and sig.encode() not in line[:4096] and sig.encode() not in line:
                raise _stale(f"{pair.scored.name}:{number} is the score of another row")
            yield Row(score, line, number, offset, len(score_line))
            offset += len(line)
        if scored.readline():
            raise _stale(f"{pair.scored.name} has scores of rows that are not there")


def _stale(message: str) -> DistillError:
    return DistillError(Code.STALE, message, "Run `distill evidence score` again.")
