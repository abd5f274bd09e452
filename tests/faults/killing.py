"""Runs of `distill run preprocess` that are killed, resumed, and compared byte for byte with one that was left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

NOW = "2026-01-31T12:00:00Z"
CONFIG = "unit_rows = {}\n[language]\nmin_confidence = 0.05\n"
# Whatever a child process writes besides would count as a boundary of ours.
QUIET = {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1"}
INTERPRETER = [sys.executable, "-P", "-m", "pytest_distill.cli.main"]


class Scene:
    """One source, run again and again in a workspace that always lies in the same place (created.json holds the path)."""

    def __init__(self, folder: Path, source: Path, *, unit_rows: int, workers: int = 1) -> None:
        self.folder, self.source, self.workers = folder, source, workers
        self.workspace = folder / "ws"
        self.config = folder / "settings.toml"
        self.config.write_text(CONFIG.format(unit_rows))
        self._fresh = 0

    @property
    def command(self) -> list[str]:
        options = ["--id", "out", "--config", str(self.config), "--workers", str(self.workers), "--now", NOW, "--no-progress"]
        return [*INTERPRETER, "run", "preprocess", str(self.source), *options, "--resume", "--workspace", str(self.workspace)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **QUIET}

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """`before` stands in front of the command, as strace does. A process group of its own: our signals are ours alone."""
        return subprocess.Popen(
            [*before, *self.command],
            env=self.environment,
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
        """An empty workspace; the one before is put aside."""
        if self.workspace.exists():
            self.workspace.rename(self.folder / f"before-{self._fresh}")
            self._fresh += 1
        self.workspace.mkdir()
        (self.workspace / "distill.toml").write_text("schema_version = 1\n")

    def files(self) -> dict[str, bytes]:
        """Every byte that the run is answerable for: batch, ledger, states. Receipts tell of each attempt, with its duration."""
        found = {}
        for path in sorted(self.workspace.rglob("*")):
            name = path.relative_to(self.workspace).as_posix()
            if path.is_file() and not name.startswith(".distill/receipts/") and not name.endswith(".lock"):
                found[name] = path.read_bytes()
        return found


def killed(process: subprocess.Popen[bytes]) -> bool:
    """Whether it ended by signal 9; any other end but success is an error of the run."""
    _, said = process.communicate()
    if process.returncode == -signal.SIGKILL:
        return True
    assert process.returncode == 0, f"exit {process.returncode}: {said.decode()}"
    return False


def survived(process: subprocess.Popen[bytes], moment: float) -> float | None:
    """Kills the main process alone after `moment` seconds; its workers have to notice by themselves. None when it was killed, or
    how long it took where it had ended before."""
    began = time.monotonic()
    try:
        process.wait(timeout=moment)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    seconds = time.monotonic() - began
    return None if killed(process) else seconds
