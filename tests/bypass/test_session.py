"""A session that is ended, replaced or told a different result; modes that judge nothing; the plugin switched off."""

from __future__ import annotations

from pathlib import Path

from tricks import Trick, begins, cases, check, conftest

UNFINISHED = "the run did not reach its end"


IMPORTS = "import os\nimport pytest\n"


def hook(text: str, how: str = "tryfirst=True") -> dict[str, str]:
    """A hook of the root conftest."""
    return conftest(f"{IMPORTS}@pytest.hookimpl({how})\n{text}")


@cases(
    Trick("exit-0", "Exit", begins("pytest.exit('done', returncode=0)")),
    Trick("os-exit-0", UNFINISHED, begins("import os; os._exit(0)"), exits_zero=True),
    Trick("sys-exit-0", "SystemExit", begins("import sys; sys.exit(0)")),
    Trick("keyboard-interrupt", "KeyboardInterrupt", begins("raise KeyboardInterrupt")),
    Trick("exit-in-conftest", "", conftest(IMPORTS + "pytest.exit('done', returncode=0)"), exits_zero=True),
    Trick(
        "exit-in-collection",
        "it did not run",
        conftest(IMPORTS + "def pytest_collection_finish():\n    pytest.exit('done', returncode=0)"),
    ),
    Trick(
        "exit-in-sessionstart",
        UNFINISHED,
        conftest(IMPORTS + "def pytest_sessionstart():\n    pytest.exit('done', returncode=0)"),
    ),
    Trick("runtestloop", "pytest_runtestloop", hook("def pytest_runtestloop():\n    return True")),
    Trick(
        "protocol",
        "pytest_runtest_protocol",
        hook("def pytest_runtest_protocol():\n    return True"),
    ),
    Trick(
        "call",
        "pytest_runtest_call",
        hook(
            "def pytest_runtest_call():\n    try:\n        yield\n    except BaseException:\n        pass",
            "wrapper=True, tryfirst=True",
        ),
    ),
    Trick("pyfunc", "pytest_pyfunc_call", hook("def pytest_pyfunc_call():\n    return True")),
    Trick("cmdline-main", "", conftest(IMPORTS + "def pytest_cmdline_main():\n    return 0")),
    Trick(
        "makereport",
        "pytest_runtest_makereport",
        hook(
            "def pytest_runtest_makereport():\n    report = yield\n    report.outcome = 'passed'\n    return report",
            "wrapper=True, tryfirst=True",
        ),
    ),
    Trick(
        "logreport",
        "pytest_runtest_logreport",
        hook("def pytest_runtest_logreport(report):\n    report.outcome = 'passed'"),
    ),
    Trick(
        "node-obj",
        "was replaced after it was collected",
        conftest(IMPORTS + "@pytest.fixture(autouse=True)\ndef no(request):\n    request.node.obj = lambda *a, **k: None"),
    ),
    Trick(
        "node-code",
        "was replaced after it was collected",
        conftest("""
            import pytest
            @pytest.fixture(autouse=True)
            def no(request):
                request.node.obj.__code__ = (lambda response, quarantine: None).__code__
        """),
    ),
    Trick(
        "testsfailed",
        "",
        conftest(IMPORTS + "@pytest.fixture(autouse=True)\ndef no(request):\n    yield\n    request.session.testsfailed = 0"),
        harmless=True,
    ),
    Trick(
        "sessionfinish",
        "pytest_sessionfinish",
        hook("def pytest_sessionfinish(session):\n    session.exitstatus = 0", "trylast=True"),
    ),
    Trick(
        "sessionfinish-outermost",
        "pytest_sessionfinish",
        hook("def pytest_sessionfinish(session):\n    yield\n    session.exitstatus = 0", "wrapper=True, tryfirst=True"),
    ),
    Trick("unconfigure", "pytest_unconfigure", conftest(IMPORTS + "def pytest_unconfigure():\n    os._exit(0)"), exits_zero=True),
    Trick(
        "terminal-summary",
        "pytest_terminal_summary",
        conftest(IMPORTS + "def pytest_terminal_summary():\n    os._exit(0)"),
        exits_zero=True,
    ),
)
def test_sessions_cut_short(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


@cases(
    Trick("collect-only", args=["--collect-only"], exits_zero=True),
    Trick("setup-plan", "--setup-plan", args=["--setup-plan"]),
    Trick("setup-only", "--setup-only", args=["--setup-only"]),
    Trick("fixtures", args=["--fixtures"], exits_zero=True),
    Trick("fixtures-per-test", args=["--fixtures-per-test"], exits_zero=True),
    Trick("markers", args=["--markers"], exits_zero=True),
    Trick("help", args=["--help"], exits_zero=True),
    Trick("version", args=["--version"], exits_zero=True),
    Trick("cache-show", args=["--cache-show"], exits_zero=True),
)
def test_modes_that_judge_nothing(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


def at(hook: str, text: str) -> dict[str, str]:
    return conftest(f"{IMPORTS}def {hook}:\n    {text}")


PARTS = ("keeper", "run", "collector", "fixtures", "terminal")


@cases(
    Trick("no-distill", "--distill-batch", args=["-p", "no:distill"]),
    Trick("no-autoload", "--distill-batch", env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}),
    *[Trick(f"no-{part}", f"the plugin distill-{part} is blocked", args=["-p", f"no:distill-{part}"]) for part in PARTS],
    Trick("no-columns", "which is no column, measure or fixture", args=["-p", "no:distill-columns-of-the-batch"]),
    *[
        Trick(
            f"unregister-{p}",
            UNFINISHED if p == "run" else f"the plugin distill-{p} was taken out",
            at("pytest_sessionstart(session)", f"session.config.pluginmanager.unregister(name='distill-{p}')"),
        )
        for p in PARTS[:4]
    ],
    *[
        Trick(
            f"unregister-late-{p}",
            UNFINISHED if p == "run" else f"the plugin distill-{p} was taken out",
            at("pytest_collection_finish(session)", f"session.config.pluginmanager.unregister(name='distill-{p}')"),
        )
        for p in PARTS[:3]
    ],
    Trick(
        "blocked-by-conftest", "", at("pytest_configure(config)", "config.pluginmanager.set_blocked('distill')"), harmless=True
    ),
    Trick(
        "blocked-keeper",
        "the plugin distill-keeper is blocked",
        conftest("""
            def pytest_addoption(parser, pluginmanager):
                pluginmanager.set_blocked("distill-keeper")
        """),
    ),
    Trick("no-python", "", args=["-p", "no:python"]),
    Trick("no-runner", "", args=["-p", "no:runner"]),
)
def test_the_plugin_switched_off(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)
