"""Code of the workspace that reaches into the judge: what an in-process check can see, it names."""

from __future__ import annotations

from pathlib import Path

from tricks import DECORATED, GATES, HEAD, Trick, begins, cases, check, code, conftest, edited

EVIDENCE = "pytest_distill.gating.evidence"
JUDGE = "pytest_distill.gating.judge"


def autouse(body: str) -> dict[str, str]:
    """An autouse fixture of the root conftest."""
    lines = "".join(f"    {line}\n" for line in code(body).splitlines())
    return conftest(f"import pytest\nimport polars as pl\n@pytest.fixture(autouse=True)\ndef reach(request):\n{lines}")


@cases(
    Trick("holds", f"{EVIDENCE}.holds was replaced", conftest(f"import {EVIDENCE} as e\ne.holds = lambda *a: True")),
    Trick(
        "holds-code",
        f"{EVIDENCE}.holds was replaced",
        conftest(f"import {EVIDENCE} as e\ne.holds.__code__ = (lambda value, bound: True).__code__"),
    ),
    Trick(
        "require",
        f"{EVIDENCE}.Require.__call__ was replaced",
        conftest(f"import {EVIDENCE} as e\ne.Require.__call__ = lambda *a, **k: None"),
    ),
    Trick("problems", f"{JUDGE}.problems was replaced", conftest(f"import {JUDGE} as j\nj.problems = lambda seen: []")),
    Trick("verdict", f"{JUDGE}.verdict was replaced", conftest(f"import {JUDGE} as j\nj.verdict = lambda *a: 'PASSED'")),
    Trick("builtin-of-the-judge", f"{JUDGE}.all was replaced", conftest(f"import {JUDGE} as j\nj.all = lambda x: True")),
    Trick(
        "Series.sum",
        "polars.series.series.Series.sum was replaced",
        conftest("import polars\npolars.Series.sum = lambda self: 0"),
    ),
    Trick(
        "Series.str.contains",
        "StringNameSpace.contains was replaced",
        conftest("""
            import polars as pl
            pl.Series(['']).str.__class__.contains = lambda self, *a, **k: pl.Series([False] * 215)
        """),
    ),
    Trick(
        "standard-measure-code",
        "answer_text was replaced",
        conftest("""
            from pytest_distill.gates.measures import text
            from pytest_distill.measuring.measure import declaration
            declaration(text.answer_text).function.__code__ = (lambda response=None, **k: response).__code__
        """),
    ),
    Trick(
        "standard-gate-code",
        "was replaced by code of conftest.py",
        conftest("import pytest_distill.gates.test_symbols as t\nt.test_symbols.__code__ = (lambda *a: None).__code__"),
    ),
    Trick(
        "standard-gate",
        "its source does not declare",
        conftest("""
            import pytest_distill.gates.test_symbols as t
            def test_symbols(quarantine): pass
            test_symbols.pytestmark = t.test_symbols.pytestmark
            t.test_symbols = test_symbols
        """),
    ),
    Trick("settrace", "through sys.settrace", conftest("import sys\nsys.settrace(lambda frame, event, arg: None)")),
    Trick("setprofile", "through sys.setprofile", conftest("import sys\nsys.setprofile(lambda frame, event, arg: None)")),
    Trick(
        "argument-quarantine",
        "the argument quarantine of",
        autouse("""
            if 'quarantine' in request.node.fixturenames:
                real = request.getfixturevalue('quarantine')
                request.node.funcargs['quarantine'] = lambda mask, **k: real(mask & False)
        """),
    ),
    Trick("argument-column", "the argument response of", autouse("request.node.funcargs['response'] = pl.Series([''] * 215)")),
    Trick(
        "session-scoped-override",
        "protected fixture quarantine",
        {
            **conftest("""
                import pytest
                @pytest.fixture(scope='session')
                def quarantine():
                    return lambda *a, **k: None
            """),
            "gates/test_own.py": GATES.replace("(response, quarantine)", "(request, response)").replace(
                "    quarantine(", "    request.getfixturevalue('quarantine')("
            ),
        },
    ),
    *[
        Trick(
            f"written-into-{name}",
            files={
                "gates/test_aaa.py": code(f"""
                    from pytest_distill import gate

                    @gate("own.aaa", rejects="aaa")
                    def test_aaa(response, batch, quarantine):
                        column = {column}
                        mask = column.str.len_chars() > 10**9
                        for row in range(len(column)):
                            column[row] = ""
                        quarantine(mask)
                """)
            },
            harmless=True,
        )
        for name, column in {"column": "response", "column-of-the-batch": "batch.column('response')"}.items()
    ],
    Trick(
        "mask-edited-in-teardown",
        files={
            "gates/test_own.py": GATES.replace(
                DECORATED,
                code("""
                    MASKS = []

                    @pytest.fixture
                    def later():
                        yield
                        MASKS[0][-1] = False

                """)
                + DECORATED,
            )
            .replace("(response, quarantine)", "(response, quarantine, later)")
            .replace("    quarantine(response", "    MASKS.append(response")
            .replace("literal=True))", "literal=True))\n    quarantine(MASKS[0])")
        },
        harmless=True,
    ),
    Trick(
        "standard-measure-in-conftest",
        "protected fixture answer_text",
        conftest("""
            import polars as pl
            from pytest_distill import measure
            @measure(version=1)
            def answer_text(response: pl.Series) -> pl.Series:
                return pl.Series(['fine'] * len(response))
        """),
    ),
    Trick(
        "standard-measure-as-fixture",
        "protected fixture answer_text",
        conftest("""
            import polars, pytest
            @pytest.fixture
            def answer_text():
                return polars.Series(['fine'] * 215)
        """),
    ),
    Trick(
        "thread-left-behind",
        files=conftest("import threading, time\nthreading.Thread(target=lambda: time.sleep(0.2)).start()"),
        harmless=True,
    ),
)
def test_code_that_reaches_into_the_judge(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


def more(text: str, gate: str = "@gate('own.more')", name: str = "gates/test_more.py") -> dict[str, str]:
    """A further file, with a gate that says no if it runs."""
    body = "def test_more(batch, require):\n    require('rows', batch.rows, at_most=1)\n"
    return {name: f"{text}\n{gate}\n{body}"}


IMPORT = "from pytest_distill import gate"
LEFT_OUT = ["--ignore=gates/test_more.py"]


@cases(
    Trick(
        "unittest-case",
        "own.case: it did not run",
        {
            "gates/test_case.py": code("""
                import unittest
                from pytest_distill import gate

                class TestCase(unittest.TestCase):
                    @gate("own.case")
                    def test_case(self):
                        pass
            """)
        },
    ),
    Trick(
        "setup-class-skips",
        "own.class: setup: ",
        {
            "gates/test_class.py": code("""
                import unittest
                from pytest_distill import gate

                class TestClass:
                    @classmethod
                    def setup_class(cls):
                        raise unittest.SkipTest("later")

                    @gate("own.class")
                    def test_class(self, batch, require):
                        require("rows", batch.rows, at_least=1)
            """)
        },
    ),
    Trick("async", "own.leak", edited(HEAD, f"async {HEAD}")),
    Trick("generator", "own.leak", begins("yield")),
    Trick(
        "decorated",
        "its source does not declare",
        edited(
            DECORATED,
            code("""
                def calm(function):
                    def wrapper(response, quarantine):
                        pass
                    wrapper.pytestmark = function.pytestmark
                    return wrapper

                @calm
            """)
            + DECORATED,
        ),
    ),
    Trick(
        "wrapped",
        "its source does not declare",
        edited(DECORATED, f"{DECORATED}@(lambda f: __import__('functools').wraps(f)(lambda response, quarantine: None))\n"),
    ),
    Trick("alias", "imports gate under another name", more("from pytest_distill import gate as g", "@g('own.more')"), LEFT_OUT),
    Trick("factory", "uses gate otherwise", more(f"{IMPORT}\nmine = lambda i: gate(i)", "@mine('own.more')"), LEFT_OUT),
    Trick("value-of-mark", "uses gate otherwise", more("import pytest\nmine = pytest.mark.gate", "@mine('own.more')"), LEFT_OUT),
    Trick("mark", "own.more: it was not collected", more("import pytest", "@pytest.mark.gate('own.more')"), LEFT_OUT),
    Trick(
        "nested",
        "uses gate otherwise",
        {
            "gates/test_more.py": code("""
                import pytest_distill as d
                def make():
                    @d.gate('own.more')
                    def test_more(batch, require):
                        require('rows', batch.rows, at_most=1)
                    return test_more
                test_more = make()
            """)
        },
        LEFT_OUT,
    ),
    Trick("no-test-file", "own.more: it was not collected", more(IMPORT, name="gates/deep/more.py")),
    Trick("in-conftest", "own.more: it was not collected", more(IMPORT, name="gates/conftest.py")),
    Trick("outside-the-gates", "its source does not declare", more(IMPORT, name="other/test_more.py"), ["other"]),
    Trick(
        "under-if",
        "own.more: it was not collected",
        {
            "gates/test_more.py": code("""
                from pytest_distill import gate
                if False:
                    @gate("own.more")
                    def test_more(batch, require):
                        require("rows", batch.rows, at_most=1)
            """)
        },
    ),
    Trick("no-gate", "is no gate", more("", "")),
    Trick("id-twice", "is declared twice", {"gates/test_more.py": GATES}),
    Trick("id-of-the-suite", "is declared twice", edited('"own.leak"', '"text.blank"')),
    Trick("id-lookalike", "has the gate id", edited('"own.leak"', '"own.l\u0435ak"')),
)
def test_gates_declared_otherwise(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


EVIL = "def pytest_runtest_makereport():\n    pass\n"


@cases(
    Trick("p-of-the-workspace", "pytest_runtest_makereport", {"evil.py": EVIL}, ["-p", "evil"], python=()),
    Trick("pytest_plugins", "pytest_runtest_makereport", {"gates/evil.py": EVIL, **conftest("pytest_plugins = ['gates.evil']")}),
    Trick(
        "pythonpath-of-the-ini",
        "pytest_runtest_makereport",
        {"lib/evil.py": EVIL, "pytest.ini": "[pytest]\npythonpath = lib\naddopts = -p evil\n"},
    ),
    Trick(
        "sitecustomize",
        f"{EVIDENCE}.holds was replaced",
        {
            "sitecustomize.py": code(f"""
                import sys
                class Finder:
                    def find_spec(self, name, path=None, target=None):
                        if name == "pytest_distill.gating.keeper":
                            import {EVIDENCE} as e
                            e.holds = lambda *a: True
                sys.meta_path.insert(0, Finder())
            """)
        },
        env={"PYTHONPATH": "."},
    ),
    Trick("polars.py", "polars", {"polars.py": "Series = object\n"}, python=()),
    Trick("stdlib", "the library colorsys is not the installed one", {"colorsys.py": "\n", **conftest("import colorsys")}),
    Trick("import-mode-importlib", args=["--import-mode=importlib"], harmless=True),
    Trick("import-mode-append", args=["--import-mode=append"], harmless=True),
    Trick("rootdir", args=["--rootdir=/"], harmless=True),
    Trick("confcutdir", args=["--confcutdir=/"], harmless=True),
    Trick("noconftest", args=["--noconftest"], files=conftest("def pytest_runtestloop():\n    return True"), harmless=True),
    Trick("no-cache", args=["--distill-no-cache"], harmless=True),
    Trick(
        "empty-parameter-set",
        "xfail",
        {
            "pytest.ini": "[pytest]\nempty_parameter_set_mark = xfail\n",
            "gates/test_own.py": GATES.replace(DECORATED, f"@pytest.mark.parametrize('x', [])\n{DECORATED}").replace(
                "(response, quarantine)", "(x, response, quarantine)"
            ),
        },
    ),
)
def test_ways_of_starting(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


XDIST = ["-n", "2"]


@cases(
    Trick("n", args=XDIST, harmless=True),
    Trick("each", args=[*XDIST, "--dist=each"], harmless=True),
    Trick("loadfile", args=[*XDIST, "--dist=loadfile"], harmless=True),
    Trick("k", "it did not run", args=[*XDIST, "-k", "not leak"]),
    Trick("crash", "", begins("import os; os._exit(0)"), XDIST),
    Trick("exit", "", begins("pytest.exit('done', returncode=0)"), XDIST),
    Trick(
        "scheduler",
        files=conftest("""
            import pytest
            @pytest.hookimpl(tryfirst=True)
            def pytest_xdist_make_scheduler(config, log):
                from xdist.scheduler import LoadScheduling
                return LoadScheduling(config, log)
        """),
        args=XDIST,
        harmless=True,
    ),
    Trick(
        "another-batch-for-the-worker",
        files=conftest("""
            import pytest
            class Node:
                @pytest.hookimpl(trylast=True)
                def pytest_configure_node(self, node):
                    told = node.workerinput["distill_batch"]
                    node.workerinput["distill_batch"] = told.replace("batches/leaking", "batches/sealed")
            def pytest_sessionstart(session):
                if session.config.pluginmanager.hasplugin("dsession"):
                    session.config.pluginmanager.register(Node())
        """),
        args=XDIST,
        why_leaking="the worker judged sealed",
        harmless=True,
    ),
    Trick(
        "makereport",
        "pytest_runtest_makereport",
        conftest("""
            import pytest
            @pytest.hookimpl(wrapper=True)
            def pytest_runtest_makereport():
                report = yield
                report.outcome = "passed"
                return report
        """),
        XDIST,
    ),
)
def test_distributed(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)
