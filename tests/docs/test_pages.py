"""Every command and every file that README and examples show works, in the order in which they show it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from snippets import run_page

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(folder.parent for folder in (ROOT / "examples").glob("*/README.md"))


def test_readme(tmp_path: Path) -> None:
    assert run_page((ROOT / "README.md").read_text(), tmp_path) >= 8


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda folder: folder.name)
def test_examples(example: Path, tmp_path: Path) -> None:
    workspace = tmp_path / example.name
    shutil.copytree(example, workspace)
    assert run_page((example / "README.md").read_text(), workspace) >= 1
