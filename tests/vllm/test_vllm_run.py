"""Stage 1 on vLLM, the whole way: a pilot is made, judged by the standard suite, and sealed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import HEADS, SETTINGS
from inspecting import inspect_all
from taught import save_taught

from pytest_distill.batch.batch import open_batch
from pytest_distill.contracts.stage1 import SESSION, SessionManifest

GOLD = Path(__file__).parents[2] / "fixtures" / "rows" / "gold.jsonl"


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    return save_taught(tmp_path_factory.mktemp("models") / "taught", heads=HEADS)


def run(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=place, env=os.environ | SETTINGS, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def test_a_pilot_on_vllm_is_judged_and_sealed(taught, tmp_path):
    # A model that was taught for seconds writes sums, and a gold set has other words.
    (tmp_path / "distill.toml").write_text('schema_version = 1\n[gates."bulk.gold-match"]\nseverity = "warn"\n')
    place = ("--workspace", str(tmp_path))
    run(tmp_path, "pytest_distill.cli.main", *place, "gold", "add", str(GOLD), "--who", "A. Name")
    run(tmp_path, "pytest_distill.cli.main", *place, "gold", "freeze")
    made = ("--id", "p", "--count", "100", "--model", str(taught), "--backend", "vllm", "--lists-per-unit", "20", "--no-progress")
    told = run(tmp_path, "pytest_distill.cli.main", *place, "run", "stage1", *made)
    assert "p: 100 rows kept of" in told
    inspect_all(tmp_path, "p")
    assert "PASSED, sealed" in run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "--distill-batch=p")
    session = open_batch(tmp_path / "batches" / "p").attachment(SESSION)
    assert session is not None
    assert SessionManifest.from_bytes(session, name=SESSION).environment.vllm
