"""The `distill` command: exit codes, one line for a refusal, one JSON document for a reader, and nothing a terminal obeys."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sealed_workspace import COLUMNS, ID, SOURCE_ROWS, Sealed, gate_record, judge, make_workspace, sealed, write_batch

from pytest_distill import ledger
from pytest_distill.cli import main as cli
from pytest_distill.cli import show
from pytest_distill.contracts.run import Example
from pytest_distill.errors import DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.export import export


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return sealed(tmp_path_factory.mktemp("ws"))


class Told:
    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def distill(ready: Sealed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command in the workspace `ready`."""
    monkeypatch.chdir(ready.workspace.root)
    before = signal.getsignal(signal.SIGTERM)

    def run(*words: str) -> Told:
        try:
            status = cli.main(words)
        except SystemExit as ended:  # argparse
            status = int(ended.code or 0)
        finally:
            signal.signal(signal.SIGTERM, before)
        captured = capsys.readouterr()
        return Told(status, captured.out, captured.err)

    return run


READERS = [
    ["list"],
    ["show", ID],
    ["stats", ID],
    ["sample", ID],
    ["diff", ID, ID],
    ["gates", "list"],
    ["ledger", "verify"],
    ["ledger", "show"],
    ["doctor"],
]


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_reading_commands_give_one_json_document(distill: Any, words: list[str]) -> None:
    told = distill(*words, "--json")
    assert told.status == 0
    assert told.json is not None
    assert told.out.isascii()


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_reading_commands_give_people_a_table(distill: Any, words: list[str]) -> None:
    told = distill(*words)
    assert told.status == 0
    assert told.out.strip()
    assert "\x1b" not in told.out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["show", "nope"], "ERROR [E-BATCH-NOTFOUND]: no batch at "),
        (["report", "nope"], "ERROR [E-BATCH-NOTFOUND]: no batch at "),
        (["show", "../x"], "ERROR [E-USAGE]: '../x' is no batch id. "),
        (["export", "nope", "--format", "jsonl", "--out", "out"], "ERROR [E-BATCH-NOTFOUND]: "),
        (["verify", "batches"], "ERROR [E-VERIFY]: batches is no export: "),
        (["gates", "explain", "no.gate"], "ERROR [E-USAGE]: there is no gate 'no.gate'. "),
        (
            ["gates", "explain", "duplicate.near"],
            "ERROR [E-USAGE]: there is no gate 'duplicate.near'. Did you mean dupl",
        ),
        (["list", "--workspace", "batches"], "ERROR [E-WORKSPACE]: "),
        (["list", "--now", "yesterday"], "ERROR [E-USAGE]: --now 'yesterday' is no ISO 8601 time"),
    ],
)
def test_a_refusal_is_one_line_on_stderr(distill: Any, words: list[str], line: str) -> None:
    told = distill(*words)
    assert (told.status, told.out) == (1, "")
    assert told.err.startswith(line)
    assert told.err.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [[], ["nope"], ["show"], ["export", ID, "--format", "csv", "--out", "x"], ["sample", ID, "-n", "0"], ["list", "--nope"]],
)
def test_wrong_usage_is_two(distill: Any, words: list[str]) -> None:
    told = distill(*words)
    assert (told.status, told.out) == (2, "")


def test_a_number_that_is_none_is_told_in_words(distill: Any) -> None:
    assert distill("sample", ID, "-n", "many").err.endswith("argument -n: 'many' is no number from 1 on\n")


