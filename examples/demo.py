"""`make demo`: rows from a crawl, and rows that a base model writes, are judged, sealed, exported and verified. Offline.

First a crawl that has to be mended. Then a pilot of 150 rows, written and judged by the tiny model the project ships; and the
same pilot twice more, each time with one rule of the pipeline broken, which has to stay. Every command is printed before it
runs, so that it can be typed again in `demo/` or `demo/generated/`, workspaces like any other.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

from pytest_distill import storage
from pytest_distill.pipelines.stage1.cleaning import DELIMITER, clean_response
from pytest_distill.policy.model import Policy
from pytest_distill.policy.sampling_plan import SamplingPlan, plan_for

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
GENERATED = DEMO / "generated"
MARK = "# Written by `make demo`, which replaces the whole folder.\n"

STRICT = """
[[contamination.benchmarks]]
name = "word-problems"
path = "benchmark.jsonl"
fields = ["question"]
"""

# What a person decided after reading what the first run found: how many rows of each sort may stay behind in quarantine.
ALLOWANCES = """
[gates]
"answer.truncated".max_rejected_rows = 1
"code.syntax".max_rejected_rows = 1
"contamination.ngram".max_rejected_rows = 1
"counts.rows".max_ingest_rejected_share = 0.01
"duplicates.exact".max_rejected_rows = 1
"duplicates.near".max_rejected_rows = 1
"privacy.personal-data".max_rejected_rows = 1
"text.pseudo-empty".max_rejected_rows = 1
"""

# The tiny model is no teacher: of 40 rows that people read, three were bad. The default plan of inspection is for teachers.
ROWS = 150
BAD = 3 / 40
NO_TEACHER = """
[inspection]
aql = 0.08
limiting_quality = 0.2
"""


def main() -> int:
    prepare()
    tell("A curated file and a scraped one become a batch. Lines that are no rows go to quarantine at once.")
    run("distill", "ingest", "curated.jsonl", "scraped.jsonl", "--id", "mixed", "--kind", "sft", "--no-progress")
    tell("The standard suite judges it. No gate allows a rejected row by itself, so this has to fail.")
    run("pytest", "-q", "--distill-batch=mixed", status=1)
    run("distill", "export", "mixed", "--format", "jsonl", "--out", "refused", status=1)
    tell("Somebody reads the list and allows these rows to stay behind in quarantine. A leaked delimiter never has an allowance.")
    storage.write_bytes(DEMO / "distill.toml", (MARK + STRICT + ALLOWANCES).encode())
    run("pytest", "-q", "--distill-batch=mixed", status=1)
    tell(
        f"That one is mended where it was made: its answer ends before {DELIMITER}. Batches are never edited; this is a new one."
    )
    mend()
    run("distill", "ingest", "curated.jsonl", "mended.jsonl", "--id", "mended", "--kind", "sft", "--no-progress")
    run("pytest", "-q", "--distill-batch=mended")
    tell("PASSED and sealed: it may leave, without the rows in quarantine, and anyone can check what left.")
    run("distill", "export", "mended", "--format", "jsonl", "--out", "export")
    run("distill", "verify", "export")
    run("sha256sum", "-c", "--quiet", "SHA256SUMS", folder=DEMO / "export")
    generate()
    print(f"\nVerdict: PASSED, after two that were FAILED. Export: {os.path.relpath(DEMO / 'export')}")
    print(f"Generated: PASSED, and FAILED with either rule broken. Export: {os.path.relpath(GENERATED / 'export')}")
    return 0


def generate() -> None:
    """A pilot of stage 1, and what the gates say when a rule of the pipeline is broken."""
    tell("What a model writes in bulk has to match a gold set: rows that a person wrote, hard cases among them. Without one:")
    run("distill", "run", "stage1", "--count", str(ROWS), "--id", "pilot-1", status=1, folder=GENERATED)
    run("distill", "gold", "add", "gold.jsonl", "--who", "A. Name", folder=GENERATED)
    run("distill", "gold", "freeze", folder=GENERATED)
    tell(f"A base model continues lists of tasks, answers them, and labels both; their log-probabilities decide. {ROWS} rows.")
    run("distill", "run", "stage1", "--count", str(ROWS), "--id", "pilot-1", folder=GENERATED)
    default, ours = plan(""), plan(NO_TEACHER)
    usual = f"{default.rows} of {ROWS} rows, {default.accept} defect at most"
    lucky = f"{default.chance(BAD):.0%}"
    tell(f"Bulk leaves after a sample of it was inspected. By default: {usual}. That is for a teacher. Of 40 rows of the")
    tell(f"tiny model people called 3 bad: that plan would pass it with a chance of {lucky}. Here distill.toml asks for less,")
    tell(f"aql = 0.08, limiting_quality = 0.2: {ours.rows} rows, {ours.accept} defects at most ({ours.chance(BAD):.0%}).")
    tell("The model itself may inspect, asked to be surer than when it filtered,")
    tell("because on 60 rows that people judged it agrees with them. `distill inspect pilot-1` is for people.")
    verifier = ("--verifier", "critic", "--threshold", "2.5")
    run("distill", "agreement", "verified.jsonl", *verifier, folder=GENERATED)
    run("distill", "inspect", "pilot-1", *verifier, folder=GENERATED)
    run("pytest", "-q", "--distill-batch=pilot-1", folder=GENERATED)
    run("distill", "export", "pilot-1", "--format", "jsonl", "--out", "export", folder=GENERATED)
    run("distill", "verify", "export", folder=GENERATED)
    for rule, gate, story in (
        ("delimiter", "stage1.delimiter", "The same pilot, with responses that are no longer cut at the delimiter."),
        ("critics", "stage1.critics-genuine", "The same pilot, with critics whose log-probabilities were filled in, not read."),
    ):
        tell(f"{story} Its own summary is made to match.")
        run("python", "../../examples/sabotage.py", "pilot-1", rule, folder=GENERATED)
        run("pytest", "-q", f"--distill-batch=pilot-1-without-{rule}", status=1, folder=GENERATED)
        run("distill", "export", f"pilot-1-without-{rule}", "--format", "jsonl", "--out", "refused", status=1, folder=GENERATED)
        blocked_by(f"pilot-1-without-{rule}", gate)


def plan(policy: str) -> SamplingPlan:
    """What this policy asks of a pilot."""
    return plan_for(Policy.model_validate(tomllib.loads(policy)), bulk=True, lot=ROWS)


def blocked_by(batch: str, gate: str) -> None:
    """Ends the demo unless the newest verdict on a batch names this gate."""
    shown = subprocess.run(
        [Path(sys.executable).parent / "distill", "show", batch, "--json"], cwd=GENERATED, capture_output=True, check=True
    )
    said = {found["id"]: found["status"] for found in json.loads(shown.stdout)["run"]["gates"]}
    if said[gate] != "failed":
        sys.exit(f"{gate} should have failed for {batch}: it said {said[gate]}")


def prepare() -> None:
    """A fresh workspace in demo/. A folder of that name that is not ours is left alone."""
    policy = DEMO / "distill.toml"
    if DEMO.exists():
        if not (policy.is_file() and policy.read_text(encoding="utf-8").startswith(MARK)):
            sys.exit(f"{DEMO} was not made by `make demo`; move it away")
        shutil.rmtree(DEMO)
    rows = files("pytest_distill.fixtures") / "rows"
    for name in ("curated.jsonl", "scraped.jsonl", "benchmark.jsonl"):
        storage.write_bytes(DEMO / name, (rows / name).read_bytes())
    storage.write_bytes(policy, (MARK + STRICT).encode())
    storage.write_bytes(GENERATED / "distill.toml", (MARK + NO_TEACHER).encode())
    for name in ("gold.jsonl", "verified.jsonl"):
        storage.write_bytes(GENERATED / name, (rows / name).read_bytes())


def mend() -> None:
    """scraped.jsonl again, with the answers that hold the delimiter cut where the model had finished. Other lines: same bytes."""
    lines = []
    for line in (DEMO / "scraped.jsonl").read_text(encoding="utf-8").splitlines():
        if DELIMITER in line:
            row = json.loads(line)
            row["response"] = clean_response(row["response"]).text
            line = json.dumps(row, ensure_ascii=False)
        lines.append(line)
    storage.write_bytes(DEMO / "mended.jsonl", "".join(f"{line}\n" for line in lines).encode())


def tell(text: str) -> None:
    print(f"\n# {text}", flush=True)


def run(*command: str, status: int = 0, folder: Path = DEMO) -> None:
    print(f"$ {' '.join(command)}", flush=True)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=folder, env={**environment, "PATH": path}, check=False)
    if done.returncode != status:
        sys.exit(f"that should have exited with {status}, not {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())
