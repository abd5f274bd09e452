"""Escalation: frontier models diagnose, the specification changes, bulk is local again; every other order is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sealed_workspace import make_workspace, write_batch

from pytest_distill.cli.main import main
from pytest_distill.contracts.manifest import Authorization, Declaration, Manifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import escalation

LOW = Declaration()
HIGH = Declaration(cost_class="high", justification="x", authorization=Authorization(by="Ada", date="2026-01-31"))
SPECS = ("a" * 64, "b" * 64, "c" * 64)


def made(workspace: Workspace, name: str, spec: str = SPECS[0]) -> Manifest:
    folder = workspace.batch_folder(name)
    manifest = write_batch(folder).manifest if not folder.exists() else Manifest.load(folder / "manifest.json")
    how = manifest.how.model_copy(update={"pipeline": "own:rows"})
    return manifest.model_copy(update={"id": name, "origin": "generated", "how": how, "spec_sha256": spec})


def refused(call: object, *args: object, **options: object) -> str:
    with pytest.raises(DistillError) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.code is Code.ESCALATION
    return str(caught.value)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def test_the_whole_way(workspace: Workspace) -> None:
    manifest = made(workspace, "demo")
    escalation.refuse_bulk(workspace, "own:rows", SPECS[0], HIGH)  # nothing is under way: not its business
    one = escalation.begin(workspace, manifest, "half of the answers are lists")
    assert "is opened, and nobody has looked why" in refused(escalation.refuse_bulk, workspace, "own:rows", SPECS[1], LOW)
    escalation.refuse_bulk(workspace, "other:rows", SPECS[0], LOW)
    escalation.diagnosed(workspace, one.number, model="big", items=5, finding="the prompt shows lists")
    assert "are still the same" in refused(escalation.refuse_bulk, workspace, "own:rows", SPECS[0], LOW)
    assert "do not go on with bulk" in refused(escalation.refuse_bulk, workspace, "own:rows", SPECS[1], HIGH)
    escalation.refuse_bulk(workspace, "own:rows", SPECS[1], LOW)
    assert escalation.escalation(workspace, 1).state == "revised"
    escalation.returned(workspace, made(workspace, "demo", SPECS[1]))
    done = escalation.escalation(workspace, 1)
    assert (done.state, done.items, done.findings) == ("returned", 5, ("big: the prompt shows lists",))
    escalation.refuse_bulk(workspace, "own:rows", SPECS[1], LOW)


def test_pipelines_that_fall_below_at_once_have_escalations_of_their_own(workspace: Workspace) -> None:
    """Two of one number would be one: the second hid the first, and nothing stopped that pipeline's bulk any more."""
    code = (
        "import sys; from pathlib import Path; from pytest_distill.policy import workspace\n"
        "from pytest_distill.contracts.manifest import Manifest; from pytest_distill.release import escalation\n"
        "opened, manifest = workspace.load(Path(sys.argv[1])), Manifest.model_validate_json(sys.stdin.buffer.read())\n"
        "for n in range(40):\n"
        "    how = manifest.how.model_copy(update={'pipeline': f'own:{sys.argv[2]}{n}'})\n"
        "    escalation.judged(opened, manifest.model_copy(update={'how': how}), ['bulk.gold-match'])"
    )
    given = made(workspace, "demo").to_bytes()
    arguments = ((str(workspace.root), name) for name in ("one", "two"))
    writers = [subprocess.Popen([sys.executable, "-c", code, *a], stdin=subprocess.PIPE) for a in arguments]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write(given)
        writer.stdin.close()
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert [one.number for one in escalation.escalations(workspace)] == list(range(1, 81))


def test_diagnosis_is_bounded(workspace: Workspace) -> None:
    one = escalation.begin(workspace, made(workspace, "demo"), "x").number
    escalation.diagnosed(workspace, one, model="big", items=30, finding="x")
    assert "51 of 50" in refused(escalation.diagnosed, workspace, one, model="big", items=21, finding="x")
    escalation.diagnosed(workspace, one, model="big", items=20, finding="x")
    refused(escalation.diagnosed, workspace, one, model="big", items=1, finding="x")
    refused(escalation.diagnosed, workspace, 7, model="big", items=1, finding="x")


