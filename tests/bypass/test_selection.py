"""Gates that are left out of the run."""

from __future__ import annotations

from pathlib import Path

from tricks import GATES, Trick, cases, check, conftest

DROP = "items[:] = [i for i in items if 'leak' not in i.name]"


@cases(
    Trick("nothing", harmless=True),
    Trick("k", "it did not run", args=["-k", "not leak"]),
    Trick("m", "it did not run", args=["-m", "not gate"]),
    Trick("deselect", "it did not run", args=["--deselect", "gates/test_own.py::test_leak"]),
    Trick("node-id", args=["gates/test_own.py::test_size"], harmless=True),
    Trick("other-path", args=["other"], files={"other/test_x.py": "def test_x(): pass\n"}, harmless=True),
    Trick("ignore", "it was not collected", args=["--ignore=gates/test_own.py"]),
    Trick("ignore-glob", "it was not collected", args=["--ignore-glob=*own*"]),
    Trick("collect-ignore", "it was not collected", files={"conftest.py": "collect_ignore = ['gates/test_own.py']\n"}),
    Trick("collect-ignore-glob", "it was not collected", files={"gates/conftest.py": "collect_ignore_glob = ['*own*']\n"}),
    Trick(
        "ignore-hook",
        "it was not collected",
        conftest("""
            def pytest_ignore_collect(collection_path):
                return True if "own" in collection_path.name else None
        """),
    ),
    Trick("addopts", "it did not run", env={"PYTEST_ADDOPTS": "-k size"}),
    Trick("ini", "it did not run", files={"pytest.ini": "[pytest]\naddopts = -k size\n"}),
    Trick("other-ini", "it was not collected", args=["-c", "o.ini"], files={"o.ini": "[pytest]\npython_functions = check_*\n"}),
    Trick("python-functions", "it was not collected", args=["-o", "python_functions=test_s*"]),
    Trick("python-files", "it was not collected", args=["-o", "python_files=check_*.py"]),
    Trick("override-ini", "it was not collected", args=["--override-ini=python_functions=test_s*"]),
    Trick("norecursedirs", args=["-o", "norecursedirs=gates"], harmless=True),
    Trick("test-false", "it was not collected", files={"gates/test_own.py": GATES + "\ntest_leak.__test__ = False\n"}),
    Trick("module-test-false", "it was not collected", files={"gates/test_own.py": "__test__ = False\n" + GATES}),
    Trick(
        "class-init",
        "it was not collected",
        files={
            "gates/test_class.py": """
from pytest_distill import gate
class TestMore:
    def __init__(self): pass
    @gate("own.more")
    def test_more(self, batch, require):
        require("rows", batch.rows, at_most=1)
"""
        },
    ),
    Trick(
        "module-skip",
        "it was not collected",
        files={"gates/test_own.py": "import pytest\npytest.skip('x', allow_module_level=True)\n" + GATES},
    ),
    Trick(
        "importorskip",
        "it was not collected",
        files={"gates/test_own.py": "import pytest\npytest.importorskip('nowhere_at_all')\n" + GATES},
    ),
    Trick(
        "module-error",
        "it was not collected",
        args=["--continue-on-collection-errors"],
        files={"gates/test_own.py": "import nowhere_at_all\n" + GATES},
    ),
    Trick("modifyitems", "it did not run", files={"conftest.py": f"def pytest_collection_modifyitems(items):\n    {DROP}\n"}),
    Trick(
        "modifyitems-trylast",
        "it did not run",
        conftest(f"""
            import pytest
            @pytest.hookimpl(trylast=True)
            def pytest_collection_modifyitems(items):
                {DROP}
        """),
    ),
    Trick(
        "modifyitems-wrapper",
        "it did not run",
        conftest(f"""
            import pytest
            @pytest.hookimpl(wrapper=True, tryfirst=True)
            def pytest_collection_modifyitems(items):
                yield
                {DROP}
        """),
    ),
    Trick(
        "collection-finish",
        "it did not run",
        files={"conftest.py": f"def pytest_collection_finish(session):\n    items = session.items\n    {DROP}\n"},
    ),
    Trick(
        "pycollect-makeitem",
        "it was not collected",
        files={"conftest.py": "def pytest_pycollect_makeitem(name):\n    return [] if name == 'test_leak' else None\n"},
    ),
    Trick(
        "gate-deletes-gates",
        "it did not run",
        files={
            "gates/test_aaa.py": """
from pytest_distill import gate
@gate("own.first", rejects="first")
def test_first(request, response, quarantine):
    request.session.items[:] = request.session.items[:1]
    quarantine(response.str.len_chars() > 10**9)
"""
        },
    ),
    Trick("last-failed", "it was not collected", before=[], args=["--lf"]),
    Trick("failed-first", before=[], args=["--ff"], harmless=True),
    Trick("stepwise", "it did not run", before=["--sw"], args=["--sw"]),
    Trick("stop-at-first", before=[], args=["-x"], harmless=True),
)
def test_gates_left_out(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)
