"""Receipts: what a stage read, wrote and counted is on disk whether it went well or not, and its hashes know no clock."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import receipt_strategies
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pytest_distill import clock
from pytest_distill.contracts.receipts import FileDigest, RunSummary, StageReceipt, io_hash, run_hash
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages import summaries
from pytest_distill.stages.digests import Digests
from pytest_distill.stages.receipts import open_run, with_receipt


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    root = tmp_path / "work"
    root.mkdir()
    (root / "distill.toml").write_text("")
    return workspaces.load(root)


@pytest.fixture
def source(workspace: Workspace) -> Path:
    path = workspace.root / "streams" / "reviews.jsonl"
    path.parent.mkdir()
    path.write_text('{"a": 1}\n{"a": 2}\n')
    return path


@pytest.fixture
def any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock can be pinned in the test and runs again after it."""
    monkeypatch.setattr(clock, "_pinned", None)


def receipt_of(workspace: Workspace, stage: str) -> StageReceipt:
    return summaries.newest_receipts(workspace)[stage]


def copy_upper(source: Path, target: Path, *, more: str = "") -> None:
    target.write_text(source.read_text().upper() + more)


# -- what a receipt holds ---------------------------------------------------------------------------------------------------


def test_a_receipt_names_inputs_outputs_counts_and_parameters(workspace: Workspace, source: Path) -> None:
    with with_receipt(workspace, "score", parameters={"scorer": "v1"}) as stage:
        stage.reads(source)
        copy_upper(source, workspace.root / "scored.jsonl")
        stage.writes(workspace.root / "scored.jsonl")
        stage.count(in_=2, out=2, accepted=1)
        stage.count(rejected=1)
    receipt = receipt_of(workspace, "score")
    assert [(file.path, file.rows) for file in receipt.inputs] == [("streams/reviews.jsonl", 2)]
    assert [file.path for file in receipt.outputs] == ["scored.jsonl"]
    assert receipt.record_counts.model_dump(by_alias=True) == {
        "in": 2, "out": 2, "accepted": 1, "rejected": 1, "quarantined": 0, "skipped": 0, "deduped": 0,
    }  # fmt: skip
    assert receipt.materialised == {"rows": 2}
    assert (receipt.validation.passed, receipt.completed, receipt.parameters) == (True, True, {"scorer": "v1"})


def test_a_skipped_row_fails_the_validation_but_not_the_stage(workspace: Workspace) -> None:
    with with_receipt(workspace, "collect") as stage:
        stage.count(in_=15, out=14, skipped=1)
    receipt = receipt_of(workspace, "collect")
    assert (receipt.validation.passed, receipt.validation.errors, receipt.completed) == (False, (), True)
    assert not summaries.load(workspace, "latest").overall_passed


def test_a_stage_that_fails_leaves_a_receipt_with_the_reason(workspace: Workspace, source: Path) -> None:
    def fail() -> None:
        with with_receipt(workspace, "collect") as stage:
            stage.reads(source)
            stage.writes(workspace.root / "never")
            raise DistillError(Code.FORMAT, "the stream is no JSONL\nat all")

    with pytest.raises(DistillError):
        fail()
    receipt = receipt_of(workspace, "collect")
    assert receipt.validation.errors == ("E-SOURCE-FORMAT: the stream is no JSONL\\nat all",)
    assert (receipt.completed, receipt.validation.passed, len(receipt.inputs), receipt.outputs) == (False, False, 1, ())


@pytest.mark.parametrize(
    ("error", "told"), [(KeyboardInterrupt(), "KeyboardInterrupt: no message"), (SystemExit(143), "stopped: exit status 143")]
)
def test_a_stage_that_was_stopped_leaves_a_receipt(workspace: Workspace, error: BaseException, told: str) -> None:
    with pytest.raises(type(error)), with_receipt(workspace, "collect"):
        raise error
    assert receipt_of(workspace, "collect").validation.errors == (told,)


def test_an_output_that_was_announced_and_not_written_fails_the_stage(workspace: Workspace) -> None:
    with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"), with_receipt(workspace, "collect") as stage:
        stage.writes(workspace.root / "never")
    assert not receipt_of(workspace, "collect").completed


def test_an_input_that_changes_while_the_stage_reads_it_is_an_error(workspace: Workspace, source: Path) -> None:
    with with_receipt(workspace, "collect") as stage:
        stage.reads(source)
        source.write_text('{"a": 3}\n')
    assert receipt_of(workspace, "collect").validation.errors == (
        "input_changed: streams/reviews.jsonl changed while the stage read it",
    )


