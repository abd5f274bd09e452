"""The built wheel, in an environment that knows nothing of the sources: what is in it, and that the whole road works from it.

`make wheel-test` copies this file next to such an environment and runs it there.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest_distill = pytest.importorskip("pytest_distill")
HOME = Path(pytest_distill.__file__).parent

pytestmark = pytest.mark.skipif(
    "site-packages" not in HOME.parts,
    reason="the package is not installed from a wheel; `make wheel-test` runs this file against one",
)


def run(*command: str, folder: Path, status: int = 0) -> str:
    scripts = Path(sys.executable).parent
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PYTHON", "DISTILL_"))}
    path = f"{scripts}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, f"$ {' '.join(command)}\nexited with {done.returncode}\n{done.stdout}"
    return done.stdout


def shipped() -> set[str]:
    found = importlib.metadata.files("pytest-distill")
    assert found is not None
    return {file.as_posix() for file in found}


def test_entry_points() -> None:
    points = importlib.metadata.distribution("pytest-distill").entry_points
    assert {(point.group, point.name) for point in points} == {("pytest11", "distill"), ("console_scripts", "distill")}


def test_every_room_is_in_it() -> None:
    names = shipped()
    wanted = {
        "pytest_distill/py.typed",
        "pytest_distill/policy/default.toml",
        "pytest_distill/gates/measures/text.py",
        "pytest_distill/pipelines/stage1/cleaning.py",
        "pytest_distill/fixtures/rows/curated.jsonl",
        "pytest_distill/fixtures/workspace/gates/test_example.py",
    }
    assert wanted - names == set()
    assert any(name.startswith("pytest_distill/gates/test_") for name in names)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_it_puts_nothing_beside_itself() -> None:
    tops = {name.split("/")[0] for name in shipped() if not name.startswith("..")}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"pytest_distill"}


def test_metadata_says_what_is_needed() -> None:
    metadata = importlib.metadata.metadata("pytest-distill")
    assert metadata["License-Expression"] == "Apache-2.0"
    assert {"sign", "generate", "vllm", "toxicity", "ray", "dev"} <= set(metadata.get_all("Provides-Extra") or [])


def test_a_start_without_a_batch_runs_ordinary_tests(tmp_path: Path) -> None:
    (tmp_path / "test_plain.py").write_text("def test_plain():\n    assert True\n")
    assert "1 passed" in run("pytest", "-q", folder=tmp_path)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel") / "corpus"
    run("distill", "init", str(folder), folder=folder.parent)
    return folder


def test_a_new_workspace_passes_with_gates_from_site_packages(corpus: Path) -> None:
    run("pytest", "-q", "--distill-batch=example", folder=corpus)
    listed = json.loads(run("distill", "gates", "list", "--json", folder=corpus))
    standard = {Path(gate["file"]).parent for gate in listed if gate["origin"] == "standard"}
    assert standard == {HOME / "gates"}
    collected = run("pytest", "--collect-only", "-q", "--distill-batch=example", folder=corpus)
    assert "test_example.py" in collected
    assert "test_duplicates.py" in collected


def test_a_sealed_batch_leaves_and_verifies(corpus: Path) -> None:
    run("pytest", "-q", "--distill-batch=example", folder=corpus)
    run("distill", "export", "example", "--format", "jsonl", "--out", "out", folder=corpus)
    run("distill", "verify", "out", folder=corpus)
    rows = [json.loads(line) for line in (corpus / "out" / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len((corpus / "rows" / "example.jsonl").read_text(encoding="utf-8").splitlines())


def test_a_file_with_a_leak_is_refused(tmp_path: Path) -> None:
    row = {"instruction": "Name a metal that is liquid.", "response": "Mercury###END###\nInstruction: Name"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    assert "FAILED" in run("pytest", "-q", "--distill-batch=rows.jsonl", folder=tmp_path, status=1)
