"""kill -9, at any moment and at every boundary of a write: what goes on afterwards ends with the same bytes.

`DISTILL_KILLS` says how many random moments of runs over the whole dataset (`make test-kill`: 200, and every boundary); without
it a few of each, over slices.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from boundaries import boundaries, met
from conftest import REAL
from killing import Preprocess, Scene, Tokenize, survived
from nursery import Nursery

KILLS = int(os.environ.get("DISTILL_KILLS", "0"))
COMMANDS = ("preprocess", "tokenize")
TRIES = 5  # to meet a boundary
PARTS = 3  # in which the boundaries are tried, so that they can be tried side by side
Record = Callable[[str, object], None]


class Whole(NamedTuple):
    """A run that was left alone: what it wrote, and how long a run takes here once its code is compiled."""

    scene: Scene
    files: dict[str, bytes]
    seconds: float


def undisturbed(scene: Scene) -> Whole:
    scene.afresh()
    began = time.monotonic()
    scene.finish()
    return Whole(scene, scene.files(), time.monotonic() - began)


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory, rows: list[Path]) -> dict[str, Whole]:
    """Each command over 400 rows, in six units or so."""
    return {
        "preprocess": undisturbed(Preprocess(tmp_path_factory.mktemp("preprocess"), rows, unit_rows=64)),
        "tokenize": undisturbed(Tokenize(tmp_path_factory.mktemp("tokenize"), rows, shard_tokens=4000)),
    }


def killed_at_random(
    whole: Whole, wanted: int, attempt: Callable[[Scene, float], float | None], spread: tuple[float, float]
) -> str:
    """Kills runs at moments within `spread` (shares of a whole run's time) until as many were as are wanted, going on with each,
    and afresh when one has ended. Returns what was seen: also how many of the kills met a run that had written something."""
    rng = random.Random(20260131 + wanted)
    scene = whole.scene
    kills = at_work = ended = 0
    seconds = whole.seconds  # the first run may have compiled the kernels, so that another takes much less
    scene.afresh()
    before = scene.files()
    while kills < wanted:
        took = attempt(scene, rng.uniform(*spread) * seconds)
        files = scene.files()
        if took is None:
            kills += 1
            at_work += files != before
            before = files
            continue
        seconds = min(seconds, took)
        ended += 1
        assert files == whole.files
        scene.afresh()
        before = scene.files()
    scene.finish()
    assert scene.files() == whole.files
    return f"{kills} random moments ({at_work} had written), {ended + 1} runs ended, all bytes equal"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments(slices: dict[str, Whole], command: str, workers: int, record_property: Record) -> None:
    whole = slices[command]
    whole.scene.workers = workers
    seen = killed_at_random(whole, 2, survived, (0.3, 1.05))
    whole.scene.workers = 1
    record_property("figure", f"kill -9, {command}, {workers} workers: {seen}")


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as ready:
        yield ready


@pytest.mark.parametrize("part", range(PARTS) if KILLS else [0])
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_every_boundary(
    tmp_path: Path, few: list[Path], nursery: Nursery, command: str, part: int, strace: None, record_property: Record
) -> None:
    scene = Preprocess(tmp_path, few, unit_rows=48) if command == "preprocess" else Tokenize(tmp_path, few, shard_tokens=900)
    whole = undisturbed(scene)
    scene.afresh()
    every = boundaries(nursery, scene, tmp_path / "calls")
    assert scene.files() == whole.files
    names = [at for at, boundary in enumerate(every) if boundary.call == "rename"]
    wanted = range(part, len(every), PARTS) if KILLS else [names[len(names) // 3], names[2 * len(names) // 3]]
    kills, differing = Counter[str](), {}
    for at in wanted:
        scene.afresh()
        for _ in range(TRIES):
            if met(nursery, scene, every[at], tmp_path / "injected"):
                break
            # How many files are opened before is not ours alone to say: the calls are counted again.
            scene.afresh()
            counted = boundaries(nursery, scene, tmp_path / "calls")
            assert [(b.call, b.where) for b in counted] == [(b.call, b.where) for b in every]
            every = counted
            scene.afresh()
        else:
            pytest.fail(f"{every[at]} was not met in {TRIES} runs")
        kills[every[at].call] += 1
        status, said = nursery.run(scene)
        if status:
            differing[every[at]] = said
        elif (files := scene.files()) != whole.files:
            differing[every[at]] = ", ".join(sorted(n for n in files.keys() | whole.files if files.get(n) != whole.files.get(n)))
    assert not differing, "\n".join(f"{boundary}: {what}" for boundary, what in differing.items())
    figure = ", ".join(f"{call} {count}" for call, count in kills.most_common())
    record_property("figure", f"kill -9, {command}, {kills.total()} of {len(every)} boundaries ({figure}): all bytes equal")


@pytest.mark.parametrize("command", COMMANDS)
def test_told_to_stop_it_ends_with_143_and_can_go_on(slices: dict[str, Whole], command: str) -> None:
    whole = slices[command]
    scene = whole.scene
    scene.afresh()
    process = scene.start()
    while not scene.at_work.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate()
    assert process.returncode in (143, 0), said.decode()
    if process.returncode == 143:  # else it had ended before the signal came
        assert not scene.made.exists()
        scene.finish()
    assert scene.files() == whole.files


@pytest.mark.skipif(not KILLS, reason="make test-kill runs this one")
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_many_random_moments(
    slices: dict[str, Whole], nursery: Nursery, command: str, workers: int, record_property: Record
) -> None:
    """Three in four with one worker: two of `preprocess` are processes that have to load everything each time."""
    scene = slices[command].scene
    scene.workers = workers
    whole = Whole(scene, slices[command].files, timed(nursery, scene))
    seen = killed_at_random(whole, KILLS * 3 // 4 if workers == 1 else KILLS // 4, nursery.survived, (0.02, 0.9))
    scene.workers = 1
    record_property("figure", f"kill -9, {command}, {workers} workers, forked: {seen}")


@pytest.mark.skipif(not KILLS, reason="make test-kill runs this one")
@pytest.mark.parametrize("command", COMMANDS)
def test_killed_at_random_moments_of_a_run_over_the_whole_dataset(
    tmp_path: Path, nursery: Nursery, command: str, record_property: Record
) -> None:
    if not REAL.is_file():
        pytest.skip(f"{REAL} is not there: no run over a whole real dataset was killed")
    scene: Scene
    if command == "preprocess":
        scene = Preprocess(tmp_path, [REAL], unit_rows=2048)
    else:
        scene = Tokenize(tmp_path, [REAL], shard_tokens=1 << 18, workers=2)
    whole = undisturbed(scene)
    seen = killed_at_random(whole, max(1, KILLS // 10), nursery.survived, (0.02, 0.25))
    record_property("figure", f"kill -9, {command} of {REAL.name}: {seen}")


def timed(nursery: Nursery, scene: Scene) -> float:
    """How long a whole run takes that has loaded everything."""
    scene.afresh()
    began = time.monotonic()
    status, said = nursery.run(scene)
    assert status == 0, said
    return time.monotonic() - began
