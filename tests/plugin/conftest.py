"""The workspace that every test of the plugin starts from."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from workbench import Bench, curated


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a batch "demo" of 30 good rows in three shards, judged once so that its cache is warm."""
    made = Bench(tmp_path_factory.mktemp("template") / "ws")
    made.batch(curated(30), shard_rows=10)
    with pytest.MonkeyPatch.context() as patch:
        # Nothing outside the tests' own folders is touched, and the key of the cache is one for all of them.
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("home")))
        patch.delenv("PYTEST_ADDOPTS", raising=False)
        made.judge()
        yield made.root


@pytest.fixture(scope="session")
def make_bench(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Bench]:
    """Makes such a workspace, without the template's runs."""

    def make() -> Bench:
        made = Bench(tmp_path_factory.mktemp("bench") / "ws")
        shutil.copytree(template / "batches", made.root / "batches")
        shutil.copytree(template / ".distill" / "cache", made.root / ".distill" / "cache")
        return made

    return make


@pytest.fixture
def bench(make_bench: Callable[[], Bench]) -> Bench:
    return make_bench()
