"""`distill check`: its 0 is a verdict, and what the system refuses it says in a line. Other commands too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sealed_workspace import ID, make_workspace, sealed, write_batch

from pytest_distill.cli.main import main

# A folder where the verdict is to be written over: what a full disk is to the run.
FULL_DISK = """
from pathlib import Path

from pytest_distill import gate


@gate("mine.full")
def test_full(response, require):
    "Nothing can be written over the first verdict any more."
    require("rows", len(response), at_least=1)
    (verdict,) = Path(".distill/runs").glob("*/*/verdict.json")
    verdict.unlink()
    verdict.mkdir()
"""

DISTILL = (sys.executable, "-m", "pytest_distill.cli.main")


@pytest.mark.parametrize("mode", ["--collect-only", "--markers"])
def test_a_check_that_only_looks_is_no_yes(tmp_path: Path, mode: str) -> None:
    """As a file of the repository that is checked may have it: a job would be green without a judgement."""
    workspace = make_workspace(tmp_path)
    write_batch(workspace.batches / ID)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = {mode}\n")
    done = subprocess.run([*DISTILL, "check", ID], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "ERROR [E-GATE-NOT-RUN]: pytest was told to show something, so no gate ran" in done.stderr
    assert not workspace.run_folders(ID)


def test_arguments_that_are_passed_on_do_not_name_another_batch(tmp_path: Path) -> None:
    write_batch(make_workspace(tmp_path).batches / ID)
    words = [*DISTILL, "check", "nope", "--", f"--distill-batch={ID}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "no batch at" in done.stderr) == (4, True), done.stdout


def test_a_check_that_cannot_write_its_run_says_so_in_a_line(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_batch(workspace.batches / ID)
    workspace.runs.write_text("a file where a folder belongs")
    done = subprocess.run([*DISTILL, "check", ID], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stdout
    assert "ERROR [E-MANIFEST-COMMIT]: could not write" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_check_that_cannot_write_its_verdict_says_so_in_a_line(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_batch(workspace.batches / ID)
    workspace.gates.mkdir()
    (workspace.gates / "test_own.py").write_text(FULL_DISK)
    done = subprocess.run([*DISTILL, "check", ID], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert "[E-MANIFEST-COMMIT]: could not write" in done.stdout
    assert "nothing leaves" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def ledger_is_a_folder(root: Path) -> None:
    (root / ".distill/ledger.jsonl").unlink()
    (root / ".distill/ledger.jsonl").mkdir()


def module_is_gone(root: Path) -> None:
    (root / "helper.py").symlink_to(root / "gone.py")


@pytest.mark.parametrize("harm", [ledger_is_a_folder, module_is_gone])
@pytest.mark.parametrize("command", ["export", "check"])
def test_what_the_system_refuses_is_a_line(tmp_path: Path, harm: Callable[[Path], None], command: str) -> None:
    state = sealed(tmp_path / "ws")
    harm(state.workspace.root)
    more = ("--format", "jsonl", "--out", str(tmp_path / "out")) if command == "export" else ()
    done = subprocess.run([*DISTILL, command, ID, *more], cwd=state.workspace.root, capture_output=True, text=True, check=False)
    assert done.returncode == (1 if command == "export" else 4), done.stdout + done.stderr
    assert done.stderr.startswith("ERROR [E-IO]: ")
    assert "Traceback" not in done.stdout + done.stderr


def test_a_name_that_is_too_long_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / ("x" * 300))]) == 1
    assert capsys.readouterr().err.startswith("ERROR [E-")
