"""One Ray cluster with two workers for all tests of the session, started by the engine itself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_distill import clock
from pytest_distill.engine import cluster as clusters
from pytest_distill.engine.cluster import Ray

TESTS = Path(__file__).parents[1]
for folder in ("unit", "plugin"):  # their builders of runs, token sets and workspaces
    sys.path.append(str(TESTS / folder))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Ray]:
    pytest.importorskip("ray", reason="Ray is not installed: no engine of it was tested")
    with Ray(2) as engine:
        yield engine


@pytest.fixture(scope="session")
def address(cluster: Ray) -> Iterator[str]:
    """Where the cluster of this session answers, to this process and to those it starts."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in clusters._TOKEN.items():  # as a user does who was told the token
            patch.setenv("RAY_AUTH_MODE", "token")
            patch.setenv(name, value)
        yield cluster.address


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_pinned", None)
    clock.pin("2026-01-31T12:00:00Z")
