"""A workspace with a report that has every section, from rows the project ships: for the tests here and the pictures in docs."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

POLICY = '[[contamination.benchmarks]]\nname = "problems"\npath = "benchmark.jsonl"\nfields = ["question"]\n'
WAIVER = """
[[waivers]]
gate = "code.syntax"
reason = "the row shows an error on purpose"
who = "A. Nyström"
expires = 2999-01-01
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")} | {"COLUMNS": "110"}


def distill(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "pytest_distill.cli.main", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def judge(folder: Path, batch: str, *options: str) -> str:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--distill-batch={batch}", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def build(folder: Path) -> Path:
    """Judges curated rows, and then the same with some that a crawl brought. Returns the folder of the second run."""
    folder.mkdir(parents=True)
    rows = files("pytest_distill.fixtures") / "rows"
    for name in ("curated.jsonl", "scraped.jsonl", "benchmark.jsonl"):
        (folder / name).write_bytes((rows / name).read_bytes())
    (folder / "distill.toml").write_text(POLICY)
    distill(folder, "ingest", "curated.jsonl", "--id", "curated", "--kind", "sft", "--no-progress")
    judge(folder, "curated", "-q")
    distill(folder, "ingest", "curated.jsonl", "scraped.jsonl", "--id", "mixed", "--kind", "sft", "--no-progress")
    judge(folder, "mixed", "-q")
    (folder / "distill.toml").write_text(POLICY + WAIVER)
    judge(folder, "mixed", "-q")
    return folder / ".distill" / "runs" / "mixed" / "000002"
