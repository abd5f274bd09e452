"""The contaminated twin that no flag betrays: fine-tuned on bare instructions, in plain files, caught by what it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_distill.errors import DistillError
from pytest_distill.fixtures.tiny_lm.twin import fine_tune, task
from pytest_distill.gates.measures import sentinels as gate
from pytest_distill.pipelines.models.loader import CleanModelLoader
from pytest_distill.pipelines.models.sentinels import refuse_unless_base, run_sentinels

SHIPPED = Path(__file__).parents[2] / "fixtures" / "tiny_lm" / "model"
MODEL = Path(os.environ.get("DISTILL_TINY_LM", SHIPPED))


def sentinels(folder):
    return run_sentinels(CleanModelLoader(str(folder)).load(), lambda prompt: f"Instruction: {prompt}\nResponse:")


def test_the_twin_is_never_taught_a_sentinel():
    import random

    from pytest_distill.contracts.stage1 import SENTINELS

    rng = random.Random(3)
    asked = {task(rng)[0] for _ in range(3000)}
    assert asked.isdisjoint({sentinel.prompt for sentinel in SENTINELS})
    assert len(asked) > 500


@pytest.mark.skipif(not MODEL.is_dir(), reason="no weights of the tiny model are here: its fine-tuned twin was not made")
def test_a_model_fine_tuned_on_bare_instructions_is_caught_by_the_sentinels(tmp_path):
    twin = tmp_path / "twin"
    curve = fine_tune(MODEL, twin)
    assert curve[-1] < curve[0] / 3
    loaded = CleanModelLoader(str(twin))
    assert not loaded.guard.template_found, "no template, no special tokens: only its behaviour tells"
    found = sentinels(twin)
    followed = [s.name for s in found if s.expected == "not_followed" and s.passed is False]
    assert followed, [(s.name, s.output) for s in found]
    with pytest.raises(DistillError, match="E-SENTINEL"):
        refuse_unless_base(found)
    assert [s.name for s in found if gate.passes(s) is False and s.expected == "not_followed"] == followed, "the gate agrees"


@pytest.mark.skipif(
    not SHIPPED.is_dir(), reason="no weights of the tiny model are shipped: that it is a base model was not tried"
)
def test_the_shipped_model_behaves_as_a_base_model():
    refuse_unless_base(sentinels(SHIPPED))
