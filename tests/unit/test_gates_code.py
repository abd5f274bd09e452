"""Code in answers: what must be caught, what must be left alone, and that nothing is run or can hurt."""

from __future__ import annotations

import gzip
import json
import os
import time
import warnings
from pathlib import Path

import polars as pl
import pytest
from fair_answers import FAIR
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.gates.measures.code import blocks, code_fault, code_findings
from pytest_distill.measuring.measure import declaration

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))


def fault(answer: str, prompt: str = "Write it.") -> str | None:
    return declaration(code_fault).function(pl.Series([prompt]), pl.Series([answer]))[0]


def lint(*answers: str) -> list[str | None]:
    return declaration(code_findings).function(pl.Series(["Write it."] * len(answers)), pl.Series(answers)).to_list()


def fenced(language: str, body: str) -> str:
    return f"Here:\n\n```{language}\n{body}\n```\n\nDone."


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (fenced("python", "def f(:\n    pass"), "python: "),
        (fenced("py", "print('a"), "unterminated"),
        (fenced("json", '{"a": 1,}'), "json: "),
        (fenced("json", "{'a': 1}"), "json: "),
        (fenced("toml", "a = = 1"), "toml: "),
        ("1. First:\n\n   ```python\n   x = (\n   ```", "python: "),
        ("def f(x):\n    return (x\n", "python: "),
        (fenced("python", "x = 1\x00"), "python: "),
        (fenced("python", "(" * 5000), "too deeply nested"),
        (fenced("json", "[" * 100_000), "too deeply nested"),
        (fenced("python", "x = 1\n" * 100_000), "too large"),
    ],
)
def test_code_that_does_not_parse(answer, said):
    assert said in (fault(answer) or "")


@pytest.mark.parametrize(
    "answer",
    [
        *FAIR,
        fenced("python", "print('hi')  # no ### problem"),
        fenced("python", "return x"),
        fenced("python", "await f()"),
        fenced("python", ">>> 1 +\n... 1\n2"),
        fenced("python", "def f():\n    ...\n\nclass A(B, ...): pass"),
        fenced("python", "foo(a, ...\n"),
        fenced("python", "import re\nre.compile('\\d')"),
        fenced("json", '{"a": [1, 2, ...]}'),
        fenced("json", '{"a": 1}\n{"a": 2}'),
        fenced("", "any text (at all"),
        fenced("javascript", "const x = {;"),
        fenced("bash", "if [ -f x ]; then"),
        "  1. Step\n\n     ```python\n     if True:\n         x = 1\n     ```",
        "import java.util.List;\n\npublic class A { }",
        "import Data.Char\n\nmain :: IO ()\nmain = print 1",
        "from the beginning it was clear that (this is prose",
        "class struggle, said Marx (in a way",
        "import React from 'react'\nconst A = () => (<div/>)",
        "def add(a, b)\n  a + b\nend",
    ],
)
def test_code_that_parses_and_what_is_not_judged(answer):
    assert fault(answer) is None


def test_the_prompt_may_say_that_it_is_python():
    assert fault("squares = [x*x for x in range(10)", "Write Python code.") is not None
    assert fault("squares = [x*x for x in range(10)", "Write Ruby code.") is None


def test_findings_of_the_linter():
    got = lint(
        fenced("python", "print(total)"),
        fenced("python", "total = 1\nprint(total)"),
        fenced("python", "def f(:"),
        "no code",
        fenced("python", "x = 1\nif x is 'a': pass"),
    )
    assert got[0].startswith("F821")
    assert got[1:4] == [None, None, None]
    assert got[4].startswith("F632")


def test_nothing_is_run_and_no_warning_escapes(tmp_path):
    mark = tmp_path / "ran"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answer = fenced("python", f"open({str(mark)!r}, 'w')\nassert (1, 'always')\n'\\q'\n1 is 1")
        assert fault(answer) is None
        lint(answer)
    assert not mark.exists()


@given(st.text(alphabet=st.sampled_from(list("`~pyjson {}[]()\"'\n\t:=#x0.\x00\\")), max_size=120))
def test_no_answer_breaks_the_parsers(text):
    for answer in (text, f"```python\n{text}\n```", f"```json\n{text}\n```", f"```toml\n{text}\n```"):
        fault(answer)


@pytest.mark.parametrize(
    "text",
    [
        "```" * 50_000,
        "```python\n" * 20_000,
        "~~~" * 50_000,
        "def f():\n" + " " * 200_000,
        "import a, " + "a, " * 60_000,
        "class A(" + "a, " * 60_000,
    ],
)
def test_no_answer_hangs_the_search_for_blocks(text):
    started = time.process_time()
    blocks("python", text)
    assert time.process_time() - started < 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: real answers in code were not judged")
def test_real_answers():
    with gzip.open(SHARED / "code" / "codegen_instruct.json.gz") as file:
        rows = json.load(file)
    prompts, answers = (pl.Series([row[key] for row in rows]) for key in ("instruction", "response"))
    found = declaration(code_fault).function(prompts, answers)
    judged = sum(bool(blocks(p, a)) for p, a in zip(prompts, answers, strict=True))
    assert judged > 1000
    assert 10 <= found.is_not_null().sum() <= 14  # each of the twelve was read: every one is broken
