"""kill -9, at any moment and at every boundary of a write: what goes on afterwards ends with the same bytes.

`DISTILL_KILLS` says how many random moments (`make test-kill`: 200, and every boundary); without it a few of each.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import REAL
from killing import Scene, killed, survived

KILLS = int(os.environ.get("DISTILL_KILLS", "0"))
# Every call by which a byte or a name gets to the disk.
CALLS = ("write", "fsync", "rename", "unlink", "mkdir", "ftruncate", "chmod", "rmdir")


class Whole(NamedTuple):
    """A run that was left alone: what it wrote, and how long a run takes here once its code is compiled."""

    scene: Scene
    files: dict[str, bytes]
    seconds: float


def undisturbed(scene: Scene, times: int = 1) -> Whole:
    seconds = 0.0
    for _ in range(times):
        scene.afresh()
        began = time.monotonic()
        scene.finish()
        seconds = time.monotonic() - began
    return Whole(scene, scene.files(), seconds)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, rows: Path) -> Whole:
    return undisturbed(Scene(tmp_path_factory.mktemp("killed"), rows, unit_rows=64), times=2 if KILLS else 1)


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_random_moments(whole: Whole, workers: int, record_property: pytest.RecordProperty) -> None:
    scene = whole.scene
    scene.workers = workers
    rng = random.Random(20260131 + workers)
    wanted = KILLS // 2 or 2
    kills = finished = 0
    seconds = whole.seconds  # the first run compiled the kernels, so a run may take much less
    scene.afresh()
    while kills < wanted:
        took = survived(scene.start(), rng.uniform(0.3, 1.05) * seconds)
        if took is None:
            kills += 1
            continue
        seconds = min(seconds, took)
        finished += 1
        assert scene.files() == whole.files
        scene.afresh()
    scene.finish()
    assert scene.files() == whole.files
    scene.workers = 1
    record_property("figure", f"kill -9: {kills} random moments, {workers} workers, {finished + 1} runs ended, all bytes equal")


def boundaries(scene: Scene, log: Path, call: str) -> int:
    """How often a whole run makes this call."""
    process = scene.start("strace", "-f", "-qq", "-e", f"trace={call}", "-e", "signal=none", "-o", str(log))
    _, said = process.communicate()
    assert process.returncode == 0, said.decode()
    return len(re.findall(rf"^\d+ +{call}\(", log.read_text(errors="replace"), re.MULTILINE))


@pytest.fixture(scope="session")
def strace() -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed: no run was killed at the boundaries of its writes")
    tried = subprocess.run(["strace", "-f", "-qq", "-e", "trace=write", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here, so no run was killed at the boundaries of its writes: {tried.stderr.decode()}")


@pytest.mark.parametrize("call", CALLS if KILLS else ["rename"])
def test_killed_at_every_boundary(
    tmp_path: Path, whole: Whole, call: str, strace: None, record_property: pytest.RecordProperty
) -> None:
    scene = whole.scene
    scene.afresh()
    count = boundaries(scene, tmp_path / "calls", call)
    assert scene.files() == whole.files
    wanted = range(1, count + 1) if KILLS else [count // 3, 2 * count // 3]
    kills = 0
    for number in wanted:
        scene.afresh()
        log = tmp_path / "injected"
        inject = ["-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={number}"]
        process = scene.start("strace", "-f", "-qq", *inject, "-o", str(log))
        if killed(process):
            kills += 1
            scene.finish()
        assert scene.files() == whole.files, f"{call} number {number}"
        shutil.rmtree(scene.workspace)
    # Threads of libraries make a few of these calls of their own, more or fewer: nearly all of them have to have been met.
    assert kills >= 0.8 * len(wanted)
    record_property("figure", f"kill -9: at {kills} of {count} boundaries of {call}, all bytes equal after resuming")


def test_told_to_stop_it_ends_with_143_and_can_go_on(whole: Whole) -> None:
    scene = whole.scene
    scene.afresh()
    state = scene.workspace / ".distill" / "preprocess" / "out" / "state_stage_1.json"
    process = scene.start()
    while not state.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode in (143, 0), said.decode()
    if process.returncode == 143:  # else it had ended before the signal came
        assert not (scene.workspace / "batches" / "out").exists()
        scene.finish()
    assert scene.files() == whole.files


@pytest.mark.skipif(not KILLS, reason="make test-kill runs this one")
def test_killed_at_random_moments_of_a_run_over_the_whole_dataset(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    if not REAL.is_file():
        pytest.skip(f"{REAL} is not there: no run over a whole real dataset was killed")
    scene = Scene(tmp_path, REAL, unit_rows=2048, workers=2)
    whole = undisturbed(scene)
    rng = random.Random(7)
    scene.afresh()
    kills = 0
    while kills < max(1, KILLS // 10):
        if survived(scene.start(), rng.uniform(0.05, 0.4) * whole.seconds) is None:
            kills += 1
        else:
            assert scene.files() == whole.files
            scene.afresh()
    scene.finish()
    assert scene.files() == whole.files
    record_property("figure", f"kill -9: {kills} random moments of a run over {REAL.name}, all bytes equal")
