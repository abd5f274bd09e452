"""`distill --help`: what it lists is what there is, and neither it nor the help of a command makes anybody wait."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from pytest_distill.cli import main as cli
from pytest_distill.cli import shells
from pytest_distill.cli.commands import COMMANDS
from pytest_distill.cli.main import build_parser

ROOT = shells.read(build_parser(), ("distill",))
MARK_MS = 150.0
TRIES = 9


def milliseconds(*words: str) -> float:
    """Processor time of `distill WORDS --help` in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "pytest_distill.cli.main", *words, "--help"], capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def test_the_list_of_commands_is_what_their_modules_say() -> None:
    assert {command.path[1]: command.help for command in ROOT.commands} == COMMANDS
    assert build_parser(["--help"]).format_help() == build_parser().format_help()


def test_the_list_is_shown_without_the_commands() -> None:
    code = (
        "import sys\n"
        "from pytest_distill.cli import main as cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(' '.join(name for name in sys.modules if name.startswith('pytest_distill')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert COMMANDS.keys() <= set(done.stdout.split())
    assert set(done.stderr.split()) == {
        "pytest_distill",
        *(f"pytest_distill.{name}" for name in ("cli", "cli.commands", "cli.main", "errors")),
    }


@pytest.mark.parametrize(
    "words", [[], ["-q"], ["nope"], ["nope", "ingest"], ["--now", "ingest"], ["--", "list"], ["--nope", "list"]]
)
def test_no_command_is_a_usage_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert "distill: error: " in capsys.readouterr().err


@pytest.mark.parametrize("words", [c.path[1:] for c in ROOT.below()], ids=lambda words: " ".join(words) or "distill")
def test_help_takes_under_150_ms(words: tuple[str, ...]) -> None:
    spent: list[float] = []
    while not spent or (min(spent) >= MARK_MS and len(spent) < TRIES):  # again, as other work on the machine adds to the figure
        spent.append(milliseconds(*words))
    assert min(spent) < MARK_MS
