"""Shard sets: what `distill shards verify` catches, and what the other actions show, mend and join."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_sets import TEXTS, bytes_of, make_set, write_rows

from pytest_distill import clock, storage
from pytest_distill.batch import digest, shards
from pytest_distill.cli.main import main
from pytest_distill.contracts.export_schemas import FORMATS
from pytest_distill.contracts.tokens import TokensManifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.tokenize import sets
from pytest_distill.pipelines.tokenize.tokenizer import load

EOS = 8192


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(clock, "_pinned", None)
    clock.pin("2026-01-31T12:00:00Z")


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    make_set(tmp_path / "set")
    return tmp_path / "set"


def codes(folder: Path) -> list[str]:
    return [error.code.value for error in shards.problems(folder)]


def forge(folder: Path, **changes: Any) -> None:
    """Changes the manifest as somebody would who also rewrites checksums and sums."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest |= changes
    for entry in manifest["shards"]:
        path = folder / entry["path"]
        if path.parent == folder and path.is_file():
            entry["checksum"] = storage.sha256_file(path)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    digest.write_sums(folder)


def rewrite(folder: Path, change: Any, number: int = 0) -> None:
    """Another array in place of a shard, under a checksum that fits it."""
    path = folder / f"set-v1-shard-{number:06d}.npy"
    ids = change(np.load(path))
    with path.open("wb") as file:
        np.save(file, ids)
    forge(folder)


def reindexed(folder: Path, change: Any, number: int = 0) -> None:
    path = folder / f"set-v1-shard-{number:06d}.idx"
    path.write_bytes(change(path.read_bytes()))
    forge(folder)


def test_a_whole_set_has_no_problem(whole, capsys):
    assert codes(whole) == []
    assert main(["shards", "verify", str(whole)]) == 0
    assert "whole. 60 documents" in capsys.readouterr().err


def test_any_byte_of_any_file_counts(whole, tmp_path):
    """One bit flipped anywhere, one byte too many, one too few."""
    files = bytes_of(whole)
    names = sorted(files)

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(names), st.floats(0, 1, exclude_max=True), st.integers(0, 7), st.sampled_from(["flip", "cut", "grow"]))
    def caught(name, where, bit, how):
        data = bytearray(files[name])
        at = int(where * len(data))
        if how == "flip":
            data[at] ^= 1 << bit
        (whole / name).write_bytes(data if how == "flip" else data[:at] if how == "cut" else data + bytes([bit]))
        try:
            assert codes(whole) != []
        finally:
            (whole / name).write_bytes(files[name])

    caught()
    assert codes(whole) == []


def test_a_flipped_bit_is_caught_in_every_byte(tmp_path):
    """Of the smallest set: array, index, manifest, state and sums. Which bit of a byte differs from byte to byte."""
    folder = tmp_path / "set"
    make_set(folder, TEXTS[:2])
    files = bytes_of(folder)
    assert {Path(name).suffix for name in files} == {".npy", ".idx", ".json", ""}
    missed = []
    for name, whole in files.items():
        for at in range(len(whole)):
            data = bytearray(whole)
            data[at] ^= 1 << at % 8
            (folder / name).write_bytes(data)
            if not codes(folder):
                missed.append((name, at))
        (folder / name).write_bytes(whole)
    assert missed == []
    assert codes(folder) == []


def with_value(ids: np.ndarray, at: int, value: int) -> np.ndarray:
    changed = ids.copy()
    changed[at] = value
    return changed


def as_pickle(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([1, "two", {3}], dtype=object), allow_pickle=True)


def cut(path: Path, count: int) -> None:
    """Without its last `count` bytes; of a negative count, that many bytes from its beginning."""
    data = path.read_bytes()
    path.write_bytes(data[:-count])


def spans(data: bytes, document: int, delta: int) -> bytes:
    """The index with the end of a document moved, and the start of the next."""
    changed = bytearray(data)
    for at in (32 + 16 * document + 8, 32 + 16 * (document + 1)):
        struct.pack_into("<Q", changed, at, struct.unpack_from("<Q", changed, at)[0] + delta)
    return bytes(changed)


