"""A process that has loaded everything a command loads, and forks a child for each run: what takes a run seconds is done once.

The child is the interpreter that the command line would start, and calls the command line's own `main`. It waits until a tracer
has attached. Forking is sound here because nothing but idle threads of allocators is there yet, which `_alone` checks:
pools of polars and pyarrow start when they are first used, and that is in the child.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

from killing import QUIET, Scene

IDLE = (
    "jemalloc_bg_thd",
    "polars-ooc-clea",
)  # allocators that prepare themselves for forks; one that waits for what is never sent
_OURS = ("cli.tokenize", "cli.run", "pipelines.preprocess.command", "pipelines.preprocess.run", "pipelines.tokenize.batch")
_THEIRS = ("numba.np.arraymath", "pyarrow.compute", "pyarrow.parquet", "tokenizers")
_IF_THERE = ("pandas", "scipy.linalg")  # which pyarrow and numba import where they are installed
LOADED = (
    *_THEIRS,
    *(name for name in _IF_THERE if importlib.util.find_spec(name.partition(".")[0])),
    *(f"pytest_distill.{n}" for n in _OURS),
)


class Nursery:
    """Children for one scene after the other. Raises AssertionError when the process could not be made ready."""

    def __enter__(self) -> Self:
        reading, self._go = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(reading)],
            env={**os.environ, **QUIET, "PYTHONPATH": str(Path(__file__).parent)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(reading,),
            text=True,
        )
        os.close(reading)
        assert self._line() == "ready"
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._go)
        self._process.communicate()

    def run(self, scene: Scene, *tracer: str, moment: float | None = None) -> tuple[int, str]:
        """Runs the scene's command to its end, under a tracer that takes `-p PID` where one is given; or kills it after `moment`
        seconds. Returns the exit status, negative for a signal, and what was written to stderr."""
        errors = scene.folder / "stderr"
        assert self._process.stdin is not None
        order = {"arguments": scene.command[scene.interpreter :], "folder": str(scene.folder), "errors": str(errors)}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        child = self._line()
        with contextlib.ExitStack() as stack:
            if tracer:
                tracing = stack.enter_context(subprocess.Popen([*tracer, "-p", child], stderr=subprocess.PIPE, text=True))
                while not _traced(child):
                    assert tracing.poll() is None, tracing.communicate()[1]
                    time.sleep(0.002)
            os.write(self._go, b".")
            if moment is not None and not select.select([self._process.stdout], [], [], moment)[0]:
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    os.kill(int(child), signal.SIGKILL)
            status = int(self._line())
        return status, errors.read_text(errors="replace")

    def survived(self, scene: Scene, moment: float) -> float | None:
        """As `killing.survived`, of a run that has loaded everything when its time begins."""
        began = time.monotonic()
        status, said = self.run(scene, moment=moment)
        assert status in (0, -signal.SIGKILL), f"exit {status}: {said}"
        return None if status else time.monotonic() - began

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _traced(child: str) -> bool:
    status = Path(f"/proc/{child}/status").read_text()
    return "TracerPid:\t0\n" not in status


def _load() -> None:
    """What a run imports, its tables and its compiled kernels. Nothing here starts a pool of threads."""
    for name in LOADED:
        importlib.import_module(name)
    import polars as pl

    from pytest_distill.measuring.kernels import text, unicode
    from pytest_distill.measuring.kernels.buffers import flat
    from pytest_distill.pipelines.preprocess import language

    language._model()
    unicode.classes()
    text.words(flat(pl.Series(["the river carries a stone"])))


def _alone() -> None:
    names = [Path(f"/proc/self/task/{task}/comm").read_text().strip() for task in os.listdir("/proc/self/task")]
    busy = [name for name in names[1:] if name not in IDLE]
    assert not busy, f"threads that a fork would lose: {busy}"


def _child(order: dict[str, str], go: int) -> None:
    from pytest_distill.cli.main import main

    os.chdir(order["folder"])
    for stream, path in ((0, os.devnull), (1, os.devnull), (2, order["errors"])):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(opened, stream)
        os.close(opened)
    sys.argv = ["distill", *order["arguments"]]
    os.read(go, 1)
    os.close(go)
    sys.exit(main())


def _serve(go: int) -> None:
    _load()
    _alone()
    said = os.fdopen(os.dup(1), "w")
    print("ready", file=said, flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            _child(json.loads(line), go)
        print(child, file=said, flush=True)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), file=said, flush=True)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
