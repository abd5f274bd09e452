"""Playbooks: what worked, what failed and how to check it, for one kind of task on one subject. Extracted, not written.

A playbook is made where a task type has an accepted run. It quotes: commands and checks are those of accepted and of rejected
texts, failure modes are markers and reasons of runs that did not go well. Runs that need a human say nothing here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.evidence import EvidenceRecord, Playbook, Provenance
from pytest_distill.contracts.manifest import How
from pytest_distill.pipelines.evidence.score import SCORER_VERSION
from pytest_distill.pipelines.exporters import firewall, source
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.digests import Digests

PIPELINE = "extract-playbooks"
VERSION = "1.0.0"
SHOWN = 8  # entries of each list, the most frequent first
_COMMAND = re.compile(
    r"`((?:cargo|git|make|npm|bun|pytest|python|pip|docker|kubectl|curl|just|go|uv) [^`\n]{1,160})`|^\$ (.{2,160})$", re.M
)
_STEP = re.compile(r"\b((?:verify|check|assert|ensure|confirm) (?:that |the |for |it |each |every )[^.;\n]{3,140})", re.I)


@dataclass
class Gathered:
    """What the runs of one kind of task on one subject have left so far."""

    task_type: str
    pattern: str
    accepted: list[tuple[str, str]] = field(default_factory=list)  # (timestamp, run id)
    models: dict[str, str] = field(default_factory=dict)  # model -> when it was first accepted
    lists: dict[str, Counter[str]] = field(default_factory=dict)
    attempts: int = 1
    newest: tuple[str, Provenance] | None = None

    def add(self, name: str, found: Iterable[str]) -> None:
        self.lists.setdefault(name, Counter()).update(dict.fromkeys(found, 1))

    def top(self, name: str) -> tuple[str, ...]:
        found = self.lists.get(name, Counter())
        return tuple(text for text, _ in sorted(found.items(), key=lambda each: (-each[1], each[0]))[:SHOWN])


def export_playbooks(workspace: Workspace) -> tuple[Batch | None, int]:
    """A rag batch of all playbooks, and how many they are; no batch where no run was accepted. Again: the same batch."""
    pairs, digests = source.pairs(workspace), Digests(workspace.root)
    read = [
        [pair.source, *(file.timeless_sha256 or file.sha256 for file in (digests.file(pair.evidence), digests.file(pair.scored)))]
        for pair in pairs
    ]
    key = storage.sha256_bytes(storage.canonical_json([PIPELINE, VERSION, SCORER_VERSION, read]))
    folder = workspace.batch_folder(f"playbooks-{key[:12]}")
    if folder.exists():
        batch = open_batch(folder)
        return batch, batch.rows
    gathered: dict[tuple[str, str], Gathered] = {}
    for pair in pairs:
        for row in source.rows(pair):
            if row.scored.get("category") != "needs_human_review" and firewall.of_source(row.scored) is None:
                _gather(gathered, row.record(), row.scored)
    found = [playbook(each) for _, each in sorted(gathered.items()) if each.accepted]
    if not found:
        return None, 0
    facts: dict[str, Any] = {
        "id": folder.name, "kind": "rag", "origin": "derived", "what": "playbooks of scored evidence",
        "why": "what worked before is looked up before it is tried again",
        "how": How(pipeline=PIPELINE, parameters={"version": VERSION, "scorer_version": SCORER_VERSION, "key": key}),
    }  # fmt: skip
    with BatchWriter(folder, **facts) as writer:
        writer.begin_source("playbooks")
        for number, each in enumerate(found, start=1):
            values = each.model_dump(mode="json")
            writer.add({"id": each.playbook_id, "title": title(each), "content": text(each), **values}, line=number, offset=None)
        writer.end_source(sha256=key, size=0)
        batch = writer.finish()
    ledger.append(workspace.ledger, "exported-evidence", batch=batch.id, how=PIPELINE, sha256=batch.sha256, kept=len(found))
    return batch, len(found)


def _gather(gathered: dict[tuple[str, str], Gathered], record: EvidenceRecord, scored: dict[str, Any]) -> None:
    task_type = record.task_type or record.source or "run"
    pattern = _pattern(record)
    here = gathered.setdefault((task_type, pattern), Gathered(task_type, pattern))
    body = record.text or ""
    commands = [a or b for a, b in _COMMAND.findall(body)]
    if scored["category"] == "rejected":
        here.add("commands_failed", commands)
        here.add("known_failure_modes", [*record.failure_markers, *scored["reasons"]])
        return
    here.add("validation_steps", (step.strip() for step in _STEP.findall(body)))
    if record.file:
        here.add("repo_files_touched", [record.file])
    if scored["category"] == "partially_accepted":
        here.add("recovery_strategy", scored["reasons"])
        here.attempts = max(here.attempts, int(scored.get("sub_scores", {}).get("attempts", 1)))
        return
    here.accepted.append((record.timestamp, record.run_id))
    here.add("commands_worked", commands)
    here.add("acceptance_criteria", scored["reasons"])
    if record.retrieved_context:
        here.add("useful_context", [record.retrieved_context[:300]])
    if record.model_name:
        here.models[record.model_name] = min(record.timestamp, here.models.get(record.model_name, record.timestamp))
    if here.newest is None or (record.timestamp, record.run_id) > (here.newest[0], ""):
        here.newest = record.timestamp, record.provenance


def _pattern(record: EvidenceRecord) -> str:
    """What a task is about, coarse enough to recur: the folder of its file, or the task's name without its subject."""
    if record.file:
        return record.file.rpartition("/")[0] or record.file
    return record.task_id.partition(":")[0]


def playbook(found: Gathered) -> Playbook:
    assert found.newest is not None, "only those with an accepted run are made"
    runs = tuple(run for _, run in sorted(found.accepted))
    names = (
        "useful_context", "commands_worked", "commands_failed", "validation_steps", "repo_files_touched", "recovery_strategy",
        "known_failure_modes", "acceptance_criteria",
    )  # fmt: skip
    return Playbook(
        playbook_id=storage.sha256_bytes("\x1f".join((found.task_type, found.pattern, *runs)).encode()),
        task_type=found.task_type,
        problem_pattern=found.pattern,
        model_routing_path=tuple(sorted(found.models, key=lambda model: (found.models[model], model))),
        escalation_threshold=found.attempts + 1,
        source_run_ids=runs[-SHOWN:],
        created_at=clock.timestamp(),
        provenance=found.newest[1],
        **{name: found.top(name) for name in names},
    )


def title(found: Playbook) -> str:
    return f"Playbook: {found.task_type} on {found.problem_pattern}"


def text(found: Playbook) -> str:
    """The playbook as text to retrieve."""
    parts = [
        ("Accepted when", found.acceptance_criteria), ("Commands that worked", found.commands_worked),
        ("Commands that failed", found.commands_failed), ("Checks", found.validation_steps), ("Files", found.repo_files_touched),
        ("After a setback", found.recovery_strategy), ("Known failures", found.known_failure_modes),
        ("Models, in order", found.model_routing_path),
    ]  # fmt: skip
    lines = [title(found) + "."]
    for head, items in parts:
        if items:
            lines.append(f"{head}:")
            lines += [f"- {item}" for item in items]
    lines.append(f"Escalate after {found.escalation_threshold} attempts.")
    return "\n".join(lines)