def test_options_stand_before_or_behind_the_command(
    distill: Any, ready: Sealed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = str(ready.workspace.root)
    assert distill("list", "--json").status == 1
    assert distill("--workspace", root, "list", "--json").json == distill("list", "--json", "--workspace", root).json


def test_export_then_verify(distill: Any, tmp_path: Path) -> None:
    told = distill("export", ID, "--format", "parquet", "--out", str(tmp_path / "out"))
    assert (told.status, told.out) == (0, f"{tmp_path / 'out'}\n")
    counts = "4 rows exported + 2 in quarantine = 6 rows of demo"
    assert told.err == f"{counts}\nnot signed\nnext: distill verify {tmp_path / 'out'}\n"
    told = distill("verify", str(tmp_path / "out"), "--json")
    assert (told.status, told.json["rows"], told.json["signature_checked"]) == (0, 4, False)
    assert "not who made it" in distill("verify", str(tmp_path / "out")).err
    assert distill("export", ID, "--format", "jsonl", "--out", str(tmp_path / "out")).err.startswith("ERROR [E-EXPORT-EXISTS]")


def test_show_says_what_every_gate_said_and_that_the_seal_holds(distill: Any) -> None:
    shown = distill("show", ID)
    assert re.search(r"privacy\.secrets +passed +rejected rows: 0 \(<= 0\)", shown.out)
    assert "holds: this batch can be exported" in shown.out
    told = distill("show", ID, "--json").json
    assert (told["sealed"], told["run"]["verdict"], told["batch"]["id"]) == (True, "PASSED", ID)


def test_show_says_why_a_batch_cannot_leave(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    gates = (gate_record("text.blank", status="failed", rejected=3, why=("3 rows are blank",)),)
    judge(workspace, write_batch(workspace.batches / ID), verdict="FAILED", gates=gates, required=("text.blank", "z.never"))
    told = distill("show", ID, "--workspace", str(workspace.root))
    assert re.search(r"text\.blank +failed .* 3 +3 rows are blank", told.out)
    assert re.search(r"z\.never +did not run", told.out)
    assert "E-UNSEALED" in told.out
    assert distill("show", ID, "--json", "--workspace", str(workspace.root)).json["refusal"]["code"] == "E-UNSEALED"


def test_show_begins_with_what_said_no_and_leaves_out_what_does_not_apply(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    gates = (
        gate_record("a.yes"),
        gate_record("b.elsewhere", status="not_applicable", why=("for rag batches",)),
        gate_record("c.no", status="failed", why=("3 rows are blank",)),
    )
    judge(
        workspace, write_batch(workspace.batches / ID), verdict="FAILED", gates=gates, required=("a.yes", "b.elsewhere", "c.no")
    )
    words = ("show", ID, "--workspace", str(workspace.root))
    shown = distill(*words).out
    assert shown.index("c.no") < shown.index("a.yes")
    assert "b.elsewhere" not in shown
    assert "1 more do not apply to this batch; -v shows them" in shown
    assert "for rag batches" in distill(*words, "-v").out


def test_show_quotes_rejected_rows_when_asked_to(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    example = Example(row=1, id="b", source="rows.jsonl", line=2, text="my key is s3cret!", start=10, end=16)
    gates = (gate_record("privacy.secrets", status="failed", rejected=1, examples=(example,)),)
    judge(workspace, write_batch(workspace.batches / ID), verdict="FAILED", gates=gates, required=("privacy.secrets",))
    words = ("show", ID, "--workspace", str(workspace.root))
    assert "s3cret" not in distill(*words).out
    assert re.search(r"rows\.jsonl:2 \(id b\) +my key is »s3cret«!", distill(*words, "-v").out)


def test_show_lists_every_rejected_row_and_says_a_figure_once(
    distill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_workspace(tmp_path)
    row = '{"instruction": "Name a noble gas.", "response": "Argon is a noble gas."}\n'
    (tmp_path / "rows.jsonl").write_text(row * 9)
    root = ("--workspace", str(tmp_path))
    assert distill("ingest", str(tmp_path / "rows.jsonl"), "--id", "nine", *root).status == 0
    done = subprocess.run([*DISTILL, "check", "nine"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "    … and 3 more\n" in done.stdout
    assert "      every rejected row: distill show nine -v\n" in done.stdout
    shown = distill("show", "nine", *root).out
    assert "rejected is" not in shown  # the figure says it already
    told = distill("show", "nine", "-v", *root).out
    assert [int(n) for n in re.findall(r"^ ?rows\.jsonl:(\d) +same as", told, re.M)] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert "(id rows.jsonl" not in told
    monkeypatch.setattr(show, "MOST", 1)
    assert re.search(r"… and 2 more +\S+quarantine\.parquet", distill("show", "nine", "-v", *root).out)


def test_what_was_judged_without_a_workspace_can_be_looked_at(
    distill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".distill").mkdir()
    monkeypatch.chdir(tmp_path)
    workspace = workspaces.load(allow_implicit=True)
    judge(workspace, write_batch(workspace.batches / ID))
    assert [batch["verdict"] for batch in distill("list", "--json").json] == ["PASSED"]
    assert distill("export", ID, "--format", "jsonl", "--out", "out").status == 0
    assert distill("ingest", "nothing.jsonl", "--id", "x").err.startswith("ERROR [E-WORKSPACE]")


def test_list_shows_a_broken_batch_and_goes_on(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    write_batch(workspace.batches / "good")
    (workspace.batches / "bad").mkdir()
    (workspace.batches / "bad" / "manifest.json").write_text("{")
    (workspace.batches / ".staging.tmp").mkdir()
    found = {b["batch"]: b for b in distill("list", "--json", "--workspace", str(workspace.root)).json}
    assert set(found) == {"bad", "good"}
    assert "E-MANIFEST" in found["bad"]["what"]
    assert (found["good"]["rows"], found["good"]["verdict"]) == (6, None)


def test_stats_measure_characters_and_values(distill: Any) -> None:
    columns = {c["column"]: c for c in distill("stats", ID, "--json").json["columns"]}
    lengths = [len(row["response"]) for row in SOURCE_ROWS]
    assert (columns["response"]["min"], columns["response"]["max"], columns["response"]["of"]) == (
        min(lengths),
        max(lengths),
        "characters",
    )
    assert (columns["tokens"]["nulls"], columns["tokens"]["min"]) == (3, -(2**63))
    assert columns["checked"]["mean"] == pytest.approx(3 / 5)
    assert set(columns) == {c.name for c in COLUMNS}


def test_a_sample_is_the_same_for_the_same_seed_and_exact(distill: Any) -> None:
    first, again, other = (distill("sample", ID, "-n", "3", "--seed", seed, "--json").json for seed in ("7", "7", "8"))
    assert first == again != other
    everything = distill("sample", ID, "-n", "99", "--json").json
    assert [row["values"] for row in everything] == SOURCE_ROWS
    assert [row["line"] for row in everything] == [1, 2, 3, 4, 5, 6]


def diff_of(
    distill: Any, root: Path, after: list[dict[str, Any]], columns: Any = COLUMNS, before: list[dict[str, Any]] = SOURCE_ROWS
) -> Any:
    workspace = make_workspace(root)
    write_batch(workspace.batches / "a", before, columns=columns)
    write_batch(workspace.batches / "b", after, columns=columns, shard_rows=5)
    return distill("diff", "a", "b", "--json", "--workspace", str(root)).json


def test_diff_goes_by_id_whatever_the_order_and_the_shards(distill: Any, tmp_path: Path) -> None:
    changed = {**SOURCE_ROWS[2], "score": 0.0}  # it was -0.0
    added = {**SOURCE_ROWS[0], "id": "new"}
    found = diff_of(distill, tmp_path, [*reversed(SOURCE_ROWS[3:]), {**SOURCE_ROWS[1], "response": "other"}, added, changed])
    assert (found["added"]["ids"], found["removed"]["ids"], found["changed"]["ids"]) == (["new"], ["a"], ["b"])
    assert found["same"] == 4


def test_diff_goes_by_content_without_ids(distill: Any, tmp_path: Path) -> None:
    columns = tuple(c for c in COLUMNS if c.name != "id")
    found = diff_of(distill, tmp_path, [{**SOURCE_ROWS[0], "response": "other"}, *SOURCE_ROWS[1:]], columns)
    assert (found["by"], found["added"]["count"], found["removed"]["count"], found["same"]) == ("content", 1, 1, 5)


def test_diff_sees_one_of_two_rows_with_an_id_go(distill: Any, tmp_path: Path) -> None:
    twice = [*SOURCE_ROWS, {**SOURCE_ROWS[0], "response": "second"}]
    found = diff_of(distill, tmp_path, SOURCE_ROWS, before=twice)
    assert found["changed"]["ids"] == ["a"]


def test_a_terminal_obeys_nothing_that_comes_from_data(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws")
    write_batch(workspace.batches / ID, [{**SOURCE_ROWS[0], "response": "\x1b[2J\x1b]0;owned\x07\r[bold]x[/bold]\u202e:boom:"}])
    told = distill("sample", ID, "--workspace", str(workspace.root))
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(told.out)
    assert r"\x1b[2J\x1b]0;owned\x07\r[bold]x[/bold]\u202e:boom:" in told.out


def test_gates_explain_says_how_it_is_computed(distill: Any) -> None:
    found = distill("gates", "explain", "duplicates.near", "--json").json["measures"]
    assert [measure["name"] for measure in found] == ["near_duplicate_of", "exact_duplicate_of", "full_text"]
    assert "Jaccard" in found[0]["title"] or "`of`" in found[0]["title"]
    for measure in found:
        assert f"def {measure['name']}(" in Path(measure["file"]).read_text().splitlines()[measure["line"] - 1]
    assert "near_duplicate_of" in distill("gates", "explain", "duplicates.near").out


def test_gates_explain_offers_no_allowance_where_there_is_none(distill: Any) -> None:
    told = distill("gates", "explain", "text.delimiter-leak")
    assert "no policy can lower or waive it" in told.out
    assert "max_rejected" not in told.out
    assert "max_rejected_rows" in distill("gates", "explain", "duplicates.exact").out


def test_gates_explain_shows_default_and_policy(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws", '[gates."mine.calm"]\nmax_share = 0.5\n')
    workspace.gates.mkdir()
    (workspace.gates / "test_mine.py").write_text(
        'from pytest_distill import gate\n\n@gate("mine.calm", limits={"max_share": 0.2}, applies={"kind": ["sft"]})\n'
        'def test_calm(require):\n    "Answers stay calm.\\n\\n    More about it."\n'
    )
    told = distill("gates", "explain", "mine.calm", "--workspace", str(workspace.root))
    assert told.status == 0
    assert re.search(r"max_share +0\.5 +0\.2", told.out)
    assert "Answers stay calm." in told.out
    assert "More about it." in told.out
    listed = {g["id"]: g for g in distill("gates", "list", "--json", "--workspace", str(workspace.root)).json}
    assert (listed["mine.calm"]["origin"], listed["mine.calm"]["limits"]) == ("workspace", {"max_share": 0.5})


def test_gates_list_needs_no_workspace(distill: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert all(gate["origin"] == "standard" for gate in distill("gates", "list", "--json").json)


def test_the_ledger_shows_what_happened_to_one_batch(distill: Any) -> None:
    events = [e["event"] for e in distill("ledger", "show", "--batch", ID, "--json").json]
    assert events[:2] == ["verdict", "seal"]
    assert distill("ledger", "show", "--batch", "other", "--json").json == []
    assert len(distill("ledger", "show", "-n", "1", "--json").json) == 1
    assert distill("ledger", "verify", "--json").json["entries"] >= 2


def test_doctor_finds_a_policy_that_names_no_gate(distill: Any, tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "ws", '[gates."no.gate"]\nx = 1\n')
    told = distill("doctor", "--json", "--workspace", str(workspace.root))
    assert told.status == 1
    bad = [finding for finding in told.json if finding["state"] == "bad"]
    assert [finding["what"] for finding in bad] == ["gates and policy"]
    assert bad[0]["do"]


def test_doctor_finds_that_plugins_are_switched_off(distill: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    told = distill("doctor", "--json")
    assert (told.status, [f["what"] for f in told.json if f["state"] == "bad"]) == (1, ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"])


DISTILL = [sys.executable, "-m", "pytest_distill.cli.main"]


def test_a_reader_that_goes_away_is_no_error(ready: Sealed) -> None:
    command = subprocess.Popen(
        [*DISTILL, "ledger", "show", "--json"], cwd=ready.workspace.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.stderr is not None
    with command.stderr as stderr:
        assert stderr.read() == b""
    assert command.wait() == cli.BROKEN_PIPE


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_with_their_status(number: signal.Signals, status: int) -> None:
    code = (
        "import os, signal, sys, types\n"
        "from pytest_distill.cli import main as cli\n"
        "command = types.ModuleType('pytest_distill.cli.stop')\n"
        "def add_parser(subparsers, common):\n"
        "    subparsers.add_parser('stop').set_defaults(run=stop)\n"
        "def stop(args):\n"
        "    os.kill(os.getpid(), int(os.environ['SIGNAL']))\n"
        "    signal.pause()\n"
        "command.add_parser = add_parser\n"
        "sys.modules[command.__name__] = command\n"
        "cli.COMMANDS = {'stop': 'stops'}\n"
        "sys.exit(cli.main(['stop']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SIGNAL": str(int(number))}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (status, b"")


def test_an_encoding_that_cannot_say_a_sign_gets_it_as_an_escape(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    (tmp_path / "rows.jsonl").write_text('{"instruction": "Name a café.", "response": "Café “Zürich”."}\n', encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for words in (["ingest", "rows.jsonl", "--id", "cafes"], ["sample", "cafes"]):
        done = subprocess.run([*DISTILL, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert r"Caf\xe9 \u201cZ\xfcrich\u201d." in done.stdout


def test_check_passes_pytests_exit_code_on(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    done = subprocess.run([*DISTILL, "check", "nope"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 4  # pytest's usage error
    assert "E-BATCH-NOTFOUND" in done.stderr


def test_check_hands_the_pinned_clock_on(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_batch(workspace.batches / ID)
    words = [*DISTILL, "check", ID, "--now", "2031-05-06T07:08:09Z", "-q"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert {entry.at for entry in ledger.entries(workspace.ledger)} == {"2031-05-06T07:08:09Z"}


WAITING_GATE = """
import signal

from pytest_distill import gate


@gate("mine.waiting")
def test_waiting(require):
    "Says that it runs, and waits."
    with open("running", "w") as running:
        running.write("here")
        running.flush()
        signal.pause()
"""


def test_a_terminated_check_takes_its_run_with_it(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    write_batch(workspace.batches / ID)
    workspace.gates.mkdir()
    (workspace.gates / "test_waiting.py").write_text(WAITING_GATE)
    os.mkfifo(tmp_path / "running")
    pipe = os.open(tmp_path / "running", os.O_RDONLY | os.O_NONBLOCK)
    try:
        check = subprocess.Popen([*DISTILL, "check", ID], cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert select.select([pipe], [], [], 120)[0], "the gate never ran"
        assert os.read(pipe, 4) == b"here"
        check.terminate()
        assert check.wait(60) == 143
        assert os.read(pipe, 1) == b""  # the end: whoever ran the gate is gone
    finally:
        os.close(pipe)
    assert workspace.run_folders(ID)
    with pytest.raises(DistillError, match="did not finish"):
        export(workspace, ID, tmp_path / "out", "jsonl")


def test_colours_go_only_to_a_terminal_without_no_color(ready: Sealed) -> None:
    import pty

    def shown(**environment: str) -> bytes:
        parent, child = pty.openpty()
        base = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
        subprocess.run(
            [*DISTILL, "list"], cwd=ready.workspace.root, stdout=child, env={**base, "TERM": "xterm", **environment}, check=True
        )
        os.close(child)
        data = b""
        try:
            while piece := os.read(parent, 65_536):
                data += piece
        except OSError:  # the terminal is closed: everything was read
            pass
        finally:
            os.close(parent)
        return data

    assert b"\x1b[1;32mPASSED" in shown()
    assert b"\x1b[1;32m" not in shown(NO_COLOR="1")
