"""Plays a trick on a gate run, in real pytest processes, once on a batch that fails and once on one that would pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.export import export

# Plugins that take a second to import and have nothing to do here.
UNUSED = ("-p", "no:hypothesispytest", "-p", "no:anyio")
SEALED, LEAKING = "sealed", "leaking"  # what becomes of each batch when nobody plays tricks
MARKER = "Quidditch"
GATES = f'''
import pytest
from pytest_distill import gate

@gate("own.leak", rejects="leak")
def test_leak(response, quarantine):
    quarantine(response.str.contains("{MARKER}", literal=True))

@gate("own.size")
def test_size(batch, require):
    require("rows", batch.rows, at_least=3)
'''
DECORATED = '@gate("own.leak", rejects="leak")\n'
HEAD = "def test_leak(response, quarantine):\n"


@dataclass(frozen=True)
class Trick:
    """`why` is what the evidence or the output has to say. `harmless`: it keeps no gate from judging, so what passes passes."""

    name: str
    why: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    python: Sequence[str] = ("-P",)
    before: Sequence[str] | None = None  # arguments of an earlier run
    harmless: bool = False
    why_leaking: str = "rows rejected is 1"  # what is said of the batch that leaks, where the trick is harmless
    exits_zero: bool = False  # the exit code is not ours to set: the process ends, or pytest judges nothing


@dataclass(frozen=True)
class Ended:
    """How one run ended."""

    batch: str
    workspace: Path
    code: int
    output: str

    @property
    def folders(self) -> list[Path]:
        return workspaces.Workspace(self.workspace, workspaces.parse(b"", self.workspace, name="")).run_folders(self.batch)

    @property
    def seals(self) -> list[Path]:
        return list((self.workspace / ".distill").rglob("seal.json"))

    @property
    def record(self) -> RunRecord | None:
        return RunRecord.load(self.folders[-1] / "evidence.json") if self.folders else None

    @property
    def said(self) -> str:
        """What was said about the run: the output, the findings, and why gates said no."""
        record = self.record
        whys = [f"{gate.id}: {'; '.join(gate.why)}" for gate in record.gates if gate.why] if record else []
        return "\n".join((self.output, *(record.findings if record else ()), *whys))

    def exported(self) -> bool:
        """Whether the batch leaves the workspace."""
        out = self.workspace.parent / f"export-{self.batch}"
        try:
            export(workspaces.load(self.workspace), self.batch, out, "jsonl")
        except DistillError:
            return False
        return True


def edited(old: str, new: str) -> dict[str, str]:
    """The gate file with one piece replaced."""
    assert old in GATES
    return {"gates/test_own.py": GATES.replace(old, new)}


def begins(*lines: str) -> dict[str, str]:
    """The gate file, where the gate's body starts with `lines`."""
    return edited(HEAD, HEAD + "".join(f"    {line}\n" for line in lines))


def code(text: str) -> str:
    """Code without the indentation of the table it stands in."""
    return textwrap.dedent(text).strip("\n") + "\n"


def conftest(text: str) -> dict[str, str]:
    return {"conftest.py": code(text)}


def write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")


def start(workspace: Path, batch: str, trick: Trick, args: Sequence[str]) -> subprocess.Popen[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | dict(trick.env)
    command = [sys.executable, *trick.python, "-m", "pytest", *UNUSED, f"--distill-batch={batch}", *args]
    return subprocess.Popen(
        command, cwd=workspace, env=env, text=True, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[str], workspace: Path, batch: str) -> Ended:
    output, _ = process.communicate(timeout=120)
    return Ended(batch, workspace, process.returncode, output)


def run(workspace: Path, batch: str, *args: str, trick: Trick | None = None) -> Ended:
    return finish(start(workspace, batch, trick or Trick("none"), args), workspace, batch)


def play(template: Path, room: Path, trick: Trick) -> dict[str, Ended]:
    """Both batches under the trick, each in its own copy of the workspace, at the same time."""
    started = {}
    for batch in (SEALED, LEAKING):
        workspace = room / batch / "ws"
        shutil.copytree(template, workspace)
        write(workspace, trick.files)
        if trick.before is not None:
            run(workspace, LEAKING, *trick.before)
        started[batch] = (start(workspace, batch, trick, trick.args), workspace)
    return {batch: finish(process, workspace, batch) for batch, (process, workspace) in started.items()}


def expect_no_seal(ended: Ended, trick: Trick, *, why: str | None) -> None:
    assert not list((ended.workspace / ".distill" / "runs" / ended.batch).rglob("seal.json")), ended.output
    assert not ended.exported()
    record = ended.record
    assert record is None or record.verdict != "PASSED"
    assert trick.exits_zero or ended.code != 0, ended.output
    if why is not None:
        assert why in ended.said, ended.said


def check(template: Path, room: Path, trick: Trick) -> None:
    ended = play(template, room, trick)
    if trick.harmless:
        assert len(ended[SEALED].seals) == 1, ended[SEALED].output
        expect_no_seal(ended[LEAKING], trick, why=trick.why_leaking)
        return
    expect_no_seal(ended[SEALED], trick, why=trick.why)
    expect_no_seal(ended[LEAKING], trick, why=None)


def cases(*tricks: Trick) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("trick", tricks, ids=[t.name for t in tricks])
