"""A workspace with streams of a few rows, for tests of the way from streams to samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pytest_distill.pipelines.evidence import build, scoring, store, transforms
from pytest_distill.pipelines.evidence.build import Built
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace

AT = "2026-04-20T12:00:00Z"
LATER = "2026-04-27T00:00:00Z"


def make(root: Path, **streams: list[dict[str, Any] | bytes]) -> Workspace:
    """`streams` by name: rows as objects, or lines as bytes."""
    (root / "streams").mkdir(parents=True)
    (root / "distill.toml").touch()
    for name, rows in streams.items():
        write(root, name, rows)
    return workspaces.load(root)


def write(root: Path, name: str, rows: list[dict[str, Any] | bytes]) -> None:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]
    (root / "streams" / f"{name}.jsonl").write_bytes(b"".join(lines))


def append(root: Path, name: str, *rows: dict[str, Any] | bytes) -> None:
    path = root / "streams" / f"{name}.jsonl"
    before = path.read_bytes()
    write(root, name, [before, *rows])


def collect(workspace: Workspace, *, rebuild: bool = False) -> list[Built]:
    return build.build(workspace, transforms.load(workspace.root), store.streams_folder(workspace), rebuild=rebuild)


def evidence(workspace: Workspace) -> list[Any]:
    return [row for part in store.partitions(store.evidence_folder(workspace)) for row in store.records(part.path)]


def scored(workspace: Workspace) -> dict[str, Any]:
    """Scores by run id, after collecting and scoring."""
    from pytest_distill.contracts.evidence import ScoredRun

    collect(workspace)
    scoring.score(workspace)
    rows = [row for p in store.partitions(store.scored_folder(workspace)) for row in store.rows(p.path, ScoredRun)]
    return {row.evidence_run_id: row for row in rows}


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# -- rows of the shipped streams ---------------------------------------------------------------------------------------------


def review(file: str = "src/a.rs", verdict: str = "accept", text: str = "It may be merged.", **more: Any) -> dict[str, Any]:
    return {"ts": AT, "file": file, "reviewer_model": "m", "verdict": verdict, "confidence": 0.5, "review": text, **more}


def scrum(file: str = "src/a.rs", attempt: int | None = 1, text: str = "Close the file.", **more: Any) -> dict[str, Any]:
    marked = {"accepted_on_attempt": attempt} if attempt is not None else {}
    return {"file": file, "reviewed_at": AT, "accepted_model": "m", "review": text, **marked, **more}


def finding(severity: str = "info", **more: Any) -> dict[str, Any]:
    return {"finding_id": "F1", "phase": 3, "severity": severity, "topic": "retry", "resolution": "noted", "ts": AT,
            "evidence": ["It retries."], **more}  # fmt: skip


def patch(action: str = "committed", **more: Any) -> dict[str, Any]:
    return {"ts": AT, "file": "src/a.rs", "action": action, "model": "m", "review": "Do it.", "patch": "-a\n+b", **more}


def analysis(verdict: str | None = "accept", ok: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "ts": AT,
        "permit_id": "P1",
        "ok": ok,
        "observer_verdict": verdict,
        "analysis": "It binds both.",
        "model": "m",
        **more,
    }


def outcome(total: int = 3, ok: int = 3, gaps: int = 0, **more: Any) -> dict[str, Any]:
    return {"run_id": "run-1", "created_at": AT, "total_events": total, "ok_events": ok, "gap_signals": gaps, **more}


def experiment(grounded: float | None = 0.9, text: str = "Line 3 says so.", **more: Any) -> dict[str, Any]:
    results = {"validation_results": {"grounded_fraction": grounded}} if grounded is not None else {}
    return {"ts": AT, "task_class": "pr_audit", "mode": "matrix", "file_path": "src/a.rs", "response": text, "model": "m",
            "latency_ms": 10.0, **results, **more}  # fmt: skip


def fact(task: str | None = None, **more: Any) -> dict[str, Any]:
    named = {"task_id": task} if task is not None else {}
    return {"run_id": "d-1", "source_label": "s", "created_at": AT, "extractor": "m", "text": "There are two.", **named, **more}
