"""The one Markdown summary of a pull request. What came from data, paths and policies stands in code spans or is escaped."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_distill.batch.compare import Difference
from pytest_distill.ci.check import Checked, Result
from pytest_distill.contracts.run import RunRecord
from pytest_distill.release.wording import value_text
from pytest_distill.report.markdown import LIMIT, code, summary, text
from pytest_distill.report.words import plural

FILES = 50  # of the table
SHIFTS = 15  # of a file
EDITS = 10
EXAMPLES = 3


def marker(key: str) -> str:
    """The hidden first line by which the comment is found again."""
    return f"<!-- pytest-distill: {key} -->"


def refused(why: str, key: str) -> str:
    """The summary where nothing was judged: it replaces one that said yes to an earlier state."""
    return "\n".join([marker(key), "## ⚠️ The datasets were not judged", "", code(why, 600), ""])


def summarise(checked: Checked, key: str) -> str:
    """At most 60,000 characters: verdicts and changes of all files, then what was said of each, as long as there is room."""
    no = sum(not result.ok for result in checked.results)
    total = plural(len(checked.results), "changed dataset file")
    said = "no dataset file changed" if not checked.results else f"{no} of {total} did not pass" if no else f"{total} passed"
    lines = [marker(key), f"## {'❌' if no else '✅'} Datasets: {said}", "", *_judge(checked), ""]
    if checked.results:
        lines += ["| file | verdict | rows | added | removed | changed | rejected |", "|---|---|---:|---:|---:|---:|---:|"]
        lines += [_row(result) for result in checked.results[:FILES]]
        if len(checked.results) > FILES:
            lines.append(f"\nand {plural(len(checked.results) - FILES, 'more file')}: the report has them")
    parts = ["\n".join(lines) + "\n"]
    room = LIMIT - len(parts[0]) - 200
    ordered = sorted(checked.results, key=lambda result: result.ok)
    for number, result in enumerate(ordered):
        part = "\n".join(["", *_file(result), ""])
        if len(part) > room:
            parts.append(f"\n{plural(len(ordered) - number, 'more file')} without room here: the report has them.\n")
            break
        parts.append(part)
        room -= len(part)
    return "".join(parts)


def _judge(checked: Checked) -> Iterator[str]:
    whose = "the default policy, for there is no `distill.toml` in" if checked.default_policy else "the policy and gates of"
    yield f"Judged by {whose} {code(checked.judge[:12])}."
    if checked.judge_edits:
        named = ", ".join(code(path, 80) for path in checked.judge_edits[:EDITS])
        more = f" and {len(checked.judge_edits) - EDITS} more" if len(checked.judge_edits) > EDITS else ""
        yield ""
        yield f"⚠️ This change also edits what could judge later ones: {named}{more}. None of it was used here: review it as code."


def _row(result: Result) -> str:
    path = code(result.path.replace("|", "¦"), 80)
    if result.change.after is None:
        removed = result.before.batch.rows if result.before else ""
        return f"| {path} | deleted | | | {removed} | | |"
    if result.after is None:
        return f"| {path} | **not judged** | | | | | |"
    record, found = result.after.record, result.difference
    unread = result.after.batch.manifest.counts.quarantined
    verdict = "passed" if result.ok else f"**{record.verdict.lower()}**"
    counts: tuple[int | str, ...] = ("", "", "")
    if found is not None:
        counts = (found.added.count, found.removed.count, found.changed.count)
    elif result.change.before is None:
        counts = (record.rows.batch, "", "")
    cells = [f"{count:,}" if isinstance(count, int) else count for count in (record.rows.batch, *counts)]
    return f"| {path} | {verdict} | {' | '.join(cells)} | {record.rows.quarantined + unread:,} |"


def _file(result: Result) -> Iterator[str]:
    yield f"### {code(result.path)}"
    yield ""
    before = result.change.before
    if result.change.status == "renamed" and before is not None:
        yield f"renamed from {code(before.path)}"
        yield ""
    if result.refusal is not None:
        yield f"Not judged: {code(str(result.refusal), 600)}"
    if result.blind:
        yield f"Not compared, because the old version does not read: {code(result.blind)}"
    if result.change.after is None:
        yield "deleted"
    if result.after is None:
        return
    yield from _unread(result)
    if result.difference is not None:
        yield from _difference(result.difference)
    if result.before is not None:
        yield from _shifts(result.before.record, result.after.record)
    remarks = [f"{code(gate.id, 80)} {gate.status}" for gate in result.after.record.gates if gate.status in ("waived", "warned")]
    if result.ok:
        yield f"Every required gate said yes{': with a remark by ' + ', '.join(remarks[:20]) if remarks else '.'}"
        return
    yield f"<details><summary>Why not: {plural(result.after.record.rows.quarantined, 'row')} rejected by gates</summary>"
    yield ""
    yield summary(result.after.record, private_rows=result.after.private_rows, examples=EXAMPLES)
    yield "</details>"


def _difference(found: Difference) -> Iterator[str]:
    counts = (
        (found.added.count, "added"),
        (found.removed.count, "removed"),
        (found.changed.count, "changed"),
        (found.same, "the same"),
    )
    yield f"Rows compared by {found.by}: {', '.join(f'{count:,} {word}' for count, word in counts)}."
    yield ""
    columns = [f"new column {code(name, 60)}" for name in found.columns_added[:10]]
    columns += [f"column gone {code(name, 60)}" for name in found.columns_removed[:10]]
    if columns:
        yield ", ".join(columns)
        yield ""


def _unread(result: Result) -> Iterator[str]:
    assert result.after is not None
    lines = result.after.unread
    if lines.height:
        first = ", ".join(f"line {line}: {code(reason)}" for line, reason in lines.select("line", "reason").head(5).iter_rows())
        yield f"{plural(lines.height, 'line')} could not be read as a row: {first}{', …' if lines.height > 5 else ''}"
        yield ""


def _shifts(before: RunRecord, after: RunRecord) -> Iterator[str]:
    """Figures of the gates that are no longer what they were on the base version."""
    old = {(gate.id, figure.name): figure.value for gate in before.gates for figure in gate.figures}
    moved = []
    for gate in after.gates:
        for figure in gate.figures:
            was = old.get((gate.id, figure.name))
            if was is not None and was != figure.value:
                cells = (code(gate.id, 80), text(figure.name), code(value_text(was), 40), code(value_text(figure.value), 40))
                moved.append(f"| {' | '.join(cells)} | {code(str(figure.bound), 40) if figure.bound else ''} |")
    if moved:
        yield "| gate | figure | base | now | bound |"
        yield "|---|---|---:|---:|---|"
        yield from moved[:SHIFTS]
        if len(moved) > SHIFTS:
            yield ""
            yield f"and {len(moved) - SHIFTS} more"
        yield ""
