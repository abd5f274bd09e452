"""Pieces that several sections use: tables, marked excerpts, figures in words."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_distill.contracts.run import Example, Figure
from pytest_distill.release.wording import value_text
from pytest_distill.report.html import Html, Value, escape, join, tag

Cell = Html | Value
NOT_QUOTED = "Not quoted: rejected for personal data or a secret."


def table(
    caption: str, head: Sequence[str], rows: Sequence[Sequence[Cell]], *, numbers: Sequence[int] = (), class_: str = ""
) -> Html:
    """A table with a caption for screen readers; the first cell of a row names it, the columns in `numbers` are set right."""

    def align(number: int) -> str | None:
        return "number" if number in numbers else None

    headings = [tag("th", name, scope="col", class_=align(n)) for n, name in enumerate(head)]
    body = [
        tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell, class_=align(n)) for n, cell in enumerate(row[1:], start=1)))
        for row in rows
    ]
    return scroll(
        tag(
            "table",
            tag("caption", caption, class_="hidden"),
            tag("thead", tag("tr", join(headings))),
            tag("tbody", join(body)),
            class_=class_ or None,
        ),
        caption,
    )


def scroll(content: Html, label: str) -> Html:
    """A box that scrolls sideways on narrow screens, by keyboard too."""
    return tag("div", content, class_="scroll", tabindex=0, role="group", aria_label=label)


def figure_text(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit and figure.unit not in figure.name.split() else ""
    return f"{number_text(figure.value)}{unit}"


def number_text(value: float | int | str | bool | None) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value_text(value)


def example(found: Example, *, quoted: bool, where: str | None = None) -> Html:
    """A rejected row as an item of a list, with what was found marked; `where` instead of its file and line."""
    place = tag("span", where or f"{found.source}:{found.line}", class_="where")
    if not quoted:
        return tag("li", place, " ", tag("span", NOT_QUOTED, class_="note"))
    text = found.text
    shown = escape(text)
    if found.start is not None and found.end is not None:
        before, piece, after = text[: found.start], text[found.start : found.end], text[found.end :]
        shown = join([escape(before), tag("mark", piece), escape(after)])
    return tag("li", place, " ", tag("q", shown))


def percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.3g}%" if part and whole else ""


def clipped(text: str, width: int) -> str:
    """`text`, or its beginning and how long it is: rows and manifests can hold anything, and the page stays small."""
    return text if len(text) <= width else f"{text[:width]}… ({len(text):,} characters)"
