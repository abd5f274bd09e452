"""What the gates found, on the very lines of the data: GitHub workflow commands, and GitLab's code quality report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from pytest_distill.ci.check import Checked, Judged, Result
from pytest_distill.errors import one_line
from pytest_distill.report.words import saying_no

PER_LEVEL = 10  # GitHub shows ten errors and ten warnings of a step
CODE_QUALITY = 1000  # GitLab's page gets slow beyond
_LINES = frozenset({".jsonl", ".ndjson", ".json", ".csv"})
_LONGEST = 400


@dataclass(frozen=True)
class Note:
    """One finding. `line` is None for a file as a whole."""

    level: Literal["error", "warning"]
    path: str
    line: int | None
    gate: str
    text: str


def notes(checked: Checked) -> list[Note]:
    """What stops a file first, then what its policy allows. Files take turns, and in a file its gates do."""
    ranked = []
    for result in checked.results:
        found = sorted(_of_file(result), key=lambda entry: (entry[1].level != "error", entry[0]))
        ranked += [(turn, note) for turn, (_, note) in enumerate(found)]
    return [note for _, note in sorted(ranked, key=lambda entry: (entry[1].level != "error", entry[0]))]


def _of_file(result: Result) -> Iterator[tuple[int, Note]]:
    """Each with its place among what the same gate found in the file."""
    if result.refusal is not None:
        yield 0, Note("error", result.path, None, result.refusal.code.value, f"{result.refusal.message}. {result.refusal.hint}")
    if result.after is None:
        return
    no = {gate.id for gate in saying_no(result.after.record)}
    ranks: dict[str, int] = {}
    for gate, line, text in _rows(result.after):
        rank = ranks[gate] = ranks.get(gate, -1) + 1
        if rank < CODE_QUALITY:
            stops = gate in no or (gate == "ingest" and "counts.rows" in no)
            yield rank, Note("error" if stops else "warning", result.path, _line(result.path, line), gate, text)
    for record in saying_no(result.after.record):
        if record.id not in ranks and not (record.id == "counts.rows" and "ingest" in ranks):
            why = "; ".join(record.why) or record.title
            yield 0, Note("error", result.path, None, record.id, why)
    for finding in result.after.record.findings if result.after.record.verdict != "PASSED" else ():
        yield 0, Note("error", result.path, None, "run", finding)


def _rows(judged: Judged) -> Iterator[tuple[str, int, str]]:
    """Gate, line and words of every rejection. Of rows with personal data or secrets only the gate's title is said."""
    titles = {gate.id: gate.title for gate in judged.record.gates}
    for line, reason, message in judged.unread.select("line", "reason", "message").iter_rows():
        yield "ingest", line, f"not a row ({reason}): {message}"
    private = judged.private_rows
    for gate, row, line, message in judged.rejections.select("by", "row", "line", "message").iter_rows():
        yield gate, line, titles.get(gate, gate) if row in private else message


def _line(path: str, line: int) -> int | None:
    """Only text that is not compressed has lines that a page can show."""
    return line if PurePosixPath(path).suffix.lower() in _LINES else None


def github(found: Iterable[Note], limit: int = PER_LEVEL) -> list[str]:
    """Workflow commands, at most `limit` of each level, and one notice of how many more there are."""
    shown: dict[str, list[str]] = {"error": [], "warning": []}
    left = 0
    for note in found:
        if len(shown[note.level]) >= limit:
            left += 1
            continue
        where = {"file": note.path, **({"line": str(note.line)} if note.line is not None else {}), "title": note.gate}
        shown[note.level].append(command(note.level, note.text, **where))
    commands = [*shown["error"], *shown["warning"]]
    return [*commands, command("notice", f"{left:,} more findings: see the summary and the report")] if left else commands


def command(name: str, text: str, **properties: str) -> str:
    """One workflow command, escaped so that neither its text nor a property can end it, add a property or begin another one."""
    given = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name}{f' {given}' if given else ''}::{_data(one_line(text[:_LONGEST]))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    # Line breaks are escaped by rule; what else is no character to print could only do harm in a log.
    plain = "\n".join("\r".join(one_line(part) for part in line.split("\r")) for line in text.split("\n"))
    return _data(plain).replace(":", "%3A").replace(",", "%2C")


def plain(text: str) -> str:
    """A line for the log of a runner, which takes a line that begins with `::`, or has `##[` anywhere, for a command."""
    return f"distill: {one_line(text).replace('##[', '## [')}"


def gitlab(found: Iterable[Note]) -> bytes:
    """A code quality report (CodeClimate's JSON, as GitLab reads it) of the first findings."""
    entries = []
    for note in list(found)[:CODE_QUALITY]:
        path, text = one_line(note.path), f"{note.gate}: {one_line(note.text[:_LONGEST])}"
        key = f"{note.path}\0{note.line}\0{note.gate}".encode("utf-8", "surrogateescape")
        entries.append(
            {
                "description": text,
                "check_name": note.gate,
                "fingerprint": hashlib.sha256(key).hexdigest(),
                "severity": "major" if note.level == "error" else "minor",
                "location": {"path": path, "lines": {"begin": note.line or 1}},
            }
        )
    return json.dumps(entries, indent=2).encode() + b"\n"
