"""The one run that all invariants look at, and the list of what became of each, for `distill acceptance`."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from pytest_distill import storage
from pytest_distill.pipelines.acceptance.run import Acceptance, run

OUTCOMES: pytest.StashKey[dict[str, str]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--acceptance-report", type=Path, metavar="FILE", help="what became of each invariant, as JSON")


@pytest.fixture(scope="session")
def acceptance(tmp_path_factory: pytest.TempPathFactory) -> Acceptance:
    return run(tmp_path_factory.mktemp("acceptance"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    outcomes = item.session.config.stash.setdefault(OUTCOMES, {})
    if report.when == "call" or report.outcome != "passed":  # a failing set-up is a failing invariant
        outcomes[item.name] = report.outcome
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--acceptance-report")
    if path is not None:
        storage.write_json(path, session.config.stash.get(OUTCOMES, {}))
