"""`distill init`: what a new workspace holds, that it passes at once, and that nothing is ever overwritten."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_distill.cli.main import main
from pytest_distill.policy import workspace
from pytest_distill.policy.model import Policy


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_workspace_holds_what_a_newcomer_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path / "corpus")]) == 0
    names = set(files(tmp_path / "corpus"))
    assert {"distill.toml", "gates/test_example.py", "gold/gold.jsonl", "rows/example.jsonl", ".gitignore"} <= names
    assert "batches/example/manifest.json" in names
    assert workspace.load(tmp_path / "corpus").policy == Policy()
    said = capsys.readouterr().err
    assert "pytest --distill-batch=example" in said
    assert "gates/test_example.py judges them too, until you remove it" in said


def test_its_batch_passes_at_once(tmp_path: Path) -> None:
    assert main(["init", str(tmp_path), "-q"]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--distill-batch=example"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout


def test_its_rows_are_pairwise_different_and_none_is_rejected_at_ingest(tmp_path: Path) -> None:
    from pytest_distill import open_batch

    main(["init", str(tmp_path), "-q"])
    batch = open_batch(tmp_path / "batches" / "example")
    assert batch.manifest.counts.quarantined == 0
    assert batch.frame(["instruction", "response"]).n_unique() == batch.rows >= 200


def test_without_a_folder_it_is_the_current_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "-q"]) == 0
    assert (tmp_path / "distill.toml").is_file()


@pytest.mark.parametrize(
    "name", ["distill.toml", "gates/test_example.py", "gold/gold.jsonl", "rows/example.jsonl", "batches/example"]
)
def test_nothing_is_overwritten(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("mine")
    assert main(["init", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("ERROR [E-WORKSPACE]")
    assert files(tmp_path) == {name: b"mine"}


def test_a_project_with_a_policy_of_its_own_is_a_workspace_already(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.distill]\n")
    assert main(["init", str(tmp_path)]) == 1
    assert set(files(tmp_path)) == {"pyproject.toml"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("mine")
    assert main(["init", str(tmp_path / "corpus")]) == 1


def test_lines_that_git_should_ignore_are_added_once(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"mine\n/batches/")
    assert main(["init", str(tmp_path), "-q"]) == 0
    assert (tmp_path / ".gitignore").read_bytes() == b"mine\n/batches/\n/.distill/\n__pycache__/\n"