def test_a_gate_that_compares_with_gold_opens_one_and_others_do_not(workspace: Workspace) -> None:
    manifest = made(workspace, "demo")
    escalation.judged(workspace, manifest, ["text.language"])
    escalation.judged(workspace, manifest.model_copy(update={"origin": "ingested"}), ["bulk.gold-match"])
    assert escalation.escalations(workspace) == []
    for _ in range(2):
        escalation.judged(workspace, manifest, ["bulk.gold-match", "text.language"])
    assert [(e.state, e.why) for e in escalation.escalations(workspace)] == [("opened", "bulk.gold-match failed")]


def test_the_commands(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(workspace.root)]
    write_batch(workspace.batch_folder("demo"))
    assert main(["escalation", "open", "demo", "--why", "x", *at]) == 1  # it was ingested
    assert "E-ESCALATION" in capsys.readouterr().err
    escalation.begin(workspace, made(workspace, "demo"), "answers are lists")
    capsys.readouterr()
    assert main(["escalation", "list", "--json", *at]) == 0
    assert json.loads(capsys.readouterr().out)[0]["state"] == "opened"
    assert main(["escalation", "show", "1", *at]) == 0
    assert "distill escalation diagnose 1" in capsys.readouterr().out
    assert main(["escalation", "diagnose", "1", "--model", "small", *at]) == 1
    assert "E-FRONTIER]: small is a local model" in capsys.readouterr().err
    assert main(["escalation", "diagnose", "1", "--model", "small", "--rows", "51", *at]) == 1
    assert "E-ESCALATION" in capsys.readouterr().err


class Sequences(RuleBasedStateMachine):
    """Any order of steps, against a checker that knows one word and two specifications."""

    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="escalation-"))
        self.workspace = make_workspace(self.folder)
        self.manifest = made(self.workspace, "demo")
        self.state, self.items, self.old, self.new = "none", 0, SPECS[0], ""

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def attempt(self, legal: bool, call: object, *args: object, **options: object) -> None:
        if legal:
            call(*args, **options)  # type: ignore[operator]
        else:
            refused(call, *args, **options)

    @rule(spec=st.sampled_from(SPECS))
    def begin(self, spec: str) -> None:
        legal = self.state in ("none", "returned")
        self.attempt(legal, escalation.begin, self.workspace, self.manifest.model_copy(update={"spec_sha256": spec}), "why")
        if legal:
            self.state, self.items, self.old = "opened", 0, spec

    @precondition(lambda self: self.state != "none")
    @rule(items=st.integers(-1, 60))
    def diagnose(self, items: int) -> None:
        number = len(escalation.escalations(self.workspace))
        legal = self.state in ("opened", "diagnosed") and items >= 1 and self.items + items <= 50
        self.attempt(legal, escalation.diagnosed, self.workspace, number, model="big", items=items, finding="x")
        if legal:
            self.state, self.items = "diagnosed", self.items + items

    @rule(spec=st.sampled_from(SPECS), frontier=st.booleans())
    def bulk(self, spec: str, frontier: bool) -> None:
        free = self.state in ("none", "returned")
        legal = free or (self.state in ("diagnosed", "revised") and spec != self.old and not frontier)
        self.attempt(legal, escalation.refuse_bulk, self.workspace, "own:rows", spec, HIGH if frontier else LOW)
        if legal and not free:
            self.state, self.new = "revised", spec

    @rule(spec=st.sampled_from(SPECS))
    def written(self, spec: str) -> None:
        escalation.returned(self.workspace, self.manifest.model_copy(update={"spec_sha256": spec}))
        if self.state == "revised" and spec == self.new:
            self.state = "returned"

    @invariant()
    def agrees(self) -> None:
        found = escalation.escalations(self.workspace)
        assert (found[-1].state if found else "none") == self.state


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=25, stateful_step_count=12, deadline=None)
