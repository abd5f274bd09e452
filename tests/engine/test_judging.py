"""A judgement on the workers of a cluster, as a user starts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_ray import ABANDONED
from workbench import Bench, curated

pytestmark = ABANDONED
pytest.importorskip("ray", reason="Ray is not installed: no engine of it was tested")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    made = Bench(tmp_path / "ws")
    made.batch(curated(30), shard_rows=10)
    return made


def test_with_xdist_the_worker_that_judges_asks_the_cluster(bench: Bench, address: str) -> None:
    ended = bench.subprocess("-n", "2", "--distill-no-cache", "--distill-engine=ray", f"--distill-ray-address={address}")
    assert ended.sealed, ended.out
    assert ended.times.engine == "ray"
    assert ended.times.measured_here == ()


def test_a_cluster_that_asks_for_a_token_is_one_line(bench: Bench, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    ended = bench.subprocess("--distill-no-cache", "--distill-engine=ray", f"--distill-ray-address={address}")
    assert ended.code != 0
    assert not ended.sealed
    assert "asks for a token" in ended.out + ended.err
    assert "RAY_AUTH_MODE=token" in ended.out + ended.err


def test_a_cluster_that_is_not_there_is_one_line_and_no_verdict(bench: Bench) -> None:
    ended = bench.subprocess("--distill-engine=ray", "--distill-ray-address=127.0.0.1:1")
    assert ended.code == 4
    assert [line[:17] for line in ended.err.splitlines()] == ["ERROR [E-ENGINE]:"]
    assert ended.folder is None


def test_an_address_without_the_engine_is_refused(bench: Bench) -> None:
    ended = bench.subprocess("--distill-ray-address=127.0.0.1:6379")
    assert (ended.code, ended.err.count("\n")) == (4, 1)
    assert "E-USAGE" in ended.err
