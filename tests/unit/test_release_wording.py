"""Foreign text in Markdown and YAML stays text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.contracts.run import Bound, Figure
from pytest_distill.release.wording import figure_text, markdown, yaml


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain text, 1.5% (a-b)", "plain text, 1.5% (a-b)"),
        ("a|b", r"a\|b"),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("&lt;", "&amp;lt;"),
        ("[x](javascript:1)", r"\[x\](javascript:1)"),
        ("https://evil.example", r"https\://evil.example"),
        ("www.evil.example", r"www\.evil.example"),
        ("# heading", r"\# heading"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("two\nlines", r"two\\nlines"),
        ("\x1b[31mred", r"\\x1b\[31mred"),
        ("\u202etxt", r"\\u202etxt"),
    ],
)
def test_markdown_shows_the_text_itself(text: str, shown: str) -> None:
    assert markdown(text) == shown


@given(st.text())
def test_markdown_is_one_printable_line_without_html(text: str) -> None:
    shown = markdown(text)
    assert shown.isprintable()
    assert "<" not in shown
    assert ">" not in shown


@given(st.text(st.characters(codec="utf-8")))
def test_yaml_scalars_are_one_quoted_line(text: str) -> None:
    scalar = yaml(text)
    assert scalar.startswith('"')
    assert len(scalar.splitlines()) == 1
    # The only escapes that JSON lacks are the wide ones; read those, and it is JSON again.
    import re

    as_json = re.sub(r"(?<!\\)((?:\\\\)*)\\U([0-9a-f]{8})", lambda m: m[1] + json.dumps(chr(int(m[2], 16)))[1:-1], scalar)
    assert json.loads(as_json) == text


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (
            Figure(name="median", value=38.0, bound=Bound(op="below", value=40), ok=True, unit="tokens", rows=1),
            "median: 38 tokens (< 40)",
        ),
        (
            Figure(name="rows rejected", value=3, bound=Bound(op="at_most", value=0), ok=False, unit="rows", rows=1),
            "rows rejected: 3 (<= 0)",
        ),
        (Figure(name="share", value=1 / 3, ok=True, rows=1), "share: 0.333333"),
        (Figure(name="nothing", value=None, ok=False, rows=0), "nothing: none"),
    ],
)
def test_figures_read_as_people_say_them(figure: Figure, text: str) -> None:
    assert figure_text(figure) == text
