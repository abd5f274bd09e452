"""`make bench`: the benchmarks of this folder, each in a process of its own, one after the other.

`python -m benchmarks startup suite` runs those two. A benchmark prints its figures and the marks it is held to, and exits with 1
when it misses one. `critics.py` is not among them: it needs torch and a checkpoint, and is run in an environment that has them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BENCHMARKS = (
    "startup",
    "cli_startup",
    "ingest_memory",
    "preprocess_memory",
    "suite",
    "report",
    "tokenizing",
    "evidence",
    "language",
    "retrieval",
    "run",
)


def main(names: list[str]) -> int:
    if unknown := sorted(set(names) - set(BENCHMARKS)):
        sys.exit(f"no benchmark {unknown[0]}; there are {', '.join(BENCHMARKS)}")
    missed = []
    for name in names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        if subprocess.run([sys.executable, "-P", str(HERE / f"{name}.py")], check=False).returncode:
            missed.append(name)
    print(f"\n{'missed a mark: ' + ', '.join(missed) if missed else 'every mark met'}")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
