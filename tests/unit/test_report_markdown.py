"""The Markdown summary: what came from data is never markup, a link or a mention, and a comment is never too long."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from pytest_distill.contracts.run import Bound, Example, Figure, GateRecord, Rows, RunRecord
from pytest_distill.report.markdown import LIMIT, code, summary, text

HOSTILE = (
    "[click](https://evil.example)",
    "![x](https://evil.example/p.png)",
    "<img src=x onerror=alert(1)>",
    "`` `</code>` ``",
    "@someone please look at #1 and GH-2 and org/repo#3",
    "https://evil.example www.evil.example mail@evil.example",
    "a | b \\| c",
    "# heading\n\n- list\n---\n```\nfence",
    "**bold** _it_ ~~gone~~",
    "\u202eright to left \x1b[31m \x00",
)
GFM = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def example(row: int, shown: str) -> Example:
    return Example(row=row, id=f"r{row}", source="rows.jsonl", line=row + 1, text=shown, start=0, end=min(3, len(shown)))


def gate(gate_id: str = "text.blank", **facts: Any) -> GateRecord:
    figure = Figure(name="rows rejected", value=3, bound=Bound(op="at_most", value=0), ok=False, unit="rows", rows=9)
    base: dict[str, Any] = {
        "title": "Fields hold something.",
        "kind": "row",
        "severity": "block",
        "status": "failed",
        "why": ("rows rejected is 3 rows, allowed is <= 0 rows",),
        "figures": (figure,),
        "rejected": 3,
        "reason_code": "blank",
        "origin": "standard",
        "limits": {"max_rejected_rows": 0},
    }
    return GateRecord(id=gate_id, **{**base, **facts})


def record(*gates: GateRecord, verdict: str = "FAILED", **facts: Any) -> RunRecord:
    base: dict[str, Any] = {
        "run_id": "0123456789abcdef",
        "batch_id": "demo",
        "batch_sha256": "a" * 64,
        "kind": "sft",
        "verdict": verdict,
        "policy_sha256": "b" * 64,
        "gates_sha256": "c" * 64,
        "plugins_sha256": "d" * 64,
        "required": tuple(g.id for g in gates),
        "gates": gates,
        "rows": Rows(batch=9, quarantined=3, remaining=6),
    }
    return RunRecord(**{**base, **facts})


def markup(source: str) -> set[str]:
    """The kinds of inline token a renderer finds, code spans and plain text apart."""
    tokens = [child for token in GFM.parse(source) for child in (token.children or ())]
    return {token.type for token in tokens} - {"text", "code_inline", "softbreak", "text_special"}


def blocks(source: str) -> list[str]:
    return [token.type for token in GFM.parse(source)]


def plain_text(source: str) -> str:
    """What is not in a code span: where platforms look for mentions, references and links."""
    return "".join(c.content for token in GFM.parse(source) for c in (token.children or ()) if c.type != "code_inline")


@given(st.text(min_size=1) | st.text("`|\\<>[]()@#*_ \n", min_size=1))
def test_a_code_span_holds_everything_it_is_given(foreign: str) -> None:
    tokens = [child for token in GFM.parse(code(foreign)) for child in (token.children or ())]
    assert [token.type for token in tokens] in ([], ["code_inline"])


@given(st.text("ab@#`|\\<>[]()*_~:/.w-1 \n", min_size=1))
def test_plain_text_is_neither_markup_nor_mention(foreign: str) -> None:
    shown = text(foreign)
    assert markup(f"- {shown}") == set()
    said = plain_text(f"- {shown}")
    assert not any(said[i] in "@#" and said[i + 1 : i + 2].isalnum() for i in range(len(said)))


@settings(deadline=None)
@given(st.lists(st.sampled_from(HOSTILE) | st.text(min_size=1), min_size=1, max_size=4))
def test_hostile_rows_leave_the_structure_alone(foreign: list[str]) -> None:
    calm = gate(examples=tuple(example(n, "calm") for n in range(len(foreign))), why=("calm",))
    wild = gate(
        examples=tuple(example(n, shown) for n, shown in enumerate(foreign)),
        why=(foreign[0],),
        title=f"Title {foreign[0]}",
        figures=(Figure(name=f"x {foreign[0]}", value=foreign[0], bound=None, ok=False, rows=1),),
    )
    peaceful = gate(
        examples=calm.examples, why=calm.why, title="Title calm", figures=(Figure(name="x", value="calm", ok=False, rows=1),)
    )
    source = summary(record(wild, findings=(foreign[0],)))
    assert blocks(source) == blocks(summary(record(peaceful, findings=("calm",))))
    assert markup(source) <= {"strong_open", "strong_close"}
    assert "@someone" not in plain_text(source)


def test_a_bar_in_a_name_does_not_end_its_cell() -> None:
    named = Figure(name="a | b \\| c", value="x | y", bound=Bound(op="equals", value="p | q"), ok=False, rows=1)
    source = summary(record(gate(figures=(named,))))
    cells = [token.content for token in GFM.parse(source) if token.type == "inline" and token.level == 4]
    assert cells[5:] == ["`text.blank`", "**no**", "`a ¦ b \\¦ c`: `x ¦ y`", "`== p ¦ q`", "3"]


def test_the_longest_summary_fits_into_a_comment() -> None:
    worst = "&`|<" * 400
    many = [
        gate(f"text.gate-{n}", title=worst, why=(worst,) * 20, examples=tuple(example(i, worst) for i in range(5)))
        for n in range(300)
    ]
    waived = [gate(f"waived.gate-{n}", status="waived") for n in range(300)]
    source = summary(record(*many, *waived, findings=(worst,) * 50))
    assert len(source) <= LIMIT
    assert "more gates said no" in source


def test_personal_data_and_secrets_are_not_published() -> None:
    private = gate("privacy.secrets", reason_code="secret", examples=(example(4, "TOKEN-4"),))
    long = gate("length.answer", examples=(example(4, "long TOKEN-4"), example(5, "long TOKEN-5"), example(6, "only long")))
    source = summary(record(long, private), private_rows={5})
    assert "TOKEN" not in source
    assert "»onl«y long" in source
    assert "2 examples not quoted here" in source


def test_a_required_gate_without_a_record_is_named() -> None:
    assert "`schema.record`" in summary(record(gate(), required=("text.blank", "schema.record")))


def test_a_pass_says_what_comes_next() -> None:
    source = summary(record(gate(status="passed", examples=(), rejected=0), verdict="PASSED"))
    assert "PASSED" in source
    assert "`distill export demo --format jsonl --out DIR`" in source
    assert "####" not in source
