"""Every command that a page of the site shows is run: here from top to bottom, or by the test that its block names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from snippets import SHELLS, blocks, run_page

ROOT = Path(__file__).parents[2]
DOCS = {page.relative_to(ROOT / "docs").as_posix(): page for page in sorted((ROOT / "docs").rglob("*.md"))}
# Pages that need a model, and the test that runs them from top to bottom.
ELSEWHERE = {"stage1.md": "tests/generate/test_stage1_run.py"}
COMMAND = re.compile(r"^(distill|pytest|python|pip) ", re.MULTILINE)
RUN_HERE = [name for name, page in DOCS.items() if "```console" in page.read_text() and name not in ELSEWHERE]


@pytest.mark.parametrize("name", RUN_HERE)
def test_docs(name: str, tmp_path: Path) -> None:
    assert run_page(DOCS[name].read_text(), tmp_path) >= 1


@pytest.mark.parametrize("name", DOCS)
def test_no_command_of_a_page_is_left_out(name: str) -> None:
    """A block of commands is run here, or names the test that runs it."""
    for block in blocks(DOCS[name].read_text()):
        language = block.info.split()[0] if block.info else ""
        if name not in ELSEWHERE and (language in SHELLS or (not language and COMMAND.search(block.body))):
            assert block.elsewhere or block.info.startswith("console"), f"{name}, line {block.line}: nobody runs it"
        if block.elsewhere:
            assert (ROOT / block.elsewhere).is_file(), f"{name}, line {block.line}: there is no {block.elsewhere}"


@pytest.mark.parametrize("name", ELSEWHERE)
def test_a_page_that_is_run_elsewhere_is_named_there(name: str) -> None:
    assert f'"{name}"' in (ROOT / ELSEWHERE[name]).read_text()
