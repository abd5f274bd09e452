"""How long `distill --help`, and the --help of every command, take: `python benchmarks/cli_startup.py`. Mark: under 150 ms each.

Processor time of the start, median of several: what a person waits for on a machine that is not busy with other things. A bare
start of the interpreter and the time by the clock of the wall are shown beside it.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from pytest_distill.cli.main import build_parser
from pytest_distill.cli.shells import read

ROUNDS = 7
LIMIT_MS = 150.0
DISTILL = Path(sys.executable).with_name("distill")


def start(*command: str | Path) -> tuple[float, float]:
    """Milliseconds of processor time and by the clock, the median of each."""
    spent, waited = [], []
    for _ in range(ROUNDS):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        waited.append(1000 * (time.perf_counter() - started))
        spent.append(1000 * (after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime))
    return statistics.median(spent), statistics.median(waited)


def main() -> int:
    commands = [command.path[1:] for command in read(build_parser(), ("distill",)).below()]
    start(DISTILL, "--help")  # warms the file cache
    bare, _ = start(sys.executable, "-c", "pass")
    found = {words: start(DISTILL, *words, "--help") for words in commands}
    for words, (spent, waited) in found.items():
        print(f"{spent:7.1f} ms ({waited:7.1f} by the clock)  distill {' '.join((*words, '--help'))}")
    slowest = max(spent for spent, _ in found.values())
    print(
        f"slowest of {len(found)}: {slowest:.1f} ms of processor time (mark: under {LIMIT_MS:g}); bare interpreter {bare:.1f} ms"
    )
    return int(slowest >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
