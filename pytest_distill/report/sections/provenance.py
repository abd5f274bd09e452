"""What was judged, by what, and where the files are that say so."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

from pytest_distill.contracts.manifest import Manifest
from pytest_distill.release.seal import SEAL
from pytest_distill.release.verdict import EVIDENCE, QUARANTINE, VERDICT
from pytest_distill.report.html import Html, Value, join, tag
from pytest_distill.report.judged import TIMES, Judged
from pytest_distill.report.sections.parts import clipped, table

TEXT = 2000  # characters
Fact = tuple[str, Html | Value]


def facts(judged: Judged, links: str) -> Html:
    record = judged.record
    rows: list[Fact] = [
        ("batch", _digest(record.batch_sha256)),
        ("policy", _digest(record.policy_sha256)),
        ("gates", _digest(record.gates_sha256)),
        ("plugins", _digest(record.plugins_sha256)),
        ("quarantine", _digest(record.quarantine_sha256) if record.quarantine_sha256 else "no row was rejected"),
        ("run", tag("code", record.run_id)),
    ]
    if judged.times is not None:
        times = judged.times
        rows += [
            ("judged", f"from {times.started_at} to {times.finished_at}, {plural_scans(times.scans)}"),
            ("command", tag("code", clipped(" ".join(("pytest", *times.command)), TEXT))),
        ]
    if judged.batch is not None:
        rows += _batch(judged.batch.manifest)
    else:
        rows.append(("rows", judged.gone))
    waivers = [
        f"{g.id}: {g.waiver.reason} ({g.waiver.who}, until {g.waiver.expires})" for g in record.gates if g.waiver is not None
    ]
    rows.append(("waivers", clipped("; ".join(waivers) or "none", TEXT)))
    rows.append(
        ("measures", ", ".join(f"{m.name} {m.version}{'' if m.status == 'ok' else ' (failed)'}" for m in record.measures))
    )
    rows.append(("pytest plugins", ", ".join(record.plugins)))
    rows.append(("files", _links(judged, links)))
    exports = [f"{e.at}: {e.facts.get('format')}, {'signed' if e.facts.get('signed') else 'not signed'}" for e in judged.exports]
    if exports:
        rows.append(("exports", "; ".join(exports)))
    return table("Provenance", ("fact", "value"), rows, class_="provenance")


def receipts(judged: Judged, links: str) -> Html:
    """The stages that made these rows and those that read them since, each with a link to its receipt."""
    sha256 = judged.record.batch_sha256
    rows = []
    for receipt, file in judged.receipts:
        made = any(output.sha256 == sha256 for output in receipt.outputs)
        way = Path(os.path.relpath(file.parent.resolve(), judged.folder.resolve())).as_posix()
        counts = receipt.record_counts
        rows.append(
            (
                tag("a", f"{receipt.stage}, run {int(receipt.run_id)}", href=f"{links}/{quote(way)}/{quote(file.name)}"),
                "wrote them" if made else "read them",
                receipt.started_at,
                f"{counts.in_:,}",
                f"{counts.out:,}",
                f"{counts.quarantined + counts.skipped + counts.rejected + counts.deduped:,}",
                "yes" if receipt.validation.passed else "no",
            )
        )
    if not rows:
        return Html("")
    head = ("receipt", "these rows", "when", "records in", "out", "left out", "passed")
    return table("Receipts of the stages before and after", head, rows, numbers=(3, 4, 5))


def _batch(manifest: Manifest) -> list[Fact]:
    models = ", ".join(f"{model.name} {model.revision}" for model in manifest.how.models)
    sources = "; ".join(f"{s.name} ({s.rows_read:,} rows, sha256 {s.sha256[:12]}…)" for s in manifest.sources[:20])
    more = f"; and {len(manifest.sources) - 20} more" if len(manifest.sources) > 20 else ""
    by = manifest.authorization
    found: list[Fact] = [
        ("what", clipped(manifest.what, TEXT)),
        ("why", clipped(manifest.why, TEXT)),
        ("how", f"{manifest.origin} by {manifest.how.pipeline}{f' with {models}' if models else ''}"),
        ("sources", sources + more),
        ("columns", clipped(", ".join(f"{column.name}: {column.type}" for column in manifest.columns), TEXT)),
        ("cost class", f"{manifest.cost_class.used} used, {manifest.cost_class.declared} declared"),
        ("who", f"{by.by}{f', {by.date}' if by.date else ''}" if by else "nobody is named"),
    ]
    if manifest.seed is not None:
        found.append(("seed", manifest.seed))
    if manifest.justification:
        found.append(("justification", clipped(manifest.justification, TEXT)))
    return found


def plural_scans(scans: int) -> str:
    return "everything from the cache" if scans == 0 else f"{scans} scan{'' if scans == 1 else 's'}"


def _digest(sha256: str) -> Html:
    return tag("code", f"sha256:{sha256}", class_="digest")


def _links(judged: Judged, links: str) -> Html:
    names = [name for name in (VERDICT, EVIDENCE, SEAL, QUARANTINE, TIMES) if (judged.folder / name).is_file()]
    return tag("ul", join([tag("li", tag("a", name, href=f"{links}/{name}")) for name in names]), class_="pills")
