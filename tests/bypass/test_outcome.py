"""Gates that run and decide nothing, or whose decision is turned round."""

from __future__ import annotations

from pathlib import Path

from tricks import DECORATED, GATES, HEAD, Trick, begins, cases, check, edited

JUDGES = "    quarantine(response.str.contains("


def marked(mark: str) -> dict[str, str]:
    return edited(DECORATED, f"@pytest.mark.{mark}\n{DECORATED}")


def fixture(name: str, body: str) -> str:
    return f"\nimport pytest\n@pytest.fixture\ndef {name}():\n    {body}\n"


MUTE = fixture("quarantine", "return lambda *a, **k: None")
EMPTY = fixture("response", "import polars\n    return polars.Series(['x'] * 215)")


@cases(
    Trick("skip-mark", "whether a gate applies is decided by applies=", marked("skip(reason='later')")),
    Trick("skipif-mark", "whether a gate applies is decided by applies=", marked("skipif(True, reason='later')")),
    Trick("skip", "whether a gate applies is decided by applies=", begins("pytest.skip('later')")),
    Trick(
        "skip-afterwards",
        "whether a gate applies is decided by applies=",
        edited(", literal=True))", ", literal=True)); pytest.skip('x')"),
    ),
    Trick("SkipTest", "SkipTest: later", begins("import unittest; raise unittest.SkipTest('later')")),
    Trick(
        "pytestmark",
        "whether a gate applies is decided by applies=",
        edited('@gate("own.leak"', 'pytestmark = pytest.mark.skip\n@gate("own.leak"'),
    ),
    Trick("xfail-mark", "marked xfail", marked("xfail")),
    Trick("xfail-run-false", "xfail", marked("xfail(run=False)")),
    Trick("xfail-strict-false", "marked xfail", marked("xfail(strict=False, reason='known')")),
    Trick("xfail-call", "called xfail", begins("pytest.xfail('known')")),
    Trick(
        "xfail-added",
        "marked xfail",
        edited(HEAD, "def test_leak(response, quarantine, request):\n    request.applymarker(pytest.mark.xfail)\n"),
    ),
    Trick(
        "usefixtures-skip",
        "whether a gate applies",
        {"conftest.py": "import pytest\n@pytest.fixture(autouse=True)\ndef no(request):\n    pytest.skip('x')\n"},
    ),
    Trick("empty-parametrize", "", marked("parametrize('x', [])") | {}),
    Trick("returned-false", "returned a value", begins("return False")),
    Trick("decides-nothing", "never called quarantine", edited(JUDGES, "    (response.str.contains(")),
    Trick(
        "one-name-twice",
        "was not collected",
        {
            "gates/test_own.py": GATES
            + "\n@gate('own.other')\ndef test_leak(batch, require):\n    require('rows', batch.rows, at_least=1)\n"
        },
    ),
    Trick("quarantine-in-conftest", "protected fixture quarantine", {"conftest.py": MUTE}),
    Trick("quarantine-in-gates-conftest", "protected fixture quarantine", {"gates/conftest.py": MUTE}),
    Trick("quarantine-in-module", "protected fixture quarantine", {"gates/test_own.py": GATES + MUTE}),
    Trick("quarantine-parametrized", "", marked("parametrize('quarantine', [lambda *a, **k: None], ids=['x'])")),
    Trick("column-in-conftest", "used no column", {"conftest.py": EMPTY}),
    Trick("column-in-module", "protected fixture response", {"gates/test_own.py": GATES + EMPTY}),
    Trick("column-parametrized", "", marked("parametrize('response', ['x'], ids=['x'])")),
    Trick(
        "column-through-getfixturevalue",
        "protected fixture response",
        {
            "gates/test_own.py": GATES.replace("(response, quarantine)", "(request, quarantine)").replace(
                "response.str", "request.getfixturevalue('response').str"
            )
            + EMPTY
        },
    ),
    Trick("python-O", "removes assert", python=["-P", "-O"]),
    Trick("PYTHONOPTIMIZE", "removes assert", env={"PYTHONOPTIMIZE": "1"}),
    Trick("assert-plain", "--assert=plain", args=["--assert=plain"]),
    Trick(
        "reruns",
        "AssertionError",
        edited(DECORATED + HEAD, f"N = []\n{DECORATED}{HEAD}    N.append(1)\n    assert len(N) > 1\n"),
        ["--reruns", "2"],
    ),
    Trick("reruns-without-need", args=["--reruns", "2"], harmless=True),
    Trick(
        "flaky-mark",
        "AssertionError",
        edited(
            DECORATED + HEAD, f"N = []\n@pytest.mark.flaky(reruns=2)\n{DECORATED}{HEAD}    N.append(1)\n    assert len(N) > 1\n"
        ),
    ),
    Trick(
        "subtests",
        "subtests",
        edited(HEAD + JUDGES, "def test_leak(response, quarantine, subtests):\n  with subtests.test('x'):\n" + JUDGES),
    ),
    Trick(
        "constant-mask",
        "used no column",
        edited('response.str.contains("Quidditch", literal=True)', "__import__('polars').Series([False]*215)"),
    ),
    Trick("constant-figure", "used no column", edited("batch.rows", "5")),
    Trick(
        "swallowing",
        "rows rejected is 1",
        edited(JUDGES, "  with __import__('contextlib').suppress(BaseException):\n" + JUDGES),
        harmless=True,
    ),
)
def test_outcomes_turned_round(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)
