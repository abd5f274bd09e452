"""How long `distill --help`, and the --help of every command, take: `python benchmarks/cli_startup.py`. Mark: under 150 ms each.

The median of several starts, by the clock of the wall, because that is what a person waits for: run it on a quiet machine.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

from pytest_distill.cli.completion import read
from pytest_distill.cli.main import build_parser

ROUNDS = 7
LIMIT_MS = 150.0
DISTILL = Path(sys.executable).with_name("distill")


def milliseconds(*words: str) -> float:
    started = time.perf_counter()
    subprocess.run([DISTILL, *words, "--help"], capture_output=True, check=True)
    return 1000 * (time.perf_counter() - started)


def main() -> int:
    commands = [command.path[1:] for command in read(build_parser(), ("distill",)).below()]
    milliseconds()  # warms the file cache
    medians = {words: statistics.median(milliseconds(*words) for _ in range(ROUNDS)) for words in commands}
    for words, median in medians.items():
        print(f"{median:7.1f} ms  distill {' '.join((*words, '--help'))}")
    slowest = max(medians.values())
    print(f"slowest of {len(medians)}, median of {ROUNDS}: {slowest:.1f} ms (mark: under {LIMIT_MS:g})")
    return int(slowest >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
