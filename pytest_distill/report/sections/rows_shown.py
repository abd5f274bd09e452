"""Single rows: the map, gates that reject the same ones, and rows to read."""

from __future__ import annotations

import numpy as np

from pytest_distill.contracts.run import Rows
from pytest_distill.report import atlas as maps
from pytest_distill.report import rows as found
from pytest_distill.report import svg
from pytest_distill.report.html import Html, Value, join, tag
from pytest_distill.report.judged import Judged
from pytest_distill.report.rows import Row, Sample
from pytest_distill.report.sections.parts import NOT_QUOTED, clipped, table

READ = 8  # rows of each sort
CHARS = 700
MAP = (
    "Each dot is a kept row, each cross a rejected one. Rows that lie close share words and letter sequences: texts are turned "
    "into hashed counts of words and of five-byte sequences, and the two directions in which these differ most are drawn. "
    "No language model took part, so it shows wording and not meaning, and the axes have no names. Clumps are worth a look: "
    "boilerplate, one template, one language."
)

MEANING = (
    "Each dot is a kept row, each cross a rejected one. Rows that lie close mean the like, as far as an embedding model tells: "
    "the two directions in which their embeddings differ most are drawn, and the axes have no names. Clumps are worth a look: "
    "grading.diversity-density says how many rows have a neighbour."
)


def atlas(sample: Sample, rows: Rows, vectors: np.ndarray[tuple[int, int], np.dtype[np.float64]] | None = None) -> Html:
    """The map. `vectors` are the embeddings of the sample's rows, where a gate measured them; else words are compared."""
    if len(sample.rows) < 3:
        return Html("")
    points = maps.positions([row.text for row in sample.rows]) if vectors is None else maps.projected(vectors)
    kept, out = len(sample.kept), len(sample.rejected)
    drawn = f"Drawn: {kept:,} of {rows.remaining:,} kept rows and {out:,} of {rows.quarantined:,} rejected ones, at random."
    if sample.whole_batch:
        drawn = f"All {len(sample.rows):,} rows are drawn."
    return join([tag("p", MAP if vectors is None else MEANING, " ", drawn, class_="note"), svg.atlas(sample.rows, points)])


def together(judged: Judged) -> Html:
    gates, counts = found.together(judged)
    if len(gates) < 2:
        return Html("")
    rows: list[list[Html | Value]] = []
    for number, a in enumerate(gates, start=1):
        total = counts[a, a]
        cells: list[Html | Value] = [f"{number} {a}"]
        for b in gates:
            both = counts.get((a, b), 0)
            level = 0 if not both else 1 + min(3, int(4 * both / total) if a != b else 3)
            cells.append(tag("span", f"{both:,}" if both else "·", class_=f"heat h{level}{' self' if a == b else ''}"))
        rows.append(cells)
    note = "Rows that both the gate of the line and the gate of the column reject; on the diagonal, all that a gate rejects."
    numbers = range(1, len(gates) + 1)
    return join(
        [
            table("Rows rejected by two gates", ("gate", *map(str, numbers)), rows, numbers=numbers, class_="together"),
            tag("p", note, class_="note"),
        ]
    )


def examples(sample: Sample) -> Html:
    rng = np.random.default_rng(len(sample.rows))
    parts = []
    for title, rows in (
        ("Rejected, drawn at random, as many gates as can be", sample.rejected),
        ("Kept, drawn at random", sample.kept),
    ):
        shown = join([_row(row) for row in _chosen([rows[number] for number in rng.permutation(len(rows))])])
        if shown:
            parts.append(join([tag("h3", title), tag("div", shown, class_="cards")]))
    return join(parts)


def _chosen(rows: list[Row]) -> list[Row]:
    """The first rows, those before others whose gates no row before them has; in the order of the batch."""
    seen: set[str] = set()
    new: list[Row] = []
    others: list[Row] = []
    for row in rows:
        (others if seen.issuperset(row.gates) else new).append(row)
        seen.update(row.gates)
    return sorted((new + others)[:READ], key=lambda row: row.position)


def _row(row: Row) -> Html:
    head = [tag("span", f"{row.source}:{row.line}", class_="where"), tag("span", f"id {clipped(row.id, 80)}", class_="where")]
    head += [tag("span", gate, class_="badge no") for gate in row.gates]
    if row.private:
        return tag("article", tag("p", *head), tag("p", NOT_QUOTED, class_="note"))
    asked = tag("p", clipped(row.prompt, CHARS), class_="prompt") if row.prompt.strip() else ""
    answer = tag("p", clipped(row.answer, CHARS), class_="answer") if row.answer.strip() else tag("p", "(empty)", class_="note")
    return tag("article", tag("p", *head), asked, answer)
