"""The ledger finds every edit, deletion and torn end, and two writers never lose a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_distill import ledger, storage
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.errors import Code, DistillError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.jsonl"


def fill(path: Path, lines: int = 4) -> None:
    for number in range(lines):
        ledger.append(path, "ingested", batch=f"b{number}", sha256="a" * 64, rows=number)


def refused(path: Path) -> str:
    with pytest.raises(DistillError) as caught:
        ledger.verify(path)
    assert caught.value.code is Code.LEDGER
    return caught.value.message


def test_lines_are_chained_and_come_back_as_written(path: Path) -> None:
    fill(path)
    found = ledger.entries(path)
    assert [entry.seq for entry in found] == [1, 2, 3, 4]
    assert found[2].facts == {"sha256": "a" * 64, "rows": 2}
    assert ledger.verify(path).seq == 4


def test_no_ledger_yet_is_an_empty_one(tmp_path: Path) -> None:
    assert ledger.entries(tmp_path / "nowhere" / "ledger.jsonl") == []
    assert not (tmp_path / "nowhere").exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    fill(path, 3)
    original = path.read_bytes()
    at = data.draw(st.integers(0, len(original) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda byte: byte != original[at]))
    path.write_bytes(original[:at] + bytes([value]) + original[at + 1 :])
    refused(path)


@pytest.mark.parametrize("gone", [0, 1, 2, 3])
def test_a_deleted_line_is_found_wherever_it_was(path: Path, gone: int) -> None:
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    del lines[gone]
    path.write_bytes(b"".join(lines))
    refused(path)


def test_no_text_forges_an_audit_line_or_a_field_of_one(path: Path) -> None:
    forged = 'data" "a reason" "/else"\n2024-12-13T10:23:45Z batch-002 "x\u2028'
    entry = LedgerEntry(
        seq=1, at="2024-12-13T10:23:45Z", event="seal", batch="b", prev=ledger.GENESIS, facts={"what": forged, "why": "a\\"},
    )  # fmt: skip
    line = entry.audit_line()
    assert len(line.splitlines()) == 1
    at, batch, rest = line.split(" ", 2)
    assert (at, batch) == ("2024-12-13T10:23:45Z", "b")
    assert fields_of(rest) == [forged, "a\\", "", "", ""]


def fields_of(text: str) -> list[str]:
    """JSON strings with a space between, read as any reader of the format would."""
    found, decoder = [], json.JSONDecoder()
    while text:
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:].removeprefix(" ")
    return found


@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_swapped_pair_is_found(path: Path, first: int) -> None:
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[first], lines[first + 1] = lines[first + 1], lines[first]
    path.write_bytes(b"".join(lines))
    assert f"line {first + 1} does not follow" in refused(path)


def test_nothing_is_added_after_the_newest_line_is_gone(path: Path) -> None:
    fill(path)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(DistillError, match="should end with line 4"):
        ledger.append(path, "sealed")


def test_a_deleted_ledger_is_found(path: Path) -> None:
    fill(path)
    path.unlink()
    assert "should end with line 4" in refused(path)


def test_a_deleted_head_is_found(path: Path) -> None:
    fill(path)
    path.with_name("ledger.jsonl.head").unlink()
    assert "missing" in refused(path)


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_torn_end_is_found_and_never_appended_to(path: Path, cut: int) -> None:
    fill(path)
    torn = path.read_bytes()[:-cut]
    path.write_bytes(torn)
    assert "cut off" in refused(path)
    with pytest.raises(DistillError):
        ledger.append(path, "sealed")
    assert path.read_bytes() == torn


def test_a_writer_that_died_between_line_and_head_left_a_good_ledger(path: Path) -> None:
    fill(path, 2)
    head = path.with_name("ledger.jsonl.head")
    before = head.read_bytes()
    fill(path, 1)
    head.write_bytes(before)
    assert ledger.verify(path).seq == 3
    fill(path, 1)
    assert ledger.verify(path).seq == 4


@pytest.mark.parametrize("lines", [0, 2])
def test_so_do_writers_that_die_there_one_after_the_other(path: Path, lines: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk often has room for the line and none for the file of the head."""
    fill(path, lines)
    append = storage.append_line

    def dies(path: Path, line: bytes) -> None:
        append(path, line)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(storage, "append_line", dies)
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                fill(path, 1)
    fill(path, 1)
    assert ledger.verify(path).seq == lines + 4


def test_a_line_rewritten_with_the_same_meaning_is_found(path: Path) -> None:
    fill(path, 1)
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode() + b"\n")
    assert "form it was written in" in refused(path)


FACTS = st.dictionaries(
    st.text(max_size=8).filter(lambda name: name not in {"path", "event", "batch"}),
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
    | st.lists(st.text(max_size=4), max_size=3).map(tuple) | st.dictionaries(st.text(max_size=4), st.integers(0, 9), max_size=3),
    max_size=4,
)  # fmt: skip


@settings(max_examples=60)
@given(FACTS)
def test_any_facts_round_trip(tmp_path_factory: pytest.TempPathFactory, facts: dict) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    ledger.append(path, "noted", **facts)
    assert ledger.entries(path)[0].facts == facts


def test_the_audit_line_is_the_contracts(path: Path) -> None:
    facts = {"what": "synthetic_training_data", "why": "model_training", "where": "/data/batch-001", "how": "local_model_v2.1"}
    entry = LedgerEntry(
        seq=1, at="2024-12-13T10:23:45Z", event="sealed", batch="batch-001", prev=ledger.GENESIS,
        facts={**facts, "gates_passed": ("schema", "sampling", "lint")},
    )  # fmt: skip
    assert entry.audit_line() == (
        '2024-12-13T10:23:45Z batch-001 "synthetic_training_data" "model_training" "/data/batch-001" "local_model_v2.1" '
        '"schema+sampling+lint"'
    )


def test_two_writers_lose_nothing(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pytest_distill import ledger\n"
        "for n in range(40): ledger.append(Path(sys.argv[1]), 'ingested', rows=n)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(path)]) for _ in range(2)]
    assert [writer.wait(120) for writer in writers] == [0, 0]
    assert ledger.verify(path).seq == 80
