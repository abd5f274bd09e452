"""`distill ingest` as users type it: what it says, where it says it, and how it ends."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytest_distill.cli.ingest import mapping_of
from pytest_distill.cli.main import main
from pytest_distill.errors import DistillError

GOOD = b'{"instruction":"Say hi.","response":"Hi."}\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "distill.toml").touch()
    (tmp_path / "rows.jsonl").write_bytes(GOOD * 3 + b'{"a":1,"a":2}\n' * 7 + b"\x1b[2J\n")
    return tmp_path


def ingest(place: Path, *args: str, file: str = "rows.jsonl") -> int:
    return main(["ingest", str(place / file), "--workspace", str(place), "--id", "b", *args])


def test_every_row_is_accounted_for_on_stderr(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(place, "--expect", "12") == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[:6] == [
        "b (sft): 11 rows read = 3 kept + 8 quarantined",
        "  planned were 12",
        "        7  duplicate_key: rows.jsonl:4, rows.jsonl:5, rows.jsonl:6, rows.jsonl:7, rows.jsonl:8, …",
        "           first: the key 'a' occurs twice in one object",
        "        1  malformed_json: rows.jsonl:11",
        "           first: Expecting value at character 1",
    ]
    assert str(place / "batches" / "b" / "quarantine.parquet") in err
    assert "pytest --distill-batch=b" in err


def test_json_is_one_document_on_stdout(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(place, "--json", "-q") == 0
    out, err = capsys.readouterr()
    assert err == ""
    found = json.loads(out)
    assert (found["read"], found["kept"], found["quarantined"]) == (11, 3, 8)
    assert found["reasons"][0]["rows"] == 7


def test_options_reach_the_manifest(place: Path) -> None:
    (place / "qa.csv").write_bytes(b"q,a\n1,2\n")
    options = ["--kind", "sft", "--map", "instruction=q", "--map", "response=a", "--what", "w", "--why", "y"]
    papers = ["--cost-class", "high", "--justification", "j", "--authorized-by", "me", "--expect", "1"]
    assert ingest(place, *options, *papers, "--now", "2026-01-31T12:00:00Z", file="qa.csv") == 0
    manifest = json.loads((place / "batches" / "b" / "manifest.json").read_bytes())
    assert manifest["mapping"] == {"instruction": "q", "response": "a"}
    assert (manifest["what"], manifest["why"], manifest["counts"]["planned"]) == ("w", "y", 1)
    assert manifest["authorization"] == {"by": "me", "date": "2026-01-31"}
    assert json.loads((place / "batches" / "b" / "created.json").read_bytes())["created_at"] == "2026-01-31T12:00:00Z"


def test_a_refusal_is_one_line_and_exit_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ingest(place, file="gone.jsonl") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("ERROR [E-SOURCE-NOTFOUND]: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("args", [["--kind", "tokens"], ["--expect", "-1"], ["--expect", "many"], ["--cost-class", "free"]])
def test_wrong_usage_is_exit_2(place: Path, args: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        ingest(place, *args)
    assert caught.value.code == 2


@pytest.mark.parametrize("pairs", [["a"], ["=b"], ["a="], ["a=b", "a=c"]])
def test_a_mapping_is_new_equals_old_once(pairs: list[str]) -> None:
    with pytest.raises(DistillError, match="E-USAGE"):
        mapping_of(pairs)
    assert mapping_of(["a=b=c"]) == {"a": "b=c"}


def test_a_full_disk_is_one_line_and_leaves_nothing(place: Path) -> None:
    rows = b"".join(b'{"text":"%d %d"}\n' % (n, n * 7919) for n in range(60_000))
    (place / "big.jsonl").write_bytes(rows)
    done = subprocess.run(
        [sys.executable, "-m", "pytest_distill.cli.main", "ingest", "big.jsonl", "--id", "b"],
        cwd=place, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.startswith("ERROR [E-MANIFEST-COMMIT]: ")
    assert done.stderr.count("\n") == 1
    assert list((place / "batches").iterdir()) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_the_middle_leaves_nothing(place: Path, number: signal.Signals, status: int) -> None:
    (place / "big.jsonl").write_bytes(b'{"text":"some words to read"}\n' * 2_000_000)
    child = subprocess.Popen(
        [sys.executable, "-m", "pytest_distill.cli.main", "ingest", "big.jsonl", "--id", "b"],
        cwd=place,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while not list(place.glob("batches/.b.*/rows-*")) and child.poll() is None and time.monotonic() < deadline:
        pass
    child.send_signal(number)
    assert child.wait(60) == status
    assert list((place / "batches").iterdir()) == []
    assert not (place / ".distill" / "ledger.jsonl").exists()
