"""Scoring a batch: attempts are bounded and counted, units are resumed to the same bytes, and a changed plan is refused.

The judge here is deterministic code behind the protocol, so that each reply is known. tests/generate scores with real models.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pytest_distill.batch.batch import Batch
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.contracts.grading import DIMENSIONS, SCORING, ScoringSummary, ScoringUnit
from pytest_distill.contracts.manifest import Usage
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.scoring import Order, ScoringRun, columns_of, plan_of, score, scored_batch
from pytest_distill.pipelines.models.judging import Ran, Reply
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.stopping import Stop

RAN = Ran("rules", "sha256:" + "1" * 64, "1" * 64, "rules-1", "2" * 64, None, constrained=False)
GOOD = json.dumps({**dict.fromkeys(DIMENSIONS, 1.0), "domain": {"id": 0, "confidence": 0.5}})
ORDER = Order(columns=("text",), unit_rows=2, retries=2)


class RuleJudge:
    """Answers by what the row says: "prose", "late" (good at the third attempt), "cut", "refuse"; anything else is good."""

    ran = RAN

    def __init__(self) -> None:
        self.asked: list[tuple[str, float, int]] = []

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
        return "holds '[INST]', a token of a chat template" if "[INST]" in prompt else None

    def ask(
        self, prompts: Sequence[str], *, schema: Mapping[str, Any], max_new_tokens: int, seeds: Sequence[int],
        temperature: float = 0.0,
    ) -> list[Reply]:  # fmt: skip
        return [self._reply(prompt, seed, temperature) for prompt, seed in zip(prompts, seeds, strict=True)]

    def _reply(self, prompt: str, seed: int, temperature: float) -> Reply:
        row = json.loads(next(line for line in prompt.splitlines() if line.startswith('{"text"')))["text"]
        self.asked.append((row, temperature, seed))
        before = sum(asked == row for asked, *_ in self.asked)
        if "prose" in row or ("late" in row and before < 3):
            return Reply(f"Sure! {GOOD}", "stop", 10, 5)
        if "cut" in row:
            return Reply(GOOD[:9], "length", 10, 5)
        if "refuse" in row:
            return Reply("no", "refused", 10, 1)
        return Reply(GOOD, "stop", 10, 5)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "distill.toml").write_text("")
    return workspaces.load(tmp_path)


def parent_of(workspace: Workspace, texts: Sequence[str]) -> Batch:
    path = workspace.root / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return ingest([path], workspace, "rows", kind="text")


def scored(workspace: Workspace, parent: Batch, judge: RuleJudge, order: Order = ORDER, stop: Stop | None = None) -> Batch:
    plan = plan_of("scored", parent, judge.ran, order)
    run = ScoringRun(workspace, "scored")
    units = tuple(score(run, plan, parent, judge, stop=stop or Stop(), report=lambda *_: None))
    return scored_batch(workspace, plan, parent, units, judge.ran.use(), what="w", why="y")


TEXTS = ["a", "prose", "late", "[INST] b", "cut", "refuse", "c"]


def test_attempts_are_bounded_and_failures_counted_by_code(workspace: Workspace) -> None:
    judge = RuleJudge()
    batch = scored(workspace, parent_of(workspace, TEXTS), judge)
    summary = ScoringSummary.from_bytes(batch.attachment(SCORING) or b"", name=SCORING)
    assert (summary.rows, summary.scored) == (7, 3)
    assert summary.failures == {"E-PROMPT": 1, "E-SCORE-LENGTH": 1, "E-SCORE-PROSE": 1, "E-SCORE-REFUSED": 1}
    assert summary.attempts_failed == {"E-PROMPT": 1, "E-SCORE-LENGTH": 3, "E-SCORE-PROSE": 5, "E-SCORE-REFUSED": 3}
    asked = [(temperature, seed) for row, temperature, seed in judge.asked if row == "prose"]
    assert [temperature for temperature, _ in asked] == [0.0, 0.7, 0.7]
    assert len({seed for _, seed in asked}) == 3
    assert not any("[INST]" in row for row, *_ in judge.asked)
    entries = pq.read_table(batch.folder / "quarantine.parquet").to_pylist()
    assert {(e["reason"], e["message"].split(":")[0]) for e in entries} == {
        ("unscored", f"[{code}]") for code in summary.failures
    }


def test_a_scored_batch_says_what_ran(workspace: Workspace) -> None:
    batch = scored(workspace, parent_of(workspace, ["a"]), RuleJudge())
    (found,) = (json.loads(text) for text in batch.column("scores"))
    assert (found["scorer_model"], found["scorer_version"]) == ("rules", RAN.version)
    assert found["aggregated"] == pytest.approx(sum(1 / highest for highest in DIMENSIONS.values()) / 5, abs=1e-6)
    usage = Usage(calls=1, tokens_read=10, tokens_written=5)
    assert batch.manifest.how.models == (RAN.use().model_copy(update={"usage": usage}),)
    assert batch.manifest.spec_sha256 is not None


@pytest.mark.parametrize("done", range(5))
def test_what_was_stopped_goes_on_to_the_same_bytes(workspace: Workspace, tmp_path: Path, done: int) -> None:
    parent = parent_of(workspace, TEXTS)
    whole = scored(workspace, parent, RuleJudge())
    folder = ScoringRun(workspace, "scored").folder
    units = sorted(folder.glob("unit-*"))
    assert len(units) == 4
    for unit in units[done:]:
        unit.unlink()
    (folder / ".unit-000000.json.x.tmp").write_bytes(b"torn")
    shutil.rmtree(whole.folder)
    judge = RuleJudge()
    judge.asked = [("late", 0.7, 0)] * 0
    again = scored(workspace, parent, judge)
    assert again.sha256 == whole.sha256
    assert len({row for row, *_ in judge.asked}) <= len(TEXTS[done * 2 :]), "what was done is not asked again"


def test_a_stop_leaves_whole_units_only(workspace: Workspace) -> None:
    parent, stop = parent_of(workspace, TEXTS), Stop()
    judge = RuleJudge()

    class Stopping(RuleJudge):
        def ask(self, *args: Any, **keywords: Any) -> list[Reply]:
            stop.signal = 15
            return judge.ask(*args, **keywords)

    with pytest.raises(SystemExit):
        scored(workspace, parent, Stopping(), stop=stop)
    (unit,) = ScoringRun(workspace, "scored").folder.glob("unit-*")
    assert len(ScoringUnit.load(unit).rows) == 2


@pytest.mark.parametrize(
    ("order", "ran", "said"),
    [
        (replace(ORDER, seed=1), RAN, "seed"),
        (replace(ORDER, retries=0), RAN, "retries"),
        (ORDER, replace(RAN, engine="rules-2"), "scorer"),
        (ORDER, replace(RAN, weights_sha256="3" * 64), "scorer"),
    ],
)
def test_a_run_goes_on_as_it_began_or_not_at_all(workspace: Workspace, order: Order, ran: Ran, said: str) -> None:
    parent = parent_of(workspace, TEXTS)
    shutil.rmtree(scored(workspace, parent, RuleJudge()).folder)
    judge = RuleJudge()
    judge.ran = ran
    with pytest.raises(DistillError, match=rf"E-FREEZE.*another {said}"):
        scored(workspace, parent, judge, order)
    assert judge.asked == []


def test_a_unit_of_another_run_is_refused(workspace: Workspace) -> None:
    parent = parent_of(workspace, TEXTS)
    shutil.rmtree(scored(workspace, parent, RuleJudge()).folder)
    path = ScoringRun(workspace, "scored").folder / "unit-000001.json"
    path.write_bytes(ScoringUnit.load(path).model_copy(update={"plan_sha256": "0" * 64}).to_bytes())
    with pytest.raises(DistillError, match=r"E-FREEZE.*another plan"):
        scored(workspace, parent, RuleJudge())


@pytest.mark.parametrize(("kind", "chosen", "code"), [("preference", None, Code.KIND), ("text", ["title"], Code.COLUMN)])
def test_rows_that_no_scorer_can_be_shown_are_refused(workspace: Workspace, kind: str, chosen: Any, code: Code) -> None:
    path = workspace.root / "rows.jsonl"
    path.write_text('{"text": "a", "title": 1}\n' if kind == "text" else '{"prompt": "p", "chosen": "a", "rejected": "b"}\n')
    with pytest.raises(DistillError) as refused:
        columns_of(ingest([path], workspace, "rows", kind=kind), chosen)
    assert refused.value.code is code
