"""What the plugin costs a pytest run that does not use it: `python benchmarks/startup.py`. Mark: under 25 ms.

Starts pytest on an empty folder with the plugin and with `-p no:distill`, in turn, and compares the processor time of the
fastest run of each, because that depends least on what else the machine does.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile

ROUNDS = 25
LIMIT_MS = 25.0


def seconds(folder: str, *options: str) -> float:
    """Processor seconds of one pytest run."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 5, done.stdout.decode()  # no tests collected
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        seconds(folder), seconds(folder, "-p", "no:distill")  # warms the file cache
        pairs = [(seconds(folder), seconds(folder, "-p", "no:distill")) for _ in range(ROUNDS)]
    with_plugin, without = (1000 * min(column) for column in zip(*pairs, strict=True))
    cost = with_plugin - without
    print(f"pytest start on an empty folder, fastest of {ROUNDS}: {with_plugin:.1f} ms with the plugin, {without:.1f} ms without")
    print(f"cost of the plugin: {cost:.1f} ms (mark: under {LIMIT_MS:g})")
    return int(cost >= LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
