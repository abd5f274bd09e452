"""`distill completion bash|zsh|fish`: a script that completes commands, options, their choices, and batches."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers

_HOW = {
    "bash": 'eval "$(distill completion bash)"  in ~/.bashrc',
    "zsh": 'eval "$(distill completion zsh)"  in ~/.zshrc, below compinit',
    "fish": "distill completion fish | source  in ~/.config/fish/config.fish",
}


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser(
        "completion",
        parents=[common],
        help="a script that completes commands in a shell",
        description=f"{__doc__} To use it: {'; '.join(f'{shell}: {how}' for shell, how in _HOW.items())}.",
    )
    parser.add_argument("shell", choices=tuple(_HOW))
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.cli.main import build_parser
    from pytest_distill.cli.shells import bash, fish, read, zsh

    root = read(build_parser(), ("distill",))
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[args.shell](root))
