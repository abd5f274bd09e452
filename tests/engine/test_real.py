"""A slice of real rows: preprocessed, tokenized and judged locally, by two workers and by Ray, to the same bytes.

`DISTILL_ENGINE_ROWS` says how many rows (default 2,000).
"""

from __future__ import annotations

import gzip
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from preprocess_runs import make_workspace, run
from test_ray import ABANDONED, files
from workbench import Bench

from pytest_distill.batch import write
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.engine.cluster import Ray
from pytest_distill.engine.local import Processes, Threads
from pytest_distill.pipelines.tokenize import blocks
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import load
from pytest_distill.policy import workspace as workspaces

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", Path(__file__).parents[2] / "../shared/data"))
REAL = SHARED / "instruct" / "self_instruct_t0.jsonl.gz"
ROWS = int(os.environ.get("DISTILL_ENGINE_ROWS", "2000"))
NOW = "2026-01-31T12:00:00Z"

pytestmark = [
    ABANDONED,
    pytest.mark.skipif(not REAL.is_file(), reason="no self_instruct_t0: engines were not compared on real rows"),
]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("real") / "rows.jsonl"
    with gzip.open(REAL, "rt", encoding="utf-8") as file:
        path.write_text("".join(itertools.islice(file, ROWS)), encoding="utf-8")
    return path


def timed(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.usefixtures("pinned")
def test_preprocessing(cluster: Ray, real: Path, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    cluster.address  # noqa: B018 - its start is not the work's
    found, seconds = {}, {}
    for name, engine in (("one process", Processes()), ("two processes", Processes(2)), ("Ray, two workers", cluster)):
        place = make_workspace(tmp_path / name)
        seconds[name] = timed(lambda place=place, engine=engine: run(place, [real], unit_rows=256, engine=engine))
        found[name] = files(place.root)
    first, *others = found.values()
    assert len(first) > 5
    assert all(other == first for other in others)
    record_property("figure", f"preprocessing {ROWS:,} real rows: the same {len(first)} files; {told(seconds)}")


@pytest.mark.usefixtures("pinned")
def test_tokenizing(
    cluster: Ray, real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: pytest.RecordProperty
) -> None:
    cluster.address  # noqa: B018 - as above
    monkeypatch.setattr(blocks, "BLOCK_DOCUMENTS", 200)
    found, seconds = {}, {}
    for name, engine in (("one thread", Threads(1)), ("two threads", Threads(2)), ("Ray, two workers", cluster)):
        out, sources = tmp_path / name, Files([real], "text")
        order = Order("real", "v1", shard_tokens=100_000)
        seconds[name] = timed(lambda: tokenize(sources, load(), out, order, engine=engine))  # noqa: B023 - called at once
        found[name] = files(out)
    first, *others = found.values()
    assert len(first) > 6
    assert all(other == first for other in others)
    record_property("figure", f"tokenizing {ROWS:,} real rows: the same {len(first)} files; {told(seconds)}")


def test_judging(address: str, real: Path, tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    """Evidence, verdict and quarantine, byte for byte, with a measure of the workspace and one that stays in this process."""
    bench = Bench(tmp_path / "ws")
    bench.gates(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_ROWS", max(1, ROWS // 6))
        ingest([real], workspaces.load(bench.root), "demo", kind="sft")
    found, seconds = {}, {}
    for name, options in (
        ("one thread", ["--distill-workers=1"]),
        ("two threads", ["--distill-workers=2"]),
        ("Ray, two workers", ["--distill-workers=2", "--distill-engine=ray", f"--distill-ray-address={address}"]),
    ):
        command = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=demo"]
        command += ["--distill-no-cache", f"--distill-now={NOW}", *options]
        done: list[subprocess.CompletedProcess[str]] = []
        seconds[name] = timed(
            lambda command=command, done=done: done.append(
                subprocess.run(command, cwd=bench.root, capture_output=True, text=True, check=False)
            )
        )
        folder = bench.newest()
        assert folder is not None, done[0].stderr
        # What is left out says when and where: times, the page about them, and the ledger line that a seal names.
        kept = [path for path in folder.iterdir() if path.name not in ("run.json", "report.html", "seal.json")]
        found[name] = {path.name: path.read_bytes() for path in sorted(kept)}
        assert b"E-ENGINE" not in found[name]["evidence.json"], done[0].stdout
    first, *others = found.values()
    assert len(first) == 3, "evidence, verdict, quarantine"
    assert all(other == first for other in others)
    assert (bench.newest() / "run.json").read_text().count("unseen") == 2, "measured here, and its time"
    record_property(
        "figure", f"judging {ROWS:,} real rows: the same evidence, verdict, quarantine; {told(seconds)}, start and all"
    )


OWN = """
import os
import pytest_distill.measuring.candidates as findings

if "DISTILL_GROUP" in os.environ:  # in a worker of a cluster: were standard measures computed there, they would find nothing
    findings.first_match = lambda texts, pattern: findings.nothing_found(len(texts))
    findings.examined = lambda examine, candidates, *columns: findings.nothing_found(len(candidates))

@measure(version=1)
def loudness(answer_text):
    return answer_text.str.count_matches("!")

def hidden():
    @measure(version=1)
    def unseen(loudness):
        return loudness + 1
    return unseen

kept = hidden()

@gate("own.loud", rejects="loud", limits={"most": 5})
def test_loud(loudness, unseen, quarantine, limits):
    "Answers do not shout."
    quarantine(unseen - 1 > limits.most)
"""


def told(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.1f} s" for name, value in seconds.items())
