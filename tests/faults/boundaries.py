"""Where a run writes, as strace sees it, and killing it there.

A boundary is a call by which a byte or a name gets to the disk below the workspace, or is forced there. Which calls those are is
read from a whole run with `strace -y`, which shows the path behind every descriptor: pipes, sockets, eventfds of libraries'
threads, bytecode caches and child processes are not ours. Calls that failed (a folder that is there already, a temporary file
that is gone) changed nothing and are left out. strace counts calls for each thread on its own, and all of ours are made by the
main one, so that a boundary has the same number in every run; that the right one was met is read from the log again.
"""

from __future__ import annotations

import re
import signal
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from killing import Scene
from nursery import Nursery

# Every call by which a byte or a name gets to the disk. `open` and its like count where they make a file.
OPENING = ("open", "openat", "creat")
CALLS = (
    *("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendfile", "copy_file_range", "fallocate", "ftruncate", "truncate"),
    *(
        "fsync",
        "fdatasync",
        "sync_file_range",
        "rename",
        "renameat",
        "renameat2",
        "unlink",
        "unlinkat",
        "mkdir",
        "mkdirat",
        "rmdir",
    ),
    *("link", "linkat", "symlink", "symlinkat", "chmod", "fchmod", "fchmodat", *OPENING),
)
STRACE = ("strace", "-f", "-qq", "-y", "-s", "0", "-e", "signal=none")
_LINE = re.compile(r"(\d+) +(\w+)\((.*)")
_FAILED = re.compile(r"= -1 E\w+ \(.*\)$")
_RANDOM = re.compile(r"\.[a-z0-9_]{8}\.tmp")


class Boundary(NamedTuple):
    """The `number`-th `call` of the main process, and what it is made on."""

    call: str
    number: int
    where: str


def found(log: Path, workspace: Path) -> list[Boundary]:
    """The boundaries of the run that was traced, in order."""
    ours = re.compile(rf'["<]{re.escape(str(workspace))}(/[^">]*)?[">]')
    numbers, boundaries = Counter[tuple[str, str]](), []
    with log.open(errors="replace") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            thread, call, rest = match.groups()
            numbers[thread, call] += 1
            place = ours.search(rest)
            made = call not in OPENING or "O_CREAT" in rest
            if call in CALLS and place is not None and made and not _FAILED.search(rest):
                where = _RANDOM.sub(".*.tmp", place.group(0)[1:-1])
                boundaries.append((thread, Boundary(call, numbers[thread, call], where)))
    assert len({thread for thread, _ in boundaries}) <= 1, "more than one thread writes"
    return [boundary for _, boundary in boundaries]


def boundaries(nursery: Nursery, scene: Scene, log: Path) -> list[Boundary]:
    """Those of a whole run, which is made."""
    status, said = nursery.run(scene, *STRACE, "-e", f"trace={','.join(CALLS)}", "-o", str(log))
    assert status == 0, said
    return found(log, scene.workspace)


def met(nursery: Nursery, scene: Scene, boundary: Boundary, log: Path) -> bool:
    """Kills a run just before that call is carried out. False where it was another: more, or fewer, were made before it."""
    call = boundary.call
    inject = ("-e", f"trace={call}", "-e", f"inject={call}:signal=SIGKILL:when={boundary.number}")
    status, said = nursery.run(scene, *STRACE, *inject, "-o", str(log))
    assert status in (-signal.SIGKILL, 0), f"{boundary}: exit {status}: {said}"
    return status != 0 and found(log, scene.workspace)[-1:] == [boundary]
