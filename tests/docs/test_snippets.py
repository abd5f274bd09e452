"""The runner of the pages' commands notices when a page is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from snippets import run_page

FENCE = "```"


def page(*parts: str) -> str:
    return "\n".join(parts) + "\n"


def test_files_are_written_and_commands_run(tmp_path: Path) -> None:
    files = [f"{FENCE}text notes/a.txt", "one", FENCE, f"{FENCE}text notes/a.txt +", "two", FENCE]
    text = page(*files, f"{FENCE}console", "$ cat notes/a.txt", "one", "t…o", "$ false  # exit 1", FENCE)
    assert run_page(text, tmp_path) == 2


@pytest.mark.parametrize("wrong", ["$ false", "$ true  # exit 1", "$ echo one\ntwo", "$ printf 'a\\nb\\n'\nb\na"])
def test_a_page_that_says_something_else_fails(wrong: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_page(page(f"{FENCE}console", wrong, FENCE), tmp_path)


def test_other_blocks_are_left_alone(tmp_path: Path) -> None:
    assert run_page(page(f"{FENCE}sh", "exit 1", FENCE, f"{FENCE}toml", "[a]", FENCE), tmp_path) == 0
    assert list(tmp_path.iterdir()) == []


def test_pages_of_the_site_name_their_files_in_a_title(tmp_path: Path) -> None:
    files = [f'{FENCE}text title="notes/a.txt"', "one", FENCE, f'{FENCE}text title="notes/a.txt, added at the end"', "two", FENCE]
    assert run_page(page(*files, "<!--", f"{FENCE}console", "$ cat notes/a.txt", "one", "two", FENCE, "-->"), tmp_path) == 1


def test_what_another_test_runs_is_not_run_here(tmp_path: Path) -> None:
    assert run_page(page("<!-- run by tests/x.py -->", f"{FENCE}console", "$ false", FENCE), tmp_path) == 0
    with pytest.raises(AssertionError):  # the line is about the block below it alone
        run_page(page("<!-- run by tests/x.py -->", "", f"{FENCE}console", "$ false", FENCE), tmp_path)
