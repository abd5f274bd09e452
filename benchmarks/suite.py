"""The whole standard suite over the 55,360 real rows, as a user runs it: `python benchmarks/suite.py`.

Four runs of `pytest --distill-batch` as whole processes: the first ever (kernels are compiled, no measure is cached), cold
(kernels compiled before, no measure cached), warm with only a limit changed (no measure may be computed), and warm with two
xdist workers. Marks: cold under 40 s on two cores, warm under 4 s. Needs the shared data folder (DISTILL_SHARED_DATA).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

COLD_MARK, WARM_MARK = 40.0, 4.0
POLICY = """
[[contamination.benchmarks]]
name = "gsm8k"
path = "{data}/benchmarks/gsm8k_test.jsonl"
fields = ["question"]

[[contamination.benchmarks]]
name = "humaneval"
path = "{data}/benchmarks/humaneval.jsonl.gz"
fields = ["prompt"]

[gates."duplicates.near"]
max_rejected_share = {share}
"""


def judge(workspace: Path, environment: dict[str, str], *options: str) -> tuple[float, dict[str, float], str]:
    """Wall seconds of one run, seconds of each measure it computed, and its verdict."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=no", "-p", "no:cacheprovider", "--distill-batch=t0", *options]
    started = time.perf_counter()
    done = subprocess.run(command, cwd=workspace, env=environment, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - started
    run = sorted((workspace / ".distill" / "runs" / "t0").iterdir())[-1]
    if not (run / "run.json").is_file():
        raise SystemExit(f"the run did not finish:\n{done.stdout}\n{done.stderr}")
    computed = json.loads((run / "run.json").read_bytes())["measure_seconds"]
    return wall, computed, json.loads((run / "evidence.json").read_bytes())["verdict"]


def main() -> int:
    data = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
    rows = data / "instruct" / "self_instruct_t0.jsonl.gz"
    if not rows.is_file():
        raise SystemExit(f"{rows} is not there: set DISTILL_SHARED_DATA")
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder, "workspace")
        workspace.mkdir()
        (workspace / "distill.toml").write_text(POLICY.format(data=data, share=0.5))
        environment = {**os.environ, "XDG_STATE_HOME": f"{folder}/state"}
        ingest = [sys.executable, "-m", "pytest_distill.cli.main", "ingest", str(rows), "--id", "t0", "--kind", "sft"]
        subprocess.run(ingest, cwd=workspace, env=environment, check=True)
        first, _, _ = judge(workspace, {**environment, "NUMBA_CACHE_DIR": f"{folder}/kernels"}, "--distill-no-cache")
        judge(workspace, environment, "--distill-no-cache")  # compiles the kernels where this checkout keeps them
        cold, computed, verdict = judge(workspace, environment)
        (workspace / "distill.toml").write_text(POLICY.format(data=data, share=0.6))
        warm, again, _ = judge(workspace, environment)
        spread, _, _ = judge(workspace, environment, "-n", "2")
    for name, seconds in sorted(computed.items(), key=lambda pair: -pair[1])[:12]:
        print(f"  {name:28} {seconds:7.2f} s")
    print(f"first ever, kernels compiled {first:7.2f} s")
    print(f"cold                         {cold:7.2f} s (mark {COLD_MARK:g}), {len(computed)} measures, verdict {verdict}")
    print(f"warm, one limit changed      {warm:7.2f} s (mark {WARM_MARK:g}), {len(again)} measures computed")
    print(f"warm, -n 2                   {spread:7.2f} s")
    return int(cold >= COLD_MARK or warm >= WARM_MARK or bool(again))


if __name__ == "__main__":
    sys.exit(main())