def test_an_input_that_is_not_there_is_refused(workspace: Workspace) -> None:
    with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"), with_receipt(workspace, "collect") as stage:
        stage.reads(workspace.root / "gone.jsonl")


def test_a_file_outside_the_workspace_is_known_by_its_name_alone(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with with_receipt(workspace, "ingest") as stage:
        stage.reads(tmp_path / "rows.jsonl")
    assert [file.path for file in receipt_of(workspace, "ingest").inputs] == ["outside:rows.jsonl"]


def test_the_commit_is_that_of_the_repository_around_the_workspace(workspace: Workspace) -> None:
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(workspace.root), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    with with_receipt(workspace, "collect"):
        pass
    assert receipt_of(workspace, "collect").git_sha is None, "there is no commit yet"
    git("commit", "-q", "--allow-empty", "-m", "first")
    with with_receipt(workspace, "collect"):
        pass
    assert receipt_of(workspace, "collect").git_sha == git("rev-parse", "HEAD")


# -- runs -------------------------------------------------------------------------------------------------------------------


def chain(workspace: Workspace, source: Path, *, more: str = "", pipeline: str = "run-all") -> RunSummary:
    """Two stages, one on the other's output."""
    with open_run(workspace, pipeline) as run:
        with run.stage("collect") as stage:
            stage.reads(source.parent)
            (workspace.root / "evidence").mkdir(exist_ok=True)
            copy_upper(source, workspace.root / "evidence" / "reviews.jsonl", more=more)
            stage.writes(workspace.root / "evidence")
            stage.count(in_=2, out=2)
        with run.stage("export-sft") as stage:
            stage.reads(workspace.root / "evidence")
            copy_upper(workspace.root / "evidence" / "reviews.jsonl", workspace.root / "sft.jsonl")
            stage.writes(workspace.root / "sft.jsonl")
            stage.count(in_=2, out=2, quarantined=0)
    return summaries.load(workspace, run.id)


def test_every_stage_of_a_run_leaves_one_receipt_that_shares_its_id(workspace: Workspace, source: Path) -> None:
    summary = chain(workspace, source)
    folder = summaries.run_folder(workspace, summary.run_id)
    assert sorted(path.name for path in folder.iterdir()) == ["collect.json", "export-sft.json", "summary.json", "summary.md"]
    assert [(r.run_id, r.stage) for r in summaries.receipts(folder)] == [("000001", "collect"), ("000001", "export-sft")]
    assert (summary.totals.in_, summary.datasets.sft, summary.datasets.rag, summary.overall_passed) == (4, 2, None, True)


def test_one_stage_has_one_receipt_in_a_run(workspace: Workspace) -> None:
    with open_run(workspace, "run-all") as run:
        with run.stage("collect"):
            pass
        with pytest.raises(ValueError, match="has a stage collect already"), run.stage("collect"):
            pass


def test_a_run_whose_second_stage_did_not_run_has_not_passed(workspace: Workspace) -> None:
    with open_run(workspace, "run-all") as run:
        with run.stage("collect"):
            pass
        run.skip("score", "collect left nothing")
    summary = summaries.load(workspace, run.id)
    assert (summary.overall_passed, summary.not_run[0].why) == (False, "collect left nothing")


def test_a_run_without_a_stage_has_not_passed(workspace: Workspace) -> None:
    with open_run(workspace, "run-all") as run:
        pass
    assert not summaries.load(workspace, run.id).overall_passed


@pytest.mark.usefixtures("any_time")
def test_the_same_run_again_has_the_same_hash_whatever_the_clock_says(workspace: Workspace, source: Path) -> None:
    clock.pin("2026-01-31T12:00:00Z")
    first = chain(workspace, source)
    clock.pin("2027-01-31T12:00:00Z")
    second = chain(workspace, source)
    assert first.started_at != second.started_at
    assert first.run_hash == second.run_hash
    assert summaries.DriftReport.load(summaries.run_folder(workspace, second.run_id) / "drift.json").severity == "ok"


def test_another_output_gives_another_run_hash(workspace: Workspace, source: Path) -> None:
    assert chain(workspace, source).run_hash != chain(workspace, source, more='{"b": 1}\n').run_hash


def test_a_run_is_compared_with_the_one_of_its_pipeline_and_subject(workspace: Workspace, source: Path) -> None:
    chain(workspace, source)
    chain(workspace, source, pipeline="other")
    third = chain(workspace, source)
    report = summaries.DriftReport.load(summaries.run_folder(workspace, third.run_id) / "drift.json")
    assert report.prior_run_id == "000001"


def test_the_pages_say_what_happened_and_escape_what_came_from_data(workspace: Workspace) -> None:
    with open_run(workspace, "run-all") as run, run.stage("collect") as stage:
        stage.count(in_=3, out=2, skipped=1)
        stage.error("missing_field", "created_at | <b>x</b>")
    page = (summaries.run_folder(workspace, run.id) / "summary.md").read_text()
    assert "did not pass" in page
    assert "| collect | no | 3 | 2 |" in page
    assert "created\\_at \\| &lt;b&gt;x" in page
    assert "| collect | 000001 | no | 3 | 2 |" in (workspace.receipts / "latest.md").read_text()


def test_the_newest_receipt_of_a_stage_counts_whatever_became_of_it(workspace: Workspace) -> None:
    with with_receipt(workspace, "collect"):
        pass
    with pytest.raises(ZeroDivisionError), with_receipt(workspace, "collect"):
        raise ZeroDivisionError("x")
    assert not receipt_of(workspace, "collect").completed


@pytest.mark.parametrize("run_id", ["7", "x", "", "-1", "²"])
def test_an_unknown_run_is_refused(workspace: Workspace, run_id: str) -> None:
    with pytest.raises(DistillError, match="no run"):
        summaries.load(workspace, run_id)


# -- hashes -----------------------------------------------------------------------------------------------------------------


@given(files=receipt_strategies.FILES, data=st.data())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_files_does_not_enter_the_hash(files: tuple[FileDigest, ...], data: st.DataObject) -> None:
    assert io_hash(data.draw(st.permutations(files))) == io_hash(files)


@given(receipt_strategies.FILES, receipt_strategies.FILES)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_different_files_have_different_hashes(one: tuple[FileDigest, ...], other: tuple[FileDigest, ...]) -> None:
    def content(files: tuple[FileDigest, ...]) -> list[tuple[str, str]]:
        return sorted((file.path, file.timeless_sha256 or file.sha256) for file in files)

    assert (io_hash(one) == io_hash(other)) == (content(one) == content(other))


def test_moving_bytes_between_path_and_digest_changes_the_hash() -> None:
    one = FileDigest(path="a", sha256="b" + "0" * 63)
    other = FileDigest(path="ab", sha256="0" * 64)
    assert io_hash([one]) != io_hash([other])


def test_parameters_are_part_of_what_a_stage_read() -> None:
    assert io_hash([], {"scorer": "v1"}) != io_hash([], {"scorer": "v2"})
    assert io_hash([], {"limit": 1}) != io_hash([], {"limit": "1"})


@given(summary=receipt_strategies.summaries(), data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_order_of_stages_does_not_enter_the_run_hash(summary: RunSummary, data: st.DataObject) -> None:
    assert run_hash(data.draw(st.permutations(summary.stages))) == summary.run_hash


@pytest.mark.parametrize("path", ["a/../streams/x", "./streams/x", "streams//x", "streams/x"])
def test_one_file_has_one_name_however_it_is_written(workspace: Workspace, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (workspace.root / "streams").mkdir()
    (workspace.root / "streams" / "x").write_bytes(b"x")
    monkeypatch.chdir(workspace.root)
    assert Digests(workspace.root).name(Path(path)) == "streams/x"
    assert Digests(workspace.root).name(workspace.root / path) == "streams/x"


def test_a_workspace_reached_through_a_link_gives_the_same_names(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(workspace.root)
    assert Digests(tmp_path / "link").name(workspace.root / "x") == Digests(workspace.root).name(tmp_path / "link" / "x") == "x"


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../b", "./a", "a//b", ".", "", "a\\b", "a/"])
def test_a_receipt_with_another_kind_of_path_is_refused(path: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        FileDigest(path=path, sha256="0" * 64)


LINE = '{{"text": "{text}", "provenance": {{"recorded_at": "{at}"}}}}\n'
EARLY, LATE = "2026-01-31T12:00:00Z", "2031-12-31T23:59:59.123456+01:00"


def digest(folder: Path, name: str, text: str) -> FileDigest:
    (folder / name).write_text(text)
    return Digests(folder).file(folder / name)


@pytest.mark.parametrize("key", ["recorded_at", "created_at", "scored_at"])
def test_injected_times_are_left_out_of_the_comparison(tmp_path: Path, key: str) -> None:
    one = digest(tmp_path, "a.jsonl", f'{{"{key}": "{EARLY}", "n": 1}}\n')
    other = digest(tmp_path, "a.jsonl", f'{{"{key}": "{LATE}", "n": 1}}\n')
    assert one.sha256 != other.sha256
    assert one.timeless_sha256 == other.timeless_sha256 is not None
    assert digest(tmp_path, "a.jsonl", f'{{"{key}": "{EARLY}", "n": 2}}\n').timeless_sha256 != one.timeless_sha256


def test_times_of_the_source_stay_in_the_comparison(tmp_path: Path) -> None:
    one = digest(tmp_path, "a.jsonl", f'{{"timestamp": "{EARLY}"}}\n')
    assert one.timeless_sha256 is None
    assert one.sha256 != digest(tmp_path, "a.jsonl", f'{{"timestamp": "{LATE}"}}\n').sha256


@given(st.text(max_size=40))
@settings(deadline=None)
def test_a_text_cannot_pass_for_an_injected_time(text: str) -> None:
    quoted = json.dumps(f'"recorded_at":"{EARLY}"{text}')
    assert b'"recorded_at":"' not in quoted.encode()


def test_a_hash_over_json_that_was_written_again_would_miss_this(tmp_path: Path) -> None:
    """Planted fault: re-serialising hides that a transform spells a float differently. The bytes themselves are hashed."""
    one, other = (f'{{"cost": {number}, "recorded_at": "{EARLY}"}}\n' for number in ("100.0", "1e2"))
    assert json.dumps(json.loads(one)) == json.dumps(json.loads(other)), "the fault would see one file"
    assert digest(tmp_path, "a.jsonl", one).timeless_sha256 != digest(tmp_path, "a.jsonl", other).timeless_sha256


def test_a_time_across_a_block_border_is_blanked_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_distill.stages.digests._BLOCK", 16)
    text = LINE.format(text="x" * 30, at=EARLY) * 3
    assert digest(tmp_path, "a.jsonl", text).timeless_sha256 is not None
    assert digest(tmp_path, "a.jsonl", text).rows == 3
    assert (
        digest(tmp_path, "a.jsonl", text).timeless_sha256
        == digest(tmp_path, "a.jsonl", text.replace(EARLY, LATE)).timeless_sha256
    )


@pytest.mark.parametrize(("text", "rows"), [("", 0), ("{}\n", 1), ("{}", 1), ("{}\n{}", 2), ("\n\n", 2)])
def test_the_lines_of_a_stream_are_counted(tmp_path: Path, text: str, rows: int) -> None:
    assert digest(tmp_path, "a.jsonl", text).rows == rows


def test_a_batch_is_compared_by_the_digest_without_times_that_it_brings_along(tmp_path: Path) -> None:
    (tmp_path / "timeless.json").write_text("{}")
    found = []
    for sums in ("one", "other"):
        (tmp_path / "SHA256SUMS").write_text(sums)
        found += Digests(tmp_path.parent).files(tmp_path)
    assert found[0].sha256 != found[1].sha256
    assert io_hash(found[:1]) == io_hash(found[1:])


def test_a_file_is_read_once_in_a_run_and_again_when_it_changed(tmp_path: Path) -> None:
    digests = Digests(tmp_path)
    (tmp_path / "a").write_bytes(b"one")
    first = digests.file(tmp_path / "a")
    assert digests.file(tmp_path / "a") is first
    (tmp_path / "a").write_bytes(b"two")
    assert digests.file(tmp_path / "a").sha256 != first.sha256


# -- what a receipt cannot say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_hash": "1" * 64}, "input_hash is not that"),
        ({"output_hash": "1" * 64}, "output_hash is not that"),
        ({"validation": {"passed": False, "errors": []}}, "validation.passed must be"),
        ({"validation": {"passed": True, "errors": ["x: y"]}}, "validation.passed must be"),
        ({"record_counts": {"skipped": 1}}, "validation.passed must be"),
        ({"record_counts": {"in": -1}}, "record_counts.in"),
        ({"completed": False}, "must say why"),
        ({"stage": "Not A Stage"}, "stage"),
        ({"run_id": "latest"}, "run_id"),
    ],
)
def test_a_receipt_that_does_not_add_up_is_refused(changes: dict[str, object], said: str) -> None:
    value = json.loads(receipt_strategies.ONE["receipt"].to_bytes())
    with pytest.raises(DistillError, match=said):
        StageReceipt.from_bytes(json.dumps(value | changes).encode(), name="the receipt")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"overall_passed": True}, "overall_passed must be"),
        ({"run_hash": "1" * 64}, "run_hash is not that"),
        ({"totals": {"in": 1}}, "totals are not"),
    ],
)
def test_a_summary_that_does_not_add_up_is_refused(changes: dict[str, object], said: str) -> None:
    value = json.loads(receipt_strategies.ONE["run_summary"].to_bytes())
    with pytest.raises(DistillError, match=said):
        RunSummary.from_bytes(json.dumps(value | changes).encode(), name="the summary")
