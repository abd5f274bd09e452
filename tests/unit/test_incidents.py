"""Violations become incidents; a blocking one stops exports until its owner has closed it. And what may be pruned."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sealed_workspace import ID, Sealed, judge, sealed

from pytest_distill import clock, ledger, storage
from pytest_distill.cli.main import main
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release import incidents, retention
from pytest_distill.release.export import export
from pytest_distill.release.retention import prune
from pytest_distill.release.runs import unknown_seals


@pytest.fixture
def demo(tmp_path: Path) -> Sealed:
    return sealed(tmp_path / "workspace")


def refused(code: Code, call: object, *args: object, **options: object) -> str:
    with pytest.raises(DistillError) as caught:
        call(*args, **options)  # type: ignore[operator]
    assert caught.value.code is code
    return str(caught.value)


def test_a_forged_seal_becomes_an_incident_that_stops_exports_until_it_is_closed(demo: Sealed, tmp_path: Path) -> None:
    seal = demo.folder / "seal.json"
    honest = seal.read_bytes()
    seal.write_bytes(honest.replace(b"ALL_REQUIRED", b"ANY_REQUIRED"))
    for _ in range(2):
        with pytest.raises(DistillError):
            export(demo.workspace, ID, tmp_path / "out", "jsonl")
    (incident,) = incidents.incidents(demo.workspace)
    assert (incident.kind, incident.blocking, incident.state, incident.batch) == ("forged-seal", True, "open", ID)
    seal.write_bytes(honest)
    assert "incident 1 is open" in refused(Code.INCIDENT, export, demo.workspace, ID, tmp_path / "out", "jsonl")
    assert "is open" in refused(Code.INCIDENT, incidents.close, demo.workspace, 1, who="Ada", note="no")
    incidents.review(demo.workspace, 1, who="Ada", note="a script wrote into .distill; removed")
    assert "is reviewed" in refused(Code.INCIDENT, export, demo.workspace, ID, tmp_path / "out", "jsonl")
    incidents.close(demo.workspace, 1, who="Ada", note="the folder is read-only for scripts now")
    assert export(demo.workspace, ID, tmp_path / "out", "jsonl").is_dir()


def test_a_broken_ledger_becomes_an_incident_too(demo: Sealed, tmp_path: Path) -> None:
    demo.workspace.ledger.write_bytes(b"{}\n")
    refused(Code.LEDGER, export, demo.workspace, ID, tmp_path / "out", "jsonl")
    assert [incident.kind for incident in incidents.incidents(demo.workspace)] == ["broken-ledger"]


def test_what_is_merely_not_done_yet_is_no_incident(demo: Sealed, tmp_path: Path) -> None:
    judge(demo.workspace, demo.batch, verdict="FAILED", findings=("not today",))
    refused(Code.UNSEALED, export, demo.workspace, ID, tmp_path / "out", "jsonl")
    assert incidents.incidents(demo.workspace) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (Code.FRONTIER, "frontier-attempted"),
        (Code.COST_CLASS, "cost-not-declared"),
        (Code.ESCALATION, "ongoing-frontier-attempted"),
        (Code.USAGE, None),
    ],
)
def test_a_refusal_that_stopped_a_violation_is_entered_and_blocks_nothing(demo: Sealed, code: Code, kind: str | None) -> None:
    with pytest.raises(DistillError), incidents.noted(demo.workspace, ID):
        raise DistillError(code, "tried")
    found = [(i.kind, i.blocking) for i in incidents.incidents(demo.workspace)]
    assert found == ([(kind, False)] if kind else [])
    incidents.refuse_blocked(demo.workspace)


def test_a_gate_that_finds_a_broken_contract_opens_a_blocking_incident(demo: Sealed, tmp_path: Path) -> None:
    incidents.judged(demo.workspace, ID, {"text.language": ["no"]})
    assert incidents.incidents(demo.workspace) == []
    for _ in range(2):
        incidents.judged(demo.workspace, ID, {"bulk.cost": ["2 above"], "bulk.reproducible": ["no seed"]})
    assert [i.kind for i in incidents.incidents(demo.workspace)] == ["cost-above-declared", "missing-reproducibility"]
    assert "cost-above-declared" in refused(Code.INCIDENT, export, demo.workspace, ID, tmp_path / "out", "jsonl")


def test_incidents_that_are_met_at_once_have_numbers_of_their_own(demo: Sealed) -> None:
    """Two of one number would be one: the second hid the first, and a blocking one blocked no more."""
    code = (
        "import sys; from pathlib import Path; from pytest_distill.policy import workspace\n"
        "from pytest_distill.release.incidents import open_incident\n"
        "opened, kind = workspace.load(Path(sys.argv[1])), sys.argv[2]\n"
        "for n in range(20): open_incident(opened, kind, str(n), blocking=kind == 'forged-seal')"
    )
    arguments = ((str(demo.workspace.root), kind) for kind in ("forged-seal", "tainted-run"))
    writers = [subprocess.Popen([sys.executable, "-c", code, *given]) for given in arguments]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    found = incidents.incidents(demo.workspace)
    assert [incident.number for incident in found] == list(range(1, 41))
    assert sum(incident.blocking for incident in found) == 20


def test_only_the_owner_that_the_policy_names_reviews(demo: Sealed) -> None:
    (demo.workspace.root / "distill.toml").write_text('[bulk]\nowner = "Ada"\n')
    owned = workspaces.load(demo.workspace.root)
    incidents.open_incident(owned, "x", "y", blocking=True)
    assert "Ada is" in refused(Code.INCIDENT, incidents.review, owned, 1, who="Eve", note="fine")
    assert "no incident 2" in refused(Code.INCIDENT, incidents.review, owned, 2, who="Ada", note="fine")
    assert "a note that says something" in refused(Code.INCIDENT, incidents.review, owned, 1, who="Ada", note=" ")
    assert incidents.incidents(owned)[0].state == "open"
    assert "incident 1 is open" in refused(Code.INCIDENT, incidents.refuse_blocked, owned)


def test_the_commands_open_review_close_and_list(demo: Sealed, capsys: pytest.CaptureFixture[str]) -> None:
    at = ["--workspace", str(demo.workspace.root)]
    assert main(["incidents", "open", "--kind", "skipped-inspection", "--what", "nobody looked", "--blocking", *at]) == 0
    assert main(["incidents", "review", "1", "--who", "Ada", "--note", "inspected now", *at]) == 0
    assert main(["incidents", "close", "1", "--who", "Ada", "--note", "a reminder is set", *at]) == 0
    capsys.readouterr()
    assert main(["incidents", "--json", *at]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["state"], len(listed["notes"])) == ("closed", 2)


def test_a_cut_tail_shows_in_the_seal_that_stood_there(demo: Sealed) -> None:
    assert unknown_seals(demo.workspace) == []
    path = demo.workspace.ledger
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    head = f"{len(lines) - 1} {storage.sha256_bytes(lines[-2].rstrip())}\n"
    path.with_name("ledger.jsonl.head").write_text(head)
    assert ledger.verify(path).seq == len(lines) - 1, "the chain alone does not show it"
    assert unknown_seals(demo.workspace) == [f"run {demo.folder.name} of {ID} was sealed behind line {len(lines) - 1}"]
    assert main(["ledger", "verify", "--workspace", str(demo.workspace.root)]) == 1


def test_the_audit_lines_have_the_form_of_the_contract(
    demo: Sealed, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "timestamp", lambda: "2024-12-13T10:23:45Z")
    facts = {"what": "synthetic_training_data", "why": "model_training", "where": "/data/batch-001", "how": "local_model_v2.1"}
    ledger.append(demo.workspace.ledger, "seal", batch="batch-001", **facts, gates_passed=("schema", "sampling", "lint"))
    at = ["--workspace", str(demo.workspace.root)]
    assert main(["ledger", "show", "--audit", "--batch", "batch-001", *at]) == 0
    assert capsys.readouterr().out == (
        '2024-12-13T10:23:45Z batch-001 "synthetic_training_data" "model_training" "/data/batch-001" "local_model_v2.1" '
        '"schema+sampling+lint"\n'
    )
    assert main(["ledger", "export", "--out", str(tmp_path / "copy.jsonl"), *at]) == 0
    assert (tmp_path / "copy.jsonl").read_bytes() == demo.workspace.ledger.read_bytes()
    assert main(["ledger", "export", "--out", str(tmp_path / "copy.jsonl"), *at]) == 1


def test_prune_refuses_what_must_stay(demo: Sealed) -> None:
    assert "has to stay until" in refused(Code.RETENTION, prune, demo.workspace, [ID], really=True)
    assert "stays forever" in refused(Code.RETENTION, prune, demo.workspace, ["ledger"], really=True)
    assert "no batch" in refused(Code.RETENTION, prune, demo.workspace, ["unknown"], really=True)
    assert prune(demo.workspace, [], really=True) == []
    assert demo.batch.folder.is_dir()


@pytest.mark.parametrize(("years", "gone"), [(3, []), (6, [ID, "000001"])])
def test_gate_results_keep_their_batch_for_five_years(
    demo: Sealed, monkeypatch: pytest.MonkeyPatch, years: int, gone: list[str]
) -> None:
    later = clock.now().replace(year=clock.now().year + years, day=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert [held.path.name for held in prune(demo.workspace, [], really=False)] == gone
    assert demo.batch.folder.is_dir()
    assert [held.path.name for held in prune(demo.workspace, [], really=True)] == gone
    assert demo.batch.folder.is_dir() == (not gone)
    assert [e.event for e in ledger.entries(demo.workspace.ledger)].count("pruned") == len(gone)


def test_what_was_removed_by_hand_before_its_time_is_an_incident_that_stops_exports(
    demo: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--workspace", str(demo.workspace.root)]
    assert main(["prune", *at]) == 0
    assert "removed" not in capsys.readouterr().err
    shutil.rmtree(demo.folder)
    for _ in range(2):
        assert main(["prune", *at]) == 0
        assert f"warning: .distill/runs/{ID}/000001 (gate results) has to stay until 20" in capsys.readouterr().err
    (incident,) = incidents.incidents(demo.workspace)
    assert (incident.kind, incident.blocking) == ("removed-before-its-time", True)
    refused(Code.INCIDENT, incidents.refuse_blocked, demo.workspace)
    incidents.review(demo.workspace, 1, who="Ada", note="a cleaning script; it is gone")
    incidents.close(demo.workspace, 1, who="Ada", note="there is no copy")
    main(["prune", *at])
    assert len(incidents.incidents(demo.workspace)) == 1, "it was dealt with"
    later = clock.now().replace(year=clock.now().year + 6, day=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    capsys.readouterr()
    main(["prune", *at])
    assert "warning" not in capsys.readouterr().err, "by now it might have gone"


def test_a_batch_that_was_removed_by_hand_is_told_and_one_that_was_pruned_is_not(
    demo: Sealed, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"batches/{ID}"
    ledger.append(demo.workspace.ledger, "ingested", batch=ID, where=where)
    assert retention.removed(demo.workspace) == []
    shutil.rmtree(demo.batch.folder)
    assert [what.split(" (")[0] for what in retention.removed(demo.workspace)] == [where]
    ledger.append(demo.workspace.ledger, "pruned", batch=ID, what="batch", run=None, where=where)
    assert retention.removed(demo.workspace) == []


def test_what_the_ledger_does_not_know_stays(demo: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    (demo.workspace.batches / "stray").mkdir()
    later = clock.now().replace(year=2099, day=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert "does not say how old" in refused(Code.RETENTION, prune, demo.workspace, ["stray"], really=True)


def test_a_prune_that_was_killed_is_done_again(demo: Sealed, monkeypatch: pytest.MonkeyPatch) -> None:
    later = clock.now().replace(year=clock.now().year + 6, day=1)
    monkeypatch.setattr(clock, "now", lambda: later)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "remove_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            prune(demo.workspace, [], really=True)
    assert [held.path.name for held in prune(demo.workspace, [ID], really=True)] == [ID, "000001"]
    assert not demo.batch.folder.exists()


def test_what_was_pruned_and_made_again_is_told_when_it_is_removed(demo: Sealed) -> None:
    where = f"batches/{ID}"
    ledger.append(demo.workspace.ledger, "pruned", batch=ID, what="batch", run=None, where=where)
    ledger.append(demo.workspace.ledger, "ingested", batch=ID, where=where)
    shutil.rmtree(demo.batch.folder)
    assert [what.split(" (")[0] for what in retention.removed(demo.workspace)] == [where]


def test_a_run_never_takes_the_number_of_one_that_is_gone(demo: Sealed, tmp_path: Path) -> None:
    """The ledger would know two of one number, and the newest run would look older than one that was pruned."""
    shutil.rmtree(demo.workspace.runs)
    assert judge(demo.workspace, demo.batch).folder.name == "000002"
    assert export(demo.workspace, ID, tmp_path / "out", "jsonl").is_dir()
    ledger.append(demo.workspace.ledger, "pruned", batch=ID, what="gate results", run="000007", where="x")
    assert judge(demo.workspace, demo.batch).folder.name == "000008"
