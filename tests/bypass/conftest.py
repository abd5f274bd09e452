"""One workspace with two batches, made once, its cache warm; every trick gets a copy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tricks import GATES, LEAKING, MARKER, SEALED, run, write

from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.policy import workspace as workspaces
from pytest_distill.suite.declared import suite_folder


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The key of the cache, and bytecode, shared by all runs of this session and nobody else."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.setenv("PYTHONPYCACHEPREFIX", str(folder / "bytecode"))
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, state: None) -> Path:
    # Rows the project ships: they pass the standard suite as they are.
    curated = suite_folder().parent / "fixtures" / "rows" / "curated.jsonl"
    rows = [json.loads(line) for line in curated.read_text(encoding="utf-8").splitlines()]
    leaking = [*rows[:-1], {**rows[-1], "response": f"{rows[-1]['response']} They play {MARKER}."}]
    root = tmp_path_factory.mktemp("bypass") / "template" / "ws"
    write(root, {"distill.toml": "", "gates/test_own.py": GATES})
    for batch, content in ((SEALED, rows), (LEAKING, leaking)):
        source = root.parent / f"{batch}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in content), encoding="utf-8")
        ingest([source], workspaces.load(root), batch)
    warm = Path(shutil.copytree(root, root.parent / "warm"))
    for batch in (SEALED, LEAKING):
        run(warm, batch)
    shutil.copytree(warm / ".distill" / "cache", root / ".distill" / "cache")
    return root
