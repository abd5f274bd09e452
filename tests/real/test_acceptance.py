"""The whole road on real rows: ingest, a default verdict of FAILED, limits that allow quarantine, seal, export, verify.

Three files that nobody wrote for this project, read from DISTILL_SHARED_DATA. What is exported and what is quarantined have to
add up to what was ingested, row by row.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data")).resolve()
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="no DISTILL_SHARED_DATA: no real dataset was judged end to end")

BENCHMARKS = """
[[contamination.benchmarks]]
name = "gsm8k"
path = "{0}/benchmarks/gsm8k_test.jsonl"
fields = ["question"]

[[contamination.benchmarks]]
name = "humaneval"
path = "{0}/benchmarks/humaneval.jsonl.gz"
fields = ["prompt"]
"""
# What a team would write after reading the first verdict: near duplicates may be many, the rest a few in a hundred.
FEW = [
    "answer.refusal",
    "answer.truncated",
    "code.syntax",
    "duplicates.exact",
    "length.answer",
    "length.prompt",
    "privacy.personal-data",
    "quality.repetition",
    "text.blank",
    "text.encoding",
    "text.language",
    "text.placeholder",
    "text.pseudo-empty",
    "text.template-leak",
]


def run(workspace: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", *command], cwd=workspace, capture_output=True, text=True, check=False)


def record(workspace: Path, batch: str) -> dict[str, object]:
    newest = sorted((workspace / ".distill" / "runs" / batch).iterdir())[-1]
    return json.loads((newest / "evidence.json").read_bytes())


@pytest.mark.parametrize(
    ("file", "kind", "rows", "refused_by"),
    [
        ("instruct/self_instruct_t0.jsonl.gz", "sft", 55_360, {"duplicates.exact": 1_153, "duplicates.near": 21_557}),
        ("code/codegen_instruct.json.gz", "sft", 4_535, {"code.syntax": 12}),
        ("preference/hh_rlhf_harmless_test.jsonl.gz", "preference", 2_312, {"answer.truncated": 55}),
    ],
    ids=["self_instruct", "codegen", "hh_rlhf"],
)
def test_from_file_to_export(tmp_path: Path, file: str, kind: str, rows: int, refused_by: dict[str, int]) -> None:
    policy = tmp_path / "distill.toml"
    policy.write_text(BENCHMARKS.format(SHARED))
    done = run(tmp_path, "pytest_distill.cli.main", "ingest", str(SHARED / file), "--id", "real", "--kind", kind)
    assert f"{rows:,} rows read = {rows:,} kept + 0 quarantined" in done.stderr

    strict = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=real")
    assert strict.returncode == 1, strict.stdout
    first = record(tmp_path, "real")
    assert first["verdict"] == "FAILED"
    figures = {gate["id"]: gate for gate in first["gates"]}
    for gate, rejected in refused_by.items():
        assert (figures[gate]["status"], figures[gate]["rejected"]) == ("failed", rejected)
    assert figures["contamination.ngram"]["status"] == "passed"

    allowed = "".join(f'[gates."{gate}"]\nmax_rejected_share = 0.05\n' for gate in FEW)
    policy.write_text(BENCHMARKS.format(SHARED) + allowed + '[gates."duplicates.near"]\nmax_rejected_share = 0.5\n')
    lenient = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=real", "--distill-export=out")
    assert lenient.returncode == 0, lenient.stdout
    second = record(tmp_path, "real")
    assert second["verdict"] == "PASSED"
    newest = sorted((tmp_path / ".distill" / "runs" / "real").iterdir())[-1]
    assert json.loads((newest / "run.json").read_bytes())["measure_seconds"] == {}, "a changed limit computes no measure again"

    counted = second["rows"]
    lines = (tmp_path / "out" / "data.jsonl").read_bytes().splitlines()
    assert len(lines) == counted["remaining"]
    assert counted["remaining"] + counted["quarantined"] == counted["batch"] == rows
    assert run(tmp_path, "pytest_distill.cli.main", "verify", "out").returncode == 0
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=tmp_path / "out", check=True)
    # Every exported row is a row of the source, value for value.
    data = gzip.decompress((SHARED / file).read_bytes())
    source = orjson.loads(data) if file.endswith(".json.gz") else [orjson.loads(line) for line in data.splitlines()]
    known = {orjson.dumps({k: v for k, v in row.items() if k != "id"}, option=orjson.OPT_SORT_KEYS) for row in source}
    left = [{k: v for k, v in orjson.loads(line).items() if k != "id"} for line in lines]
    assert all(orjson.dumps(row, option=orjson.OPT_SORT_KEYS) in known for row in left)
