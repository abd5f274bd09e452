"""Commands that are killed, resumed, and compared byte for byte with a run that was left alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from pytest_distill.contracts.receipts import StageReceipt

NOW = "2026-01-31T12:00:00Z"
# Whatever a child process writes besides would count as a boundary of ours.
QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
INTERPRETER = [sys.executable, "-P", "-m", "pytest_distill.cli.main"]
RECEIPTS = ".distill/receipts/"


class Scene(ABC):
    """One command over the same sources, run again and again in a workspace that always lies in the same place (created.json
    holds the path)."""

    def __init__(self, folder: Path, sources: Sequence[Path], *, workers: int = 1) -> None:
        self.folder, self.sources, self.workers = folder, sources, workers
        self.workspace = folder / "ws"

    @abstractmethod
    def arguments(self) -> list[str]:
        """Of `distill`, without those that every command has."""

    @property
    @abstractmethod
    def at_work(self) -> Path:
        """A file that is there once the run has begun to work."""

    @property
    @abstractmethod
    def made(self) -> Path:
        """What a run that was stopped has not made yet."""

    interpreter = len(INTERPRETER)  # of the command, what starts it

    @property
    def command(self) -> list[str]:
        common = ["--workers", str(self.workers), "--resume", "--now", NOW, "--no-progress", "--workspace", str(self.workspace)]
        return [*INTERPRETER, *self.arguments(), *common]

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """`before` stands in front of the command, as strace does. A process group of its own: our signals are ours alone."""
        return subprocess.Popen(
            [*before, *self.command],
            env={**os.environ, **QUIET},
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def finish(self) -> None:
        """Runs to the end."""
        process = self.start()
        _, said = process.communicate()
        assert process.returncode == 0, said.decode()

    def afresh(self) -> None:
        """An empty workspace."""
        if self.workspace.exists():
            shutil.rmtree(self.workspace)
        self.workspace.mkdir()
        (self.workspace / "distill.toml").write_text("schema_version = 1\n")

    def files(self) -> dict[str, bytes]:
        """Every byte that the run is answerable for: batch, shards, ledger, states. Receipts tell of each attempt, with its
        duration, so those differ; but each has to read."""
        found = {}
        for path in sorted(self.workspace.rglob("*")):
            name = path.relative_to(self.workspace).as_posix()
            if not path.is_file() or name.endswith(".lock"):
                continue
            if not name.startswith(RECEIPTS):
                found[name] = path.read_bytes()
            elif name.endswith(f"/{self.stage}.json"):
                StageReceipt.load(path)
        return found

    @property
    @abstractmethod
    def stage(self) -> str:
        """What its receipts call it."""


class Preprocess(Scene):
    """`distill run preprocess`."""

    stage = "preprocess"

    def __init__(self, folder: Path, sources: Sequence[Path], *, unit_rows: int, workers: int = 1) -> None:
        super().__init__(folder, sources, workers=workers)
        self.config = folder / "settings.toml"
        self.config.write_text(f"unit_rows = {unit_rows}\n[language]\nmin_confidence = 0.05\n")

    def arguments(self) -> list[str]:
        return ["run", "preprocess", *map(str, self.sources), "--id", "out", "--config", str(self.config)]

    @property
    def at_work(self) -> Path:
        return self.workspace / ".distill" / "preprocess" / "out" / "state_stage_1.json"

    @property
    def made(self) -> Path:
        return self.workspace / "batches" / "out"


class Tokenize(Scene):
    """`distill tokenize`, and the batch of its tokens."""

    stage = "tokenize"

    def __init__(self, folder: Path, sources: Sequence[Path], *, shard_tokens: int, workers: int = 1) -> None:
        super().__init__(folder, sources, workers=workers)
        self.shard_tokens = shard_tokens

    def arguments(self) -> list[str]:
        names = ["--dataset", "web", "--version", "v1", "--text-field", "response", "--out", str(self.workspace / "web-v1")]
        return ["tokenize", *map(str, self.sources), *names, "--shard-tokens", str(self.shard_tokens), "--id", "out"]

    @property
    def at_work(self) -> Path:
        return self.workspace / "web-v1" / "state_stage_2.json"

    @property
    def made(self) -> Path:
        return self.workspace / "batches" / "out"


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended by signal 9; any other end but success is an error of the run."""
    _, said = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return True
    assert process.returncode == 0, f"exit {process.returncode}: {said.decode()}"
    return False


def survived(scene: Scene, moment: float) -> float | None:
    """Kills the main process alone after `moment` seconds; its workers have to notice by themselves. None when it was killed, or
    how long it took where it had ended before."""
    process, began = scene.start(), time.monotonic()
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    seconds = time.monotonic() - began
    return None if killed(process) else seconds
