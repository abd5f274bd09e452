"""The page: one HTML file without scripts, fonts or anything else from elsewhere. Same run, same ledger, same bytes."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from pytest_distill import __version__, storage
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS
from pytest_distill.measuring.columns import Columns
from pytest_distill.report import rows
from pytest_distill.report.html import Html, escape, join, tag
from pytest_distill.report.judged import Judged
from pytest_distill.report.sections import clauses, distributions, gates, overview, provenance, rows_shown, runs

FILE = "report.html"


class Section(NamedTuple):
    id: str
    title: str
    body: Html


def write(judged: Judged, out: Path | None = None, columns: Columns | None = None) -> Path:
    """Writes the page (default: `report.html` in the run's folder) and returns where it is.

    `columns` are those of a scan that has just run; without them they come from the cache.
    """
    target = out if out is not None else judged.folder / FILE
    links = os.path.relpath(judged.folder.resolve(), target.resolve().parent)
    storage.write_bytes(target, page(judged, quote(Path(links).as_posix()), columns).encode("utf-8"))
    return target


def page(judged: Judged, links: str = ".", columns: Columns | None = None) -> str:
    """The whole document. `links` is the way from it to the folder of the run."""
    record = judged.record
    sections = [Section(*section) for section in _sections(judged, links, columns) if section[2]]
    css = resources.files("pytest_distill.report").joinpath("page.css").read_text(encoding="utf-8")
    policy = f"default-src 'none'; style-src 'sha256-{_sha256(css)}'; base-uri 'none'; form-action 'none'"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=f"pytest-distill {__version__}"),
        tag("title", f"{record.verdict}: {record.batch_id}, run {judged.number}"),
        Html(f"<style>{css}</style>"),
    )
    body = tag(
        "body",
        tag("a", "To the verdict", class_="skip", href="#verdict"),
        tag(
            "header",
            tag("p", "pytest-distill report", class_="brand"),
            tag("h1", record.batch_id),
            tag("p", _subtitle(judged), class_="subtitle"),
            tag(
                "nav",
                tag("ul", join([tag("li", tag("a", s.title, href=f"#{s.id}")) for s in sections[1:]])),
                aria_label="Sections",
            ),
        ),
        tag(
            "main",
            join(
                [
                    tag("section", tag("h2", s.title, id=f"{s.id}-title"), s.body, id=s.id, aria_labelledby=f"{s.id}-title")
                    for s in sections
                ]
            ),
        ),
        tag(
            "footer",
            tag(
                "p",
                "This page quotes rows of the batch, rejected ones included, but none rejected for personal data or secrets. "
                "Handle it as you handle the data. It loads nothing and runs no script.",
            ),
        ),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _sections(judged: Judged, links: str, columns: Columns | None) -> Iterator[tuple[str, str, Html]]:
    yield "verdict", "Verdict", overview.verdict(judged)
    yield "funnel", "Where the rows went", overview.funnel(judged)
    yield "gates", "Gates", gates.table(judged.record, judged.private_rows)
    if judged.batch is None or not judged.record.gates or not judged.batch.rows:
        why = judged.gone or ("No gate left a record." if judged.batch and judged.batch.rows else "The batch has no rows.")
        yield "distributions", "Distributions", tag("p", f"Nothing is drawn: {why}", class_="note")
    else:
        columns = columns if columns is not None else Columns.of(judged.workspace, judged.batch)
        rejected = rows.rejected_mask(judged)
        yield "distributions", "Distributions", distributions.charts(judged, columns, rejected)
        texts = judged.batch.kind in REQUIRED_COLUMNS  # rows of other kinds hold none
        sample = rows.sample(judged, judged.batch, columns, rejected) if texts else None
        if sample is not None:
            yield (
                "map",
                "Map of the texts",
                rows_shown.atlas(sample, judged.record.rows, rows.embeddings(judged, columns, sample)),
            )
        yield "together", "Rejected together", rows_shown.together(judged)
        if sample is not None:
            yield "rows", "Rows", rows_shown.examples(sample)
    yield "trend", "Earlier runs", runs.trend(judged)
    yield "drift", "What moved", runs.drift(judged)
    yield "clauses", "Clauses", clauses.clauses(judged.record)
    yield "receipts", "Receipts", provenance.receipts(judged, links)
    yield "provenance", "Provenance", provenance.facts(judged, links)


def _subtitle(judged: Judged) -> Html:
    facts = [judged.record.kind, f"run {judged.number}"]
    if judged.times is not None:
        facts += [judged.times.finished_at, f"{judged.times.seconds:g} s"]
    return Html(" · ".join(escape(fact) for fact in facts))


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
