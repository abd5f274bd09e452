"""Runs what a page shows: files are written, commands are executed in order, and shown output has to appear.

In a page, a fenced block ```LANG PATH is a file of the reader's workspace, ```LANG PATH + is added to the end of it. On pages of
the site, where a fence takes options only, these are ```LANG title="PATH" and ```LANG title="PATH, added at the end". In a
```console block every line after `$ ` is a command. It has to exit with 0, or with the status in a final `# exit N`. The lines
below a command are its output: each has to appear in it, in this order; `…` stands for anything on one line.

A block with commands that cannot be run here has a line `<!-- run by PATH -->` above it: the test that does. Blocks inside of an
HTML comment are run like others: they prepare what a page takes for granted.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^(?P<fence>`{3,})(?P<info>[^`\n]*)\n(?P<body>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE)
EXIT = re.compile(r"\s+# exit (\d+)$")
TITLE = re.compile(r'title="(?P<path>[^",]+\.\w+)(?P<more>, added at the end)?"')
ELSEWHERE = re.compile(r"<!-- run by (\S+) -->\n\Z")
SHELLS = ("console", "sh", "bash", "shell")


@dataclass(frozen=True)
class Block:
    info: str
    body: str
    line: int
    elsewhere: str | None = None  # the test that runs it

    @property
    def file(self) -> tuple[str, str] | None:
        """Path and mode of the file that the block is; None for blocks that are none."""
        words = self.info.split()
        if titled := TITLE.search(self.info):
            return titled["path"], "a" if titled["more"] else "w"
        if len(words) >= 2 and "=" not in words[1]:
            return words[1], "a" if words[2:] == ["+"] else "w"
        return None


@dataclass(frozen=True)
class Command:
    text: str
    status: int
    shown: tuple[str, ...]


def blocks(page: str) -> list[Block]:
    found = []
    for m in BLOCK.finditer(page):
        elsewhere = ELSEWHERE.search(page[: m.start()])
        line = page.count("\n", 0, m.start()) + 1
        found.append(Block(m["info"].strip(), m["body"], line, elsewhere[1] if elsewhere else None))
    return found


def commands(body: str) -> list[Command]:
    found: list[tuple[str, list[str]]] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif line.strip():
            assert found, f"output before any command: {line!r}"
            found[-1][1].append(line.strip())
    result = []
    for text, shown in found:
        match = EXIT.search(text)
        result.append(Command(EXIT.sub("", text), int(match[1]) if match else 0, tuple(shown)))
    return result


def run_page(page: str, workspace: Path) -> int:
    """Runs a page in `workspace`; returns how many commands ran. Raises AssertionError with the command and its output."""
    ran = 0
    for block in blocks(page):
        if block.elsewhere is not None:
            continue
        if block.info.split()[:1] == ["console"]:
            for command in commands(block.body):
                run(command, workspace, block.line)
                ran += 1
        elif block.file is not None:
            path, mode = block.file
            target = workspace / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open(mode, encoding="utf-8") as file:
                file.write(block.body)
    return ran


def run(command: Command, workspace: Path, line: int) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_", "DISTILL_"))}
    done = subprocess.run(
        ["bash", "-c", command.text],
        cwd=workspace,
        env={**environment, "PATH": path, "COLUMNS": "140", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    told = f"line {line}: $ {command.text}\nexited with {done.returncode}, the page says {command.status}\n{done.stdout}"
    assert done.returncode == command.status, told
    rest = done.stdout
    for shown in command.shown:
        pattern = r".*?".join(re.escape(part.strip()) for part in shown.split("…"))
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
        match = re.search(pattern, rest)
        assert match, f"the output does not show {shown!r}\n{told}"
        rest = rest[match.end() :]
