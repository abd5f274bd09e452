"""Tokens batches: made of a set and its sources, judged by gates, exported with their shards, refused where something differs."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from judging import judge as judge_gate
from sealed_workspace import judge, make_workspace
from token_sets import TEXTS, make_set, write_rows

from pytest_distill import clock, ledger, storage
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.cli.main import main
from pytest_distill.errors import DistillError
from pytest_distill.gates import test_tokens as gates
from pytest_distill.gating.evidence import holds
from pytest_distill.pipelines.tokenize.batch import tokens_batch
from pytest_distill.pipelines.tokenize.run import Order, tokenize
from pytest_distill.pipelines.tokenize.sources import BatchRows, Files, sources
from pytest_distill.pipelines.tokenize.tokenizer import load
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.export import export
from pytest_distill.release.verify import verify
from pytest_distill.stages.stopping import Stop
from pytest_distill.training import IGNORED, PackedTokens, TokenDocuments
from pytest_distill.training.packing import best_fit, cut

REJECTED = 3


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(clock, "_pinned", None)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Workspace:
    """A sealed batch of texts, one of them rejected; the tokens of the others; and the batch of those."""
    root = tmp_path_factory.mktemp("workspace")
    workspace = make_workspace(root)
    texts = ingest([write_rows(root / "rows.jsonl")], workspace, "texts", kind="text")
    judge(workspace, texts, (REJECTED,))
    found = BatchRows(workspace, "texts", "text")
    tokenize(found, load(), root / "set", Order("set", "v1", shard_tokens=300))
    tokens_batch(workspace, "tokens", root / "set", found, load())
    return workspace


def opened(place: Workspace) -> Batch:
    from pytest_distill.batch.batch import open_batch

    return open_batch(place.batches / "tokens")


def test_rejected_rows_of_the_sealed_batch_are_not_tokenized(place):
    batch = opened(place)
    assert batch.kind == "tokens"
    assert batch.column("id").to_list() == [f"r{n}" for n in range(60) if n != REJECTED]
    assert batch.manifest.parents == (BatchRows(place, "texts", "text").batch.sha256,)
    assert batch.frame(["distill_line"])["distill_line"].to_list()[REJECTED] == REJECTED + 2
    assert {file.path for file in batch.manifest.attachments} >= {"tokens_manifest.json", "state_stage_2.json"}


def test_an_unsealed_batch_is_no_source(tmp_path):
    workspace = make_workspace(tmp_path)
    ingest([write_rows(tmp_path / "rows.jsonl")], workspace, "texts", kind="text")
    with pytest.raises(DistillError, match="E-UNSEALED"):
        sources(["texts"], lambda: workspace, "text")
    with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"):
        sources(["texts.jsonl"], lambda: workspace, "text")


def test_a_batch_does_not_vouch_for_tokens_of_other_texts(tmp_path):
    workspace = make_workspace(tmp_path / "place")
    make_set(tmp_path / "set")
    other = Files([write_rows(tmp_path / "other.jsonl", TEXTS[::-1])], "text")
    with pytest.raises(DistillError, match="was not made from these sources"):
        tokens_batch(workspace, "b", tmp_path / "set", other, load())
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    manifest["source_info"]["sources"] = [source.model_dump() for source in other.identity]
    (tmp_path / "set" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "set" / "SHA256SUMS").unlink()
    from pytest_distill.batch import digest

    digest.write_sums(tmp_path / "set")
    with pytest.raises(DistillError, match=r"E-SHARD-TOKENS.*do not hold the tokens of r0 \(record 1\)"):
        tokens_batch(workspace, "b", tmp_path / "set", other, load())
    assert not workspace.batches.exists() or not list(workspace.batches.iterdir())


def test_a_run_that_was_killed_finds_its_batch_again(tmp_path, monkeypatch):
    workspace = make_workspace(tmp_path / "place")
    make_set(tmp_path / "set")
    found = Files([tmp_path / "set.jsonl"], "text")
    leftover = workspace.batches / ".b.x1y2z3_4.tmp"
    leftover.mkdir(parents=True)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ledger, "append_once", killed)
        with pytest.raises(KeyboardInterrupt):
            tokens_batch(workspace, "b", tmp_path / "set", found, load())
    assert not leftover.exists()
    assert not ledger.verify(workspace.ledger).seq
    with pytest.raises(DistillError, match="E-BATCH-EXISTS"):
        tokens_batch(workspace, "b", tmp_path / "set", found, load())
    for _ in range(2):
        assert tokens_batch(workspace, "b", tmp_path / "set", found, load(), resume=True).id == "b"
        assert ledger.verify(workspace.ledger).seq == 1
    make_set(tmp_path / "again", shard_tokens=400, source=tmp_path / "set.jsonl")
    with pytest.raises(DistillError, match=r"E-BATCH-EXISTS.*another batch b"):
        tokens_batch(workspace, "b", tmp_path / "again", found, load(), resume=True)


def test_an_id_that_is_taken_is_refused_before_anything_is_tokenized(place, tmp_path, capsys):
    rows = write_rows(tmp_path / "rows.jsonl")
    order = ["--dataset", "set", "--version", "v1", "--out", str(tmp_path / "out"), "--id", "tokens"]
    assert main(["tokenize", str(rows), *order, "--workspace", str(place.root)]) == 1
    assert capsys.readouterr().err.startswith("ERROR [E-BATCH-EXISTS]: there is a batch tokens already")
    assert not (tmp_path / "out").exists()


def test_a_batch_that_was_told_to_stop_leaves_nothing_and_is_made_again(tmp_path):
    workspace = make_workspace(tmp_path / "place")
    make_set(tmp_path / "set")
    found, stop = Files([tmp_path / "set.jsonl"], "text"), Stop()
    stop.signal = signal.SIGTERM
    with pytest.raises(SystemExit, match="143"):
        tokens_batch(workspace, "b", tmp_path / "set", found, load(), stop=stop)
    assert [path.name for path in workspace.batches.iterdir()] == []
    assert tokens_batch(workspace, "b", tmp_path / "set", found, load(), resume=True).id == "b"


# -- gates -----------------------------------------------------------------------------------------------------------------------


class Judged:
    """The batch as a gate sees it, with attachments that a test may change."""

    def __init__(self, batch: Batch, **changes: Any) -> None:
        self.id = batch.id
        self.manifest = batch.manifest
        self._batch = batch
        self._changes = changes

    def attachment(self, name: str) -> bytes | None:
        return self._changes[name] if name in self._changes else self._batch.attachment(name)

    def column(self, name: str) -> pl.Series:
        return self._changes.get(name, self._batch.column(name))

    def parents(self) -> tuple[Any, ...]:
        return self._changes.get("parents", (SimpleNamespace(unsealed=None),))


def failed(gate: Any, judged: Judged, **limits: Any) -> list[str]:
    """The figures of a gate that are out of bounds."""
    from pytest_distill.contracts.run import Bound

    policy = SimpleNamespace(tokenizer=SimpleNamespace(path=judged._changes.get("tokenizer")))
    wanted = gate.__code__.co_varnames[: gate.__code__.co_argcount]
    found = judge_gate(gate, limits=limits, **{n: v for n, v in {"batch": judged, "policy": policy}.items() if n in wanted})
    figures = []
    for name, (value, bounds) in found.figures.items():
        ((op, bound),) = ((op, bound) for op, bound in bounds.items() if op != "unit")
        if not holds(value, Bound(op=op, value=bound)):
            figures.append(name)
    return figures


GATES = [value for name, value in vars(gates).items() if name.startswith("test_")]


def test_every_gate_lets_a_whole_batch_pass(place):
    assert len(GATES) == 7
    for gate in GATES:
        assert failed(gate, Judged(opened(place))) == []


def changed(place: Workspace, name: str, change: Any) -> Judged:
    """A batch in which an array was replaced, under a checksum that fits it."""
    batch = opened(place)
    data = bytearray(batch.attachment(name))
    change(data)
    manifest = json.loads(batch.attachment("tokens_manifest.json"))
    for entry in manifest["shards"]:
        if entry["path"] == name:
            entry["checksum"] = storage.sha256_bytes(bytes(data))
    return Judged(batch, **{name: bytes(data), "tokens_manifest.json": json.dumps(manifest).encode()})


def put(at: int, value: int) -> Any:
    def change(data: bytearray) -> None:
        data[at : at + 4] = np.array([value], "<u4").tobytes()

    return change


def test_gates_catch_what_is_wrong_with_shards(place):
    shard, index = "set-v1-shard-000000.npy", "set-v1-shard-000000.idx"
    cases = [
        (changed(place, shard, put(128, 8192)), "documents without EOS"),
        (changed(place, shard, put(128, 9000)), "documents without EOS"),
        (changed(place, shard, put(-4 % 4 + 20, 0)), "shards that are no array"),
        (changed(place, shard, lambda data: data.pop()), "shards that are no array"),
        (changed(place, index, put(40, 3)), "indexes that do not describe"),
        (
            Judged(opened(place), **{shard: opened(place).attachment(shard)[:-4] + b"\0\0\0\0"}),
            "shards that are not their checksum",
        ),
    ]
    for judged, figure in cases:
        assert any(name.startswith(figure) for name in failed(gates.test_shards_keep_the_format, judged)), figure
    batch = opened(place)
    missing = Judged(batch)
    missing.manifest = SimpleNamespace(attachments=batch.manifest.attachments[1:])
    assert failed(gates.test_shards_keep_the_format, missing) == [f"files missing or beyond the set: {shard}"]


def test_gates_catch_rows_that_are_not_the_documents(place):
    batch = opened(place)
    for name, value in (("start", batch.column("start") + 1), ("sha256", batch.column("sha256").reverse())):
        assert failed(gates.test_rows_are_the_documents, Judged(batch, **{name: value}))
    judged = changed(place, "set-v1-shard-000000.npy", put(128, 7))
    assert failed(gates.test_rows_are_the_documents, judged) == ["rows that are not the documents of the shards"]


def test_gates_catch_other_values_than_those_of_the_run(place, tmp_path):
    batch = opened(place)

    def with_manifest(**changes: Any) -> Judged:
        manifest = json.loads(batch.attachment("tokens_manifest.json"))
        info = manifest["source_info"] | changes.pop("source_info", {})
        return Judged(batch, **{"tokens_manifest.json": json.dumps(manifest | changes | {"source_info": info}).encode()})

    assert failed(gates.test_frozen_values_are_those_of_the_run, with_manifest(source_info={"shard_tokens": 9}))
    assert failed(gates.test_frozen_values_are_those_of_the_run, with_manifest(pipeline_version="data_v2"))
    assert failed(gates.test_the_run_was_completed, with_manifest(pipeline_version="data_v2"))
    dropped = {"documents_read": 70, "documents_dropped": {"blank": 11}}
    assert failed(gates.test_few_documents_are_lost, with_manifest(source_info=dropped)) == ["share of documents kept"]
    state = json.loads(batch.attachment("state_stage_2.json")) | {"status": "running", "completed_at": None}
    assert failed(gates.test_the_run_was_completed, Judged(batch, **{"state_stage_2.json": json.dumps(state).encode()}))
    assert failed(gates.test_the_texts_were_judged, Judged(batch, parents=(SimpleNamespace(unsealed="never judged"),)))
    fixture = Path(__file__).resolve().parents[2] / "fixtures" / "tokenizer.json"
    same = SimpleNamespace(resolved=fixture)
    assert failed(gates.test_the_tokenizer_is_stamped, Judged(batch, tokenizer=same)) == []
    (tmp_path / "other.json").write_text(json.dumps(json.loads(fixture.read_text()) | {"version": "2.0"}))
    other = SimpleNamespace(resolved=tmp_path / "other.json")
    assert failed(gates.test_the_tokenizer_is_stamped, Judged(batch, tokenizer=other)) == ["hash of the tokenizer"]


# -- exports and training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(place, tmp_path_factory) -> Path:
    judge(place, opened(place), ())
    return export(place, "tokens", tmp_path_factory.mktemp("out") / "export", "jsonl")


def test_an_export_carries_the_shards_and_verifies(place, exported):
    found = verify(exported)
    assert found.rows == 59
    names = {path.name for path in (exported / "tokens").iterdir()}
    assert names == {path.name for path in (place.root / "set").iterdir()}
    for name in names - {"SHA256SUMS"}:
        assert (exported / "tokens" / name).read_bytes() == (place.root / "set" / name).read_bytes()


def test_documents_are_those_that_were_tokenized(exported):
    documents = TokenDocuments(exported)
    texts = [text for number, text in enumerate(TEXTS) if number != REJECTED]
    assert len(documents) == len(texts) == len(documents.lengths)
    tokenizer = load()
    assert [tokenizer.decode(documents.ids(n)[:-1].tolist()) for n in range(len(documents))] == texts
    assert documents.ids(-1).tolist() == documents.ids(58).tolist()
    assert [len(documents.ids(n)) for n in range(59)] == documents.lengths.tolist()
    with pytest.raises(IndexError):
        documents.ids(59)


@pytest.mark.parametrize("name", ["tokens/set-v1-shard-000000.npy", "tokens/set-v1-shard-000001.idx", "seal.json", "data.jsonl"])
def test_nothing_that_does_not_verify_is_trained_on(exported, tmp_path, name):
    import shutil

    copy = tmp_path / "export"
    shutil.copytree(exported, copy)
    data = bytearray((copy / name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(DistillError, match="E-VERIFY"):
        TokenDocuments(copy)
    with pytest.raises(DistillError, match="E-VERIFY"):
        verify(copy)


def test_a_set_that_nobody_judged_is_not_trained_on_by_accident(place):
    with pytest.raises(DistillError, match="E-UNSEALED"):
        TokenDocuments(place.root / "set")
    assert len(TokenDocuments(place.root / "set", allow_unsealed=True)) == 59


def test_an_export_of_a_batch_with_rejected_documents_is_refused(place, tmp_path):
    batch = opened(place)
    judge(place, batch, (5,))
    try:
        with pytest.raises(DistillError, match=r"E-UNSEALED.*Make the shards again without them"):
            export(place, "tokens", tmp_path / "export", "jsonl")
        assert not (tmp_path / "export").exists()
    finally:
        judge(place, batch, ())


def test_documents_cross_to_a_loaders_worker(exported):
    import pickle

    documents = TokenDocuments(exported)
    copy = pickle.loads(pickle.dumps(documents))
    assert copy.ids(7).tolist() == documents.ids(7).tolist()


@pytest.mark.parametrize("split", ["cut", "whole"])
@pytest.mark.parametrize("seed", [None, 1])
def test_windows_hold_every_token_once_and_know_their_documents(exported, split, seed):
    documents = TokenDocuments(exported)
    packed = PackedTokens(documents, 64, split=split, seed=seed)
    seen: list[list[int]] = []
    for number in range(len(packed)):
        window = packed.window(number)
        assert {name: (values.shape, values.dtype) for name, values in window.items()} == dict.fromkeys(
            ("input_ids", "labels", "position_ids", "document_ids"), ((64,), np.dtype(np.int64))
        )
        ids, labels, owners = window["input_ids"], window["labels"], window["document_ids"]
        for piece in range(owners.max() + 1):
            (places,) = np.nonzero(owners == piece)
            assert places.tolist() == list(range(places[0], places[-1] + 1))
            assert window["position_ids"][places].tolist() == list(range(len(places)))
            assert labels[places[0]] == IGNORED
            assert labels[places[1:]].tolist() == ids[places[1:]].tolist()
            seen.append(ids[places].tolist())
        assert (labels[owners == -1] == IGNORED).all()
        assert (ids[owners == -1] == 8192).all()
    assert sorted(number for piece in seen for number in piece) == sorted(int(i) for n in range(59) for i in documents.ids(n))
    if split == "whole":
        assert sorted(seen) == sorted(documents.ids(n).tolist() for n in range(59))
    else:
        assert len(packed) == -(-int(documents.lengths.sum()) // 64)
    with pytest.raises(IndexError):
        packed.window(len(packed))


def test_packing_is_decided_by_the_seed_alone(exported):
    documents = TokenDocuments(exported)
    first, again, other = (PackedTokens(documents, 64, seed=seed) for seed in (1, 1, 2))
    assert first.window(0)["input_ids"].tolist() == again.window(0)["input_ids"].tolist()
    assert first.window(0)["input_ids"].tolist() != other.window(0)["input_ids"].tolist()
    with pytest.raises(DistillError, match="E-USAGE"):
        PackedTokens(documents, 1)


def test_small_packings_by_hand():
    lengths = np.array([3, 5, 2])
    pieces, ends = cut(lengths, np.arange(3), 4)
    assert pieces.tolist() == [[0, 0, 3], [1, 0, 1], [1, 1, 5], [2, 0, 2]]
    assert ends.tolist() == [2, 3, 4]
    pieces, ends = best_fit(lengths, np.arange(3), 5)
    assert pieces.tolist() == [[0, 0, 3], [2, 0, 2], [1, 0, 5]]
    assert ends.tolist() == [2, 3]
    pieces, ends = best_fit(np.array([11, 2]), np.arange(2), 4)
    assert pieces.tolist() == [[0, 0, 4], [0, 4, 8], [0, 8, 11], [1, 0, 2]]


def test_torch_loads_windows_in_batches(exported):
    torch = pytest.importorskip("torch", reason="torch is not installed: tensors were not tried")
    windows = PackedTokens(exported, 64)
    loaded = list(torch.utils.data.DataLoader(windows, batch_size=4))
    assert loaded[0]["input_ids"].shape == (4, 64)
    assert sum(len(batch["labels"]) for batch in loaded) == len(windows)
    assert windows.documents[0].dtype == torch.int64
