"""Ray with two workers: the same bytes as a process and as two, whichever worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from preprocess_runs import make_workspace, prose, run, write_jsonl
from token_sets import TEXTS, write_rows

from pytest_distill.engine import cluster as clusters
from pytest_distill.engine.cluster import Ray
from pytest_distill.engine.engine import Engine, Job
from pytest_distill.engine.installation import Installation, here
from pytest_distill.engine.local import Processes, Threads
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.preprocess.run import Told
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import load

# Where a first attempt at starting a cluster fails, which a busy machine may see, its processes are left to end with this one.
ABANDONED = pytest.mark.filterwarnings("ignore:.*Popen.__del__.*:pytest.PytestUnraisableExceptionWarning")
pytestmark = ABANDONED


def files(folder: Path) -> dict[str, bytes]:
    """Every file but locks and what says where and when it was made."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith((".lock", "created.json"))}


def workers() -> list[int]:
    """Processes of Ray workers that are descendants of this one."""
    parents, names = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
            names[int(folder.name)] = stat.partition("(")[2].rpartition(")")[0]
    agents = ("ray::DashboardA", "ray::RuntimeEnv")  # as the kernel cuts their names
    found = [pid for pid, name in names.items() if name.startswith("ray::") and name not in agents]
    return [pid for pid in found if os.getpid() in lineage(pid, parents)]


def lineage(pid: int, parents: dict[int, int]) -> list[int]:
    line = []
    while pid := parents.get(pid, 0):
        line.append(pid)
    return line


def listening() -> set[str]:
    """Addresses, as /proc shows them, on which this process and its descendants accept connections."""
    inodes = set()
    parents = {int(f.name): int((f / "stat").read_text().rpartition(")")[2].split()[1]) for f in Path("/proc").glob("[0-9]*")}
    for pid in parents:
        if pid == os.getpid() or os.getpid() in lineage(pid, parents):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                try:
                    inodes.add(os.readlink(descriptor))
                except OSError:
                    continue
    lines = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {line[1].partition(":")[0] for line in lines if line[3] == "0A" and f"socket:[{line[9]}]" in inodes}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_jsonl(tmp_path_factory.mktemp("rows") / "in.jsonl", [{"text": prose(n % 150, 60)} for n in range(200)])


@pytest.mark.usefixtures("pinned")
def test_preprocessing_gives_the_same_bytes_though_every_worker_is_killed(cluster: Ray, source: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(done: float, total: float | None, words: str) -> None:
        if not killed:
            killed.extend(workers())
            for pid in killed:
                os.kill(pid, signal.SIGKILL)

    engines: dict[str, tuple[Engine, Told]] = {
        "one": (Processes(), Told()),
        "two": (Processes(2), Told()),
        "ray": (cluster, Told(kill)),
    }
    found = {}
    for name, (engine, told) in engines.items():
        place = make_workspace(tmp_path / name)
        assert run(place, [source], unit_rows=16, engine=engine, told=told).rows == 150
        found[name] = files(place.root)
    assert killed
    assert found["one"] == found["two"] == found["ray"]


@pytest.mark.usefixtures("pinned")
def test_tokenizing_gives_the_same_bytes(cluster: Ray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_distill.pipelines.tokenize.blocks.BLOCK_DOCUMENTS", 7)
    rows, found = write_rows(tmp_path / "rows.jsonl", TEXTS), []
    for engine in (Threads(1), Threads(2), cluster):
        out = tmp_path / f"set{len(found)}"
        tokenize(Files([rows], "text"), load(), out, Order("set", "v1", shard_tokens=300), engine=engine)
        found.append(files(out))
    assert len(found[0]) > 5
    assert found[0] == found[1] == found[2]


def test_a_worker_that_always_dies_ends_in_one_line(cluster: Ray) -> None:
    with pytest.raises(DistillError, match="a Ray worker was lost") as caught:
        list(cluster.map(Job(partial, (os._exit,)), [(None, 1)]))
    assert caught.value.code is Code.WORKER


def test_what_a_task_raises_is_raised_here(cluster: Ray) -> None:
    with pytest.raises(DistillError, match="E-TOKENIZER") as caught:
        list(cluster.map(Job(partial, (load,)), [(None, "nowhere/tokenizer.json")]))
    assert caught.value.code is Code.TOKENIZER
    with pytest.raises(ZeroDivisionError):
        list(cluster.map(Job(partial, (divmod, 1)), [(None, 0)]))


def test_a_worker_that_is_installed_otherwise_does_nothing(cluster: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "here", lambda: Installation("0" * 64, here().versions))
    with pytest.raises(DistillError, match="is not installed as this process is: other code of pytest-distill") as caught:
        list(cluster.map(Job(partial, (divmod, 1)), [(None, 1)]))
    assert caught.value.code is Code.ENGINE


def test_nothing_listens_beyond_this_machine_and_nobody_is_told(cluster: Ray) -> None:
    list(cluster.map(Job(partial, (divmod, 1)), [(None, 1)]))
    loopback = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    assert listening() <= loopback
    told = list(cluster.map(Job(partial, (os.getenv,)), [(None, "RAY_USAGE_STATS_ENABLED")]))
    assert told == [(None, "0")]


def test_workers_have_the_environment_that_this_process_began_with(cluster: Ray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster may have been started after code of a workspace ran. This one was not, so its start is played again."""
    monkeypatch.setenv("PYTHONPATH", "somewhere/else")
    with clusters._as_at_start({}):
        assert os.environ.get("PYTHONPATH") == clusters.ENVIRONMENT.get("PYTHONPATH")
    assert os.environ["PYTHONPATH"] == "somewhere/else"


def test_the_current_folder_is_no_place_for_modules_of_a_worker(cluster: Ray) -> None:
    [(_, found)] = cluster.map(Job(partial, (eval,)), [(None, "__import__('sys').path")])
    assert str(Path.cwd()) not in found


def test_a_process_that_ends_without_a_word_is_spoken_for() -> None:
    code = "import os; from pytest_distill.engine.cluster import Ray; engine = Ray(2); engine.watch(); {}; os._exit(1)"
    said = {}
    for last in ("pass", "engine.close()"):
        said[last] = subprocess.run([sys.executable, "-c", code.format(last)], capture_output=True, text=True, check=False).stderr
    assert said["pass"].startswith("ERROR [E-WORKER]: this process was ended while it used Ray")
    assert said["pass"].count("\n") == 1
    assert said["engine.close()"] == ""


def test_signals_are_still_those_of_the_run() -> None:
    """In a process of its own: the command line has its own handlers, and other tests leave them."""
    code = """
import functools, signal
from pytest_distill.engine.cluster import Ray
from pytest_distill.engine.engine import Job

before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
with Ray(1) as engine:
    assert len(list(engine.map(Job(functools.partial, (divmod, 1)), [(None, 1)]))) == 1
    assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
assert before == [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
