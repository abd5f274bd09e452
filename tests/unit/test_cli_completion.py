"""Completion in a real bash: what Tab offers is what the parser knows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pytest_distill.cli import shells
from pytest_distill.cli.commands import COMMANDS
from pytest_distill.cli.main import build_parser, command_of, main

ROOT = shells.read(build_parser(), ("distill",))


def offered(tmp_path: Path, *words: str) -> set[str]:
    """What bash has in COMPREPLY when the last of `words` is completed in a workspace with two batches."""
    for name in ("round-1", "round-2"):
        (tmp_path / "batches" / name).mkdir(parents=True, exist_ok=True)
    script = 'eval "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _distill; printf "%s\\n" "${COMPREPLY[@]}"'
    command = ["bash", "--noprofile", "--norc", "-uc", script, "bash", shells.bash(ROOT), *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return set(done.stdout.split())


def test_commands_and_options(tmp_path: Path) -> None:
    assert offered(tmp_path, "distill", "") == COMMANDS.keys() | set(ROOT.options)
    assert offered(tmp_path, "distill", "inge") == {"ingest"}
    assert offered(tmp_path, "distill", "--workspace", "x", "gates", "") >= {"list", "explain", "schema"}
    assert "--globs" in offered(tmp_path, "distill", "ci", "judge", "--")


def test_choices_and_batches(tmp_path: Path) -> None:
    assert offered(tmp_path, "distill", "export", "round-1", "--format", "") == {"jsonl", "parquet", "hf"}
    assert offered(tmp_path, "distill", "show", "round") == {"round-1", "round-2"}
    assert offered(tmp_path, "distill", "completion", "b") == {"bash"}


def test_a_value_that_is_a_file_is_left_to_bash(tmp_path: Path) -> None:
    assert offered(tmp_path, "distill", "export", "round-1", "--out", "") == set()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_in_every_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for command in ROOT.below():
        assert command.path[-1] in script
        assert all(name.lstrip("-") in script for name in command.options)


def test_zsh_keeps_its_path(tmp_path: Path) -> None:
    """In zsh `path` is PATH by another name: a variable called so hid every program from the function."""
    assert "path=" not in shells.zsh(ROOT)


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_offers_the_same(tmp_path: Path) -> None:
    (tmp_path / "batches" / "round-1").mkdir(parents=True)
    begin = "autoload -Uz compinit && compinit -u -D\n"
    ask = '\nCOMP_WORDS=(distill export "") COMP_CWORD=2\nsetopt KSH_ARRAYS SH_WORD_SPLIT\n_distill\n'
    ask += 'printf "%s\\n" "${COMPREPLY[@]}"\n'
    script = begin + shells.zsh(ROOT) + ask
    done = subprocess.run(["zsh", "-f", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"round-1", "--format"} <= set(done.stdout.split())
    assert done.stderr == ""


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_the_same(tmp_path: Path) -> None:
    (tmp_path / "batches" / "round-1").mkdir(parents=True)
    script = tmp_path / "script.fish"  # too long for an argument
    script.write_text(shells.fish(ROOT) + 'complete -C "distill export "; complete -C "distill export --format "\n')
    done = subprocess.run(["fish", "--no-config", str(script)], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert {"round-1", "hf", "jsonl", "parquet"} <= set(done.stdout.split())


@pytest.mark.parametrize("command", ROOT.commands, ids=lambda command: command.path[1])
def test_a_command_read_alone_is_the_one_among_all(command: shells.Command) -> None:
    alone = shells.read(build_parser([command.path[1], "--help"]), ("distill",))
    assert command in alone.commands


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["show", "x"], "show"),
        (["-q", "--workspace", "run", "show"], "show"),
        (["--works", "run", "list"], "list"),
        (["--now=gates", "gates"], "gates"),
        (["--help"], None),
        ([], None),
        (["nope"], None),
    ],
)
def test_the_command_is_found_behind_options(words: list[str], name: str | None) -> None:
    assert command_of(words) == name
