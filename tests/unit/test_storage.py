"""Durable writes: whole or not at all, and nothing left lying about."""

from __future__ import annotations

import errno
import json
import math
import os
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError


def below(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def fail_after(written: int) -> None:
    raise ZeroDivisionError(f"after {written} bytes")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_appears_with_its_bytes_and_readable_for_all(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / "deep" / "file", b"new")
    assert (tmp_path / "deep" / "file").read_bytes() == b"new"
    assert mode(tmp_path / "deep" / "file") == 0o644
    assert below(tmp_path) == ["deep", "file"]


def test_an_error_inside_leaves_the_old_bytes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), storage.atomic_file(tmp_path / "file") as file:
        fail_after(file.write(b"half"))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert below(tmp_path) == ["file"]


def test_until_the_block_ends_readers_see_the_old_bytes(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / "file", b"old")
    with storage.atomic_file(tmp_path / "file") as file:
        file.write(b"new")
        file.flush()
        assert (tmp_path / "file").read_bytes() == b"old"
    assert (tmp_path / "file").read_bytes() == b"new"


def test_a_full_disk_is_our_error_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DistillError) as caught, storage.atomic_file(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.code is Code.MANIFEST_COMMIT
    assert "No space left on device" in str(caught.value)
    assert below(tmp_path) == []


def test_a_folder_that_is_a_file_is_our_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for write in (lambda p: storage.write_bytes(p, b""), lambda p: storage.atomic_folder(p).__enter__()):
        with pytest.raises(DistillError) as caught:
            write(tmp_path / "file" / "below")
        assert caught.value.code is Code.MANIFEST_COMMIT


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with storage.atomic_folder(tmp_path / "made") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "file").write_bytes(b"x")
        assert not (tmp_path / "made").exists()
    assert below(tmp_path) == ["file", "made", "sub"]
    assert mode(tmp_path / "made") == 0o755


def test_an_error_inside_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), storage.atomic_folder(tmp_path / "made") as staging:
        fail_after((staging / "file").write_bytes(b"x"))
    assert below(tmp_path) == []


@pytest.mark.parametrize("content", [[], ["file"]], ids=["empty", "full"])
def test_a_folder_that_is_taken_is_left_as_it_is(tmp_path: Path, content: list[str]) -> None:
    (tmp_path / "made").mkdir()
    for name in content:
        (tmp_path / "made" / name).write_bytes(b"old")
    with pytest.raises(DistillError) as caught, storage.atomic_folder(tmp_path / "made") as staging:
        (staging / "other").write_bytes(b"x")
    assert caught.value.code is Code.MANIFEST_COMMIT
    assert below(tmp_path) == [*content, "made"]


def test_a_private_file_is_its_owners_and_the_first_one_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "key"
    storage.create_private(path, b"first")
    storage.create_private(path, b"second")
    assert path.read_bytes() == b"first"
    assert mode(path) == 0o600
    assert mode(path.parent) == 0o700
    assert below(path.parent) == ["key"]


def test_a_line_is_appended_and_a_newline_in_it_refused(tmp_path: Path) -> None:
    storage.append_line(tmp_path / "log", b"one")
    storage.append_line(tmp_path / "log", b"two")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    with pytest.raises(ValueError, match="newline"):
        storage.append_line(tmp_path / "log", b"a\nb")
    with pytest.raises(DistillError):
        storage.append_line(tmp_path / "nowhere" / "log", b"one")


def test_a_line_that_cannot_be_written_whole_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.append_line(tmp_path / "log", b"one")
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, bytes(data)[:2]) if len(data) > 3 else full())

    def full() -> int:
        raise OSError(errno.ENOSPC, "full")

    with pytest.raises(DistillError):
        storage.append_line(tmp_path / "log", b"three")
    assert (tmp_path / "log").read_bytes() == b"one\n"


def test_a_lock_lets_one_in_at_a_time(tmp_path: Path) -> None:
    inside, most = 0, 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with storage.locked(tmp_path / "file"):
                with guard:
                    inside += 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.floats(allow_nan=False, allow_infinity=False)))
def test_json_bytes_depend_on_the_value_alone(value: dict[str, object]) -> None:
    data = storage.canonical_json(value)
    assert data == storage.canonical_json(dict(reversed(value.items())))
    assert json.loads(data) == value
    assert data.endswith(b"\n")


def test_json_bytes_hold_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        storage.canonical_json({"a": math.nan})


def test_a_files_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000
    (tmp_path / "file").write_bytes(data)
    assert storage.sha256_file(tmp_path / "file") == storage.sha256_bytes(data)