def header(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + struct.pack("<Q", value) + data[at + 8 :]


# What is done to a set, with every sum made to fit again, and the code that it must end with.
FORGERIES: dict[str, tuple[Any, str]] = {
    "foreign EOS": (lambda f: rewrite(f, lambda ids: with_value(ids, 1, EOS)), "E-SHARD-TOKENS"),
    "no EOS at the end": (lambda f: rewrite(f, lambda ids: with_value(ids, -1, 5)), "E-SHARD-TOKENS"),
    "an EOS that became a token": (lambda f: rewrite(f, lambda ids: with_value(ids, int((ids == EOS).argmax()), 5)), "E-INDEX"),
    "an id beyond the vocabulary": (lambda f: rewrite(f, lambda ids: with_value(ids, 0, 8193)), "E-SHARD-TOKENS"),
    "an empty document": (lambda f: rewrite(f, lambda ids: with_value(ids, 0, EOS)), "E-SHARD-TOKENS"),
    "wrong dtype": (lambda f: rewrite(f, lambda ids: ids.astype("<u2")), "E-SHARD-FORMAT"),
    "signed ids": (lambda f: rewrite(f, lambda ids: ids.astype("<i4")), "E-SHARD-FORMAT"),
    "big-endian ids": (lambda f: rewrite(f, lambda ids: ids.astype(">u4")), "E-SHARD-FORMAT"),
    "floating-point ids": (lambda f: rewrite(f, lambda ids: ids.astype("<f4")), "E-SHARD-FORMAT"),
    "two dimensions": (lambda f: rewrite(f, lambda ids: ids.reshape(1, -1)), "E-SHARD-FORMAT"),
    "a token too few": (lambda f: rewrite(f, lambda ids: ids[1:]), "E-SHARD-FORMAT"),
    "pickled objects": (lambda f: (as_pickle(f / "set-v1-shard-000000.npy"), forge(f)), "E-SHARD-FORMAT"),
    "a pickle": (lambda f: ((f / "set-v1-shard-000000.npy").write_bytes(pickle.dumps([1])), forge(f)), "E-SHARD-FORMAT"),
    "an array cut short": (lambda f: (cut(f / "set-v1-shard-000000.npy", 1), forge(f)), "E-SHARD-FORMAT"),
    "an array cut within its header": (lambda f: (cut(f / "set-v1-shard-000000.npy", -100), forge(f)), "E-SHARD-FORMAT"),
    "an empty file": (lambda f: ((f / "set-v1-shard-000000.npy").write_bytes(b""), forge(f)), "E-SHARD-FORMAT"),
    "an index off by one": (lambda f: reindexed(f, lambda data: spans(data, 0, 1)), "E-INDEX"),
    "an index of other magic": (lambda f: reindexed(f, lambda data: b"NMOEIDX1" + data[8:]), "E-INDEX"),
    "an index of version 2": (lambda f: reindexed(f, lambda data: header(data, 8, 2)), "E-INDEX"),
    "an index without its zero": (lambda f: reindexed(f, lambda data: header(data, 24, 7)), "E-INDEX"),
    "an index with a document less": (
        lambda f: reindexed(f, lambda data: header(data[:-16], 16, (len(data) - 48) // 16)),
        "E-INDEX",
    ),
    "an index that says too many": (lambda f: reindexed(f, lambda data: header(data, 16, 2**60)), "E-INDEX"),
    "an index that starts at 1": (lambda f: reindexed(f, lambda data: header(data, 32, 1)), "E-INDEX"),
    "an index beyond every shard": (lambda f: reindexed(f, lambda data: header(data, 40, 2**63)), "E-INDEX"),
    "an empty index": (lambda f: reindexed(f, lambda data: b""), "E-INDEX"),
    "wrong total of tokens": (lambda f: forge(f, total_tokens=7), "E-MANIFEST"),
    "wrong total of documents": (lambda f: forge(f, total_documents=7), "E-MANIFEST"),
    "wrong number of shards": (lambda f: forge(f, num_shards=1), "E-MANIFEST"),
    "two names of one tokenizer": (lambda f: forge(f, tokenizer="other"), "E-MANIFEST"),
    "a type too small for the vocabulary": (lambda f: forge(f, vocab_size=70_000, dtype="uint16"), "E-MANIFEST"),
    "another EOS": (lambda f: forge(f, eos_token_id=5), "E-SHARD-TOKENS"),
    "a smaller vocabulary": (lambda f: forge(f, vocab_size=8193, eos_token_id=8000), "E-SHARD-TOKENS"),
    "an unknown version": (lambda f: forge(f, schema_version=2), "E-MANIFEST"),
    "an unknown field": (lambda f: forge(f, note="x"), "E-MANIFEST"),
    "a file besides": (lambda f: (f / "notes.txt").write_text("x"), "E-SHARD-FILES"),
    "a folder with a file besides": (lambda f: ((f / "more").mkdir(), (f / "more" / "x.npy").write_text("x")), "E-SHARD-FILES"),
    "a shard less": (lambda f: (f / "set-v1-shard-000000.npy").unlink(), "E-SHARD-FILES"),
    "an index less": (lambda f: (f / "set-v1-shard-000000.idx").unlink(), "E-INDEX-MISSING"),
    "no sums": (lambda f: (f / "SHA256SUMS").unlink(), "E-SHARD-FILES"),
    "no state, which the sums list": (lambda f: (f / "state_stage_2.json").unlink(), "E-SHARD-FILES"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "E-SHARD-FILES"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_verify_catches(whole, forgery, capsys):
    change, code = FORGERIES[forgery]
    change(whole)
    assert code in codes(whole)
    assert main(["shards", "verify", str(whole)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("ERROR [E-") for line in lines)
    assert any(line.startswith(f"ERROR [{code}]: ") for line in lines)


def test_verify_names_each_thing_that_is_wrong(whole):
    (whole / "set-v1-shard-000001.idx").unlink()
    (whole / "set-v1-shard-000002.npy").write_bytes(b"x")
    (whole / "extra").touch()
    assert sorted(codes(whole)) == ["E-INDEX-MISSING", "E-SHARD-CHECKSUM", "E-SHARD-FILES"]


@pytest.mark.parametrize("path", ["../set-v1-shard-000000.npy", "/etc/passwd", "a/set-v1-shard-000000.npy", "", "x\n.npy"])
def test_a_path_outside_the_folder_is_never_opened(whole, path):
    manifest = json.loads((whole / "manifest.json").read_text())
    manifest["shards"][0]["path"] = path
    forge(whole, shards=manifest["shards"])
    assert codes(whole) == ["E-MANIFEST"]


def test_a_link_to_a_file_elsewhere_is_refused(whole, tmp_path):
    for name in ("set-v1-shard-000000.npy", "set-v1-shard-000001.idx"):
        (whole / name).rename(tmp_path / name)
        (whole / name).symlink_to(tmp_path / name)
    assert codes(whole) == ["E-SHARD-FILES", "E-INDEX-MISSING"]


def test_nothing_is_unpickled(whole):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(whole / "executed"),))

    with (whole / "set-v1-shard-000000.npy").open("wb") as file:
        np.save(file, np.array([Bomb()], dtype=object), allow_pickle=True)
    forge(whole)
    assert "E-SHARD-FORMAT" in codes(whole)
    assert not (whole / "executed").exists()


def outcome(code: Code, function: Any, *arguments: Any) -> Any:
    """What a function gives; None where it refuses with this code. Anything else it raises is a defect."""
    with contextlib.suppress(DistillError):
        return function(*arguments)
    with pytest.raises(DistillError, match=code.value):
        function(*[io.BytesIO(a.getvalue()) if isinstance(a, io.BytesIO) else a for a in arguments])
    return None


@given(st.binary(max_size=200))
def test_an_index_of_any_bytes_is_parsed_or_refused(data):
    for given_bytes in (data, b"NMOEIDX\0" + struct.pack("<QQQ", 1, len(data) // 16, 0) + data):
        index = outcome(Code.INDEX, shards.parse_index, given_bytes, "x.idx")
        assert index is None or len(index.starts) == len(index.ends) == (len(given_bytes) - 32) // 16


@given(st.binary(max_size=200))
def test_an_array_of_any_bytes_is_opened_or_refused(data):
    for given_bytes in (data, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(data)) + data):
        outcome(Code.SHARD_FORMAT, shards.open_tokens, io.BytesIO(given_bytes), "x.npy", len(given_bytes))


def test_the_manifest_is_a_contract(whole):
    data = (whole / "manifest.json").read_bytes()
    assert TokensManifest.from_bytes(data, name="x").to_bytes() == data
    assert FORMATS["tokens"] is TokensManifest


# -- info, inspect, reindex, merge -----------------------------------------------------------------------------------------------


def test_info_and_inspect_show_what_is_there(whole, capsys):
    assert main(["shards", "info", str(whole)]) == 0
    assert "8,193 ids, documents end with 8192, stored as uint32" in capsys.readouterr().out
    assert main(["shards", "inspect", str(whole), "--first", "20", "-n", "30", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["text"] for row in found] == TEXTS[20:50]
    assert main(["shards", "inspect", str(whole), "-n", "60"]) == 0
    assert "日本語" in capsys.readouterr().out


def test_inspect_wants_the_tokenizer_of_the_set(whole, tmp_path, capsys):
    other = json.loads((Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer.json").read_text())
    other["model"]["vocab"]["unheard-of"] = 9000
    (tmp_path / "tokenizer.json").write_text(json.dumps(other))
    assert main(["shards", "inspect", str(whole), "--tokenizer", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith("ERROR [E-TOKENIZER-DRIFT]: ")


def test_documents_are_shown_without_moving_the_cursor(tmp_path, capsys):
    make_set(tmp_path / "set", ["a\x1b[2Jb [bold]c[/bold]"])
    assert main(["shards", "inspect", str(tmp_path / "set")]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "[bold]c[/bold]" in out


def test_reindex_makes_the_same_index_again(whole):
    before = bytes_of(whole)
    (whole / "set-v1-shard-000000.idx").unlink()
    (whole / "set-v1-shard-000002.idx").write_bytes(b"")
    assert main(["shards", "reindex", str(whole), "-q"]) == 0
    assert bytes_of(whole) == before
    (whole / "SHA256SUMS").unlink()
    assert sets.reindex(whole) == ["SHA256SUMS"]
    assert bytes_of(whole) == before


def test_reindex_blesses_no_damaged_shard(whole):
    path = whole / "set-v1-shard-000000.npy"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DistillError, match="E-SHARD-CHECKSUM"):
        sets.reindex(whole)


def test_merge_joins_sets_of_one_tokenizer(tmp_path, capsys):
    first = make_set(tmp_path / "a", TEXTS[:25])
    second = make_set(tmp_path / "b", [*TEXTS[25:], ""], dataset="other", version="v7")
    out = tmp_path / "joined"
    arguments = ["--out", str(out), "--dataset", "joined", "--version", "v2"]
    assert main(["shards", "merge", str(tmp_path / "a"), str(tmp_path / "b"), *arguments]) == 0
    assert codes(out) == []
    manifest = shards.load_manifest(out)
    assert (manifest.total_documents, manifest.total_tokens) == (60, first.total_tokens + second.total_tokens)
    assert (manifest.source_info.documents_read, manifest.source_info.documents_dropped) == (61, {"blank": 1})
    assert [entry.checksum for entry in manifest.shards] == [entry.checksum for entry in (*first.shards, *second.shards)]
    capsys.readouterr()
    assert main(["shards", "inspect", str(out), "-n", "60", "--json"]) == 0
    assert [row["text"] for row in json.loads(capsys.readouterr().out)] == TEXTS


def test_merge_refuses_what_does_not_belong_together(tmp_path, whole):
    folders = {"small": make_set(tmp_path / "small", TEXTS[:3], dtype="uint16")}
    assert folders
    target = {"dataset": "d", "version": "v"}
    with pytest.raises(DistillError, match="has the dtype uint16"):
        sets.merge([whole, tmp_path / "small"], tmp_path / "out", **target)
    with pytest.raises(DistillError, match="named twice"):
        sets.merge([whole, whole], tmp_path / "out", **target)
    other = load(str(Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer.json"))
    assert other.stamp.tokenizer_name == "fixtures"
    make_set(tmp_path / "other", TEXTS[:3], tokenizer=other)
    with pytest.raises(DistillError, match="E-TOKENIZER-DRIFT"):
        sets.merge([whole, tmp_path / "other"], tmp_path / "out", **target)
    (whole / "set-v1-shard-000000.idx").unlink()
    with pytest.raises(DistillError, match="E-INDEX-MISSING"):
        sets.merge([whole], tmp_path / "out", **target)
    assert not (tmp_path / "out").exists()


def test_what_is_no_set_is_said(tmp_path, capsys):
    assert main(["shards", "info", str(tmp_path)]) == 1
    assert "E-SHARD-FILES" in capsys.readouterr().err
    write_rows(tmp_path / "rows.jsonl")
    (tmp_path / "run.json").write_text("{}")
    assert codes(tmp_path) == ["E-SHARD-FILES"]
