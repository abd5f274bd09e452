"""Figures of preprocessing as a gate: what the policy bounds rejects rows, and what nobody measured fails the batch."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from workbench import Bench

from pytest_distill.errors import DistillError
from pytest_distill.gates.measures.diagnostics import diagnostic_over
from pytest_distill.measuring.measure import declaration
from pytest_distill.pipelines.preprocess import config
from pytest_distill.pipelines.preprocess.run import preprocess
from pytest_distill.policy import workspace
from pytest_distill.policy.model import Diagnostics

GATE = "quality.diagnostics"
PROSE = (
    "The keeper of the lighthouse wrote down every ship that passed in the night, and what the weather was like. When the "
    "harbour silted up the ships stopped coming, and her daughter sold the lamp to a museum in the capital, where it still hangs."
)
OTHER = (
    "Bread rises because yeast feeds on sugar and gives off gas, which the dough holds back as bubbles. A warm kitchen makes it "
    "work faster, and a cold one slows it down and gives the flavour time, so that bakers who can wait let it stand all night."
)
MAIL = f"{OTHER} Write to the bakers of the old town at ada@analytical-engines.co.uk if their loaves taste of nothing."


@pytest.fixture
def judged(bench: Bench, tmp_path: Path) -> Bench:
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in (PROSE, MAIL)), encoding="utf-8")
    settings = config.load(None, languages=("en",)).model_dump() | {"length": {"min_words": 5}}
    preprocess([str(source)], workspace.load(bench.root), "web", config.Config.model_validate(settings))
    return bench


def test_without_a_bound_nothing_is_asked(judged: Bench) -> None:
    assert judged.judge(batch="web").status(GATE) == "not_applicable"


def test_what_is_over_its_bound_is_rejected(judged: Bench) -> None:
    judged.policy("[diagnostics.max]\npersonal_data = 0\nsymbols = 0.3\n")
    ended = judged.judge(batch="web")
    assert ended.status(GATE) == "failed"
    rows = pl.read_parquet(ended.folder / "quarantine.parquet").filter(pl.col("by") == GATE)
    assert rows["row"].to_list() == [1]
    assert rows["message"].item().endswith("personal_data 1.0 > 0")


def test_what_nobody_measured_fails_the_batch(judged: Bench) -> None:
    judged.policy("[diagnostics.max]\ntoxicity = 0.5\n")
    ended = judged.judge(batch="web")
    assert ended.status(GATE) not in ("passed", "not_applicable")
    assert "the policy bounds toxicity, which preprocessing of this batch has not measured" in ended.out
    assert not ended.sealed


def test_a_figure_that_is_not_known_is_over_every_bound() -> None:
    bounds = Diagnostics(max={"toxicity": 0.5, "perplexity": 4.0})
    found = declaration(diagnostic_over).function(
        bounds,
        diagnostic_toxicity=pl.Series([0.1, 0.5, 0.9, None, float("nan"), 0.6]),
        diagnostic_perplexity_z=pl.Series([-1.0, 4.0, 1.0, 1.0, 1.0, 9.0]),
    )
    assert found.to_list() == [
        None, None, "toxicity 0.9 > 0.5", "toxicity is not known", "toxicity is not known",
        "toxicity 0.6 > 0.5; perplexity 9.0 > 4",
    ]  # fmt: skip
    with pytest.raises(DistillError, match="bounds symbols"):
        declaration(diagnostic_over).function(Diagnostics(max={"symbols": 0.1}))
