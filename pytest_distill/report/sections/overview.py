"""The verdict, and where the rows went."""

from __future__ import annotations

from collections import Counter

from pytest_distill.batch.batch import Batch
from pytest_distill.report import svg
from pytest_distill.report.html import Html, join, tag
from pytest_distill.report.judged import Judged
from pytest_distill.report.rows import taken_first
from pytest_distill.report.sections.parts import percent, table
from pytest_distill.report.words import plural, saying_no
from pytest_distill.report.words import verdict as words

FATE, KEPT = "candidate_status", "kept"  # what pipelines store of every candidate


def verdict(judged: Judged) -> Html:
    record = judged.record
    said = words(record)
    todo = tag("code", said.todo) if record.verdict != "FAILED" else said.todo
    tone = "yes" if record.verdict == "PASSED" else "no"
    no = saying_no(record)
    findings = tag("ul", join([tag("li", finding) for finding in record.findings])) if record.findings else ""
    named = join([tag("li", tag("a", gate.id, href=f"#gate-{number}")) for number, gate in enumerate(no)])
    stats = (
        ("rows judged", f"{record.rows.batch:,}"),
        ("remain", f"{record.rows.remaining:,}"),
        ("in quarantine", f"{record.rows.quarantined:,}"),
        ("gates say yes", f"{len(record.required) - len(no):,} of {len(record.required):,}"),
    )
    return join(
        [
            tag(
                "div",
                svg.sign(record.verdict),
                tag(
                    "div",
                    tag("p", record.verdict, class_="word"),
                    tag("p", said.meaning, class_="meaning"),
                    findings,
                    tag("p", tag("b", "Next: "), todo),
                    tag("ul", named, class_="pills", aria_label="Gates that did not say yes") if no else "",
                ),
                class_=f"banner {tone}",
            ),
            tag("dl", join([tag("div", tag("dt", name), tag("dd", value)) for name, value in stats]), class_="stats"),
        ]
    )


def funnel(judged: Judged) -> Html:
    """Each row once: generated or read, lost with the batch, taken by the first gate that rejected it, remaining, exported."""
    record, rows = judged.record, []
    fates = _fates(judged)
    read = judged.batch.manifest.counts.read if judged.batch is not None else record.rows.batch
    left = first = sum(fates.values()) or read

    def step(name: str | Html, lost: int, note: str = "") -> None:
        shown = join([svg.bar(left / first if first else 0, "kept"), tag("span", note, class_="note") if note else tag("span")])
        rows.append((name, f"{left:,}", f"−{lost:,}" if lost else "", percent(lost, first), shown))

    if fates:
        step("generated", 0, "candidates, all of them stored with the batch")
        for fate, lost in fates.most_common():
            if fate != KEPT:
                left -= lost
                step(fate.replace("_", " "), lost, "dropped by the pipeline")
        step("kept by the pipeline", 0)
    else:
        step("read from the sources", 0)
    if judged.batch is not None and (lost := judged.batch.manifest.counts.quarantined):
        left -= lost
        reasons = "; ".join(f"{reason} {count:,}" for reason, count in _batch_reasons(judged.batch))
        step(f"quarantined {judged.batch.manifest.lost}", lost, reasons)
    taken = taken_first(judged)
    for gate_id, lost in taken.items():
        left -= lost
        step(gate_id, lost)
    step("remain", 0, "" if record.verdict == "PASSED" else "and may not leave: the verdict is not PASSED")
    for entry in judged.exports:
        step(f"exported as {entry.facts.get('format')}", 0, f"{entry.at}{', signed' if entry.facts.get('signed') else ''}")
    quiet = sum(gate.kind == "row" and gate.status != "not_applicable" and gate.id not in taken for gate in record.gates)
    caption = "Rows left after each step"
    note = f"A row that several gates reject is counted at the first of them. {plural(quiet, 'row gate')} took no further row."
    head = ("step", "rows left", "rows lost", "of all", "left")
    return join([table(caption, head, rows, numbers=(1, 2, 3), class_="funnel"), tag("p", note, class_="note")])


def _fates(judged: Judged) -> Counter[str]:
    """What became of the candidates of a generated batch, `kept` among them; empty where none are stored or counts differ."""
    batch = judged.batch
    if batch is None or FATE not in (column.name for column in batch.manifest.candidate_columns):
        return Counter()
    fates: Counter[str] = Counter()
    for shard in batch.manifest.candidates:
        counts = batch.read_shard(shard, [FATE]).to_series().value_counts()
        fates.update({str(fate): count for fate, count in counts.iter_rows()})
    return fates if fates[KEPT] == judged.record.rows.batch else Counter()


def _batch_reasons(batch: Batch) -> list[tuple[str, int]]:
    kept = batch.manifest.quarantine
    reasons = batch.read_shard(kept, ["reason"]).to_series() if kept is not None else ()
    return Counter(reasons).most_common(8)
