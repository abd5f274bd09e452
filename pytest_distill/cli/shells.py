"""What `distill completion` writes: the command line as argparse knows it, as a script for bash, zsh or fish."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from pytest_distill.cli.run import Options, pipelines

BATCH = ("ID", "ID|FILE", "A", "B")  # positionals that name a batch


@dataclass
class Command:
    """One level of the command line: `path` as typed, what may follow, and which options take one of a few values."""

    path: tuple[str, ...]
    help: str = ""
    commands: list[Command] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)  # -> its help
    choices: dict[str, tuple[str, ...]] = field(default_factory=dict)  # option, or "" for the positional
    valued: set[str] = field(default_factory=set)  # options with any value: a file, a number, a text
    batch: bool = False

    def below(self) -> Iterator[Command]:
        yield self
        for command in self.commands:
            yield from command.below()


def read(parser: argparse.ArgumentParser, path: tuple[str, ...], about: str = "") -> Command:
    """What argparse knows of a command and of those below it."""
    found = Command(path, about)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            abouts = {choice.dest: choice.help or "" for choice in action._choices_actions}
            found.commands += [read(below, (*path, name), abouts.get(name, "")) for name, below in action.choices.items()]
            continue
        if isinstance(action, Options):
            found.commands += [read(action.parser(name, name), (*path, name)) for name in pipelines()]
            continue
        choices = tuple(map(str, action.choices or ()))
        for name in action.option_strings:
            found.options[name] = (action.help or "").replace("%%", "%")
            if choices:
                found.choices[name] = choices
            elif action.nargs != 0:
                found.valued.add(name)
        if not action.option_strings:
            found.batch = found.batch or action.metavar in BATCH
            if choices:
                found.choices[""] = choices
    return found


def bash(root: Command) -> str:
    steps = "|".join(f'"{" ".join(c.path)}"' for c in root.below() if len(c.path) > 1)
    lines = [
        "_distill() {",
        '  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}" place=distill follow="" batches=0 i',
        "  for ((i = 1; i < COMP_CWORD; i++)); do",
        f'    case "$place ${{COMP_WORDS[i]}}" in {steps}) place="$place ${{COMP_WORDS[i]}}";; esac',
        "  done",
        "  COMPREPLY=()",
        '  case "$place $prev" in',
    ]
    for command in root.below():
        here = " ".join(command.path)
        lines += [f'    "{here} {name}") follow="{" ".join(c)}";;' for name, c in command.choices.items() if name]
        if command.valued:
            names = "|".join(f'"{here} {name}"' for name in sorted(command.valued))
            lines.append(f"    {names}) return;;")  # left to the completion of file names
    lines += ["  esac", '  if [ -z "$follow" ]; then', '    case "$place" in']
    for command in root.below():
        follow = [*(c.path[-1] for c in command.commands), *command.choices.get("", ()), *command.options]
        batches = " batches=1" if command.batch else ""
        lines.append(f'      "{" ".join(command.path)}") follow="{" ".join(follow)}"{batches};;')
    lines += [
        "    esac",
        "  fi",
        '  if [ "$batches" = 1 ] && [ -d batches ]; then follow="$follow $(command ls batches)"; fi',
        '  COMPREPLY=($(compgen -W "$follow" -- "$cur"))',
        "}",
        "complete -o bashdefault -o default -F _distill distill",
    ]
    return "\n".join(lines) + "\n"


def zsh(root: Command) -> str:
    """Zsh reads completions of bash, once told to."""
    return f"autoload -U +X bashcompinit && bashcompinit\n{bash(root)}"


def fish(root: Command) -> str:
    lines = ["complete -c distill -f"]
    for command in root.below():
        where = _fish_condition(command, root)
        lines += [f"complete -c distill -n {where} -a {c.path[-1]} -d {_quoted(c.help)}" for c in command.commands]
        for name, about in command.options.items():
            kind = f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            value = f" -x -a {_quoted(' '.join(command.choices[name]))}" if name in command.choices else ""
            value = " -r -F" if name in command.valued else value
            lines.append(f"complete -c distill -n {where} {kind}{value} -d {_quoted(about)}")
        if command.batch:
            lines.append(f"complete -c distill -n {where} -F -a '(command ls batches 2>/dev/null)'")
        elif command.choices.get(""):
            lines.append(f"complete -c distill -n {where} -a {_quoted(' '.join(command.choices['']))}")
        elif not command.commands:
            lines.append(f"complete -c distill -n {where} -F")
    return "\n".join(lines) + "\n"


def _fish_condition(command: Command, root: Command) -> str:
    seen = [f"__fish_seen_subcommand_from {name}" for name in command.path[1:]]
    if command.commands:
        seen.append(f"not __fish_seen_subcommand_from {' '.join(c.path[-1] for c in command.commands)}")
    return _quoted("; and ".join(seen)) if command is not root else _quoted(seen[-1])


def _quoted(text: str) -> str:
    return "'" + re.sub(r"(['\\])", r"\\\1", text) + "'"
