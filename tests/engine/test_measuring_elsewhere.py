"""What a worker measures is what was planned, or nothing. Its side runs in this process here, so that it can be lied to."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest
from workbench import HEAD, Bench, curated

from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import remote
from pytest_distill.measuring.code import CodeDigests
from pytest_distill.measuring.elsewhere import Elsewhere
from pytest_distill.measuring.measure import declaration, describe
from pytest_distill.measuring.plan import Node, Planner
from pytest_distill.measuring.remote import Measurer, ShardColumns, ShardOrder
from pytest_distill.measuring.scan import Scan
from pytest_distill.measuring.standard import standard_measures, standard_modules
from pytest_distill.policy import workspace as workspaces
from pytest_distill.suite.declared import suite_folder

OWN = (
    HEAD
    + """
@measure(version=1)
def loudness(answer_text):
    return answer_text.str.count_matches("!")

@measure(version=1)
def squared(loudness):
    return loudness * loudness

def hidden():
    @measure(version=1)
    def unseen(answer_text):
        return answer_text.str.len_chars()
    return unseen

kept = hidden()
"""
)


class Place:
    """A workspace with a batch of three shards, a measure of its own, and what is planned of it."""

    def __init__(self, root: Path) -> None:
        self.bench = Bench(root)
        self.bench.policy('[contamination]\nbenchmarks = [{name = "b", path = "bench.jsonl", fields = ["question"]}]\n')
        self.bench.file("bench.jsonl", '{"question": "What is it that nobody asks of anyone at all today?"}\n')
        self.file = self.bench.file("gates/test_elsewhere_own.py", OWN)
        self.bench.batch(curated(30), shard_rows=10)
        self.module = imported(self.file)
        self.workspace = workspaces.load(root)
        self.batch: Batch = open_batch(root / "batches" / "demo")
        self.code = CodeDigests(self.workspace)
        names, policy = frozenset(self.batch.column_names), self.workspace.policy
        self.planner = Planner(names, self.batch.kind, policy, self.code, self.batch.manifest.columns)
        self.measures = standard_measures(standard_modules())
        self.measures |= {name: declaration(getattr(self.module, name)) for name in ("loudness", "squared", "kept")}

    def node(self, name: str) -> Node:
        return self.planner.node(self.measures[name], lambda _, other: self.measures.get(other))

    def worker(self, **changed: Any) -> Measurer:
        setting = remote.Setting(self.batch, self.workspace.policy, self.code.sources(), tuple(sys.path))
        return Measurer(setting._replace(**changed))

    def order(self, *names: str) -> ShardOrder:
        nodes = [self.node(name) for name in names]
        return remote.order(1, [node for each in nodes for node in [*each.nodes(), each]], {})


def imported(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    module = sys.modules[file.stem] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    path = list(sys.path)
    yield Place(tmp_path / "ws")
    sys.path[:] = path
    sys.modules.pop("test_elsewhere_own", None)


def refusal(worker: Any, *arguments: Any, **keywords: Any) -> str:
    with pytest.raises(DistillError) as caught:
        worker(*arguments, **keywords)
    assert caught.value.code is Code.ENGINE
    return caught.value.message


def test_a_worker_gives_the_columns_that_a_thread_gives(place: Place) -> None:
    found = place.worker()(place.order("loudness"))
    scan = Scan(place.batch, place.workspace.policy, None)
    nodes = [place.node("loudness"), *place.node("loudness").nodes()]
    scan.run(nodes)
    columns = remote.unpacked(found.columns)
    assert set(columns) == {node.key for node in nodes}
    for node in nodes:
        assert columns[node.key].rename(node.name).equals(scan.outcomes[node.key].parts[1], check_dtypes=True)


def test_columns_that_are_there_travel_with_the_order(place: Place) -> None:
    loudness, squared = place.node("loudness"), place.node("squared")
    order = remote.order(0, [squared], {loudness.key: pl.Series("x", range(10))})
    found = place.worker()(order)
    assert remote.unpacked(found.columns)[squared.key].to_list() == [n * n for n in range(10)]


def test_what_an_input_failed_for_is_told(place: Place) -> None:
    found = place.worker()(remote.order(0, [place.node("squared")], {}))
    assert list(found.errors.values()) == ["it needs loudness, which failed"]
    assert not remote.unpacked(found.columns)


# -- what is refused


def test_other_bytes_of_a_shard(place: Place) -> None:
    worker, order = place.worker(), place.order("loudness")
    shard = place.batch.shard_path(place.batch.manifest.shards[1])
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    assert "has another" in refusal(worker, order)
    shard.unlink()
    assert "cannot read" in refusal(worker, order)


def test_another_version_of_a_file_of_the_workspace(place: Place) -> None:
    place.code.sources()
    place.file.write_text(OWN.replace('"!"', '"?"'))
    assert "has another" in refusal(place.worker)


def test_a_file_of_the_policy_that_holds_something_else(place: Place) -> None:
    place.bench.file("bench.jsonl", '{"question": "Another?"}\n')
    assert "bench.jsonl than was planned with" in refusal(place.worker)


def test_another_policy(place: Place) -> None:
    order = place.order("answer_tokens")
    tokenizer = suite_folder().parent / "fixtures" / "tiny_lm" / "model" / "tokenizer.json"
    other = workspaces.parse(f'[tokenizer]\npath = "{tokenizer}"\n'.encode(), place.bench.root, name="distill.toml")
    assert "has another answer_tokens" in refusal(place.worker(policy=other), order)


def test_another_kind_or_other_columns_of_the_batch(place: Place) -> None:
    manifest = place.batch.manifest.model_copy(update={"kind": "text"})
    order = place.order("answer_text")
    assert "has another answer_text" in refusal(place.worker(batch=replace(place.batch, manifest=manifest)), order)


def test_other_code_of_the_package(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, order = place.worker(), place.order("answer_text")
    monkeypatch.setattr(remote, "standard_digest", lambda: "0" * 64)
    assert "has another answer_text" in refusal(worker, order)


def test_a_measure_of_another_version_or_with_other_inputs(place: Place) -> None:
    worker, order = place.worker(), place.order("loudness")
    worker(order)
    module = worker._modules[str(place.file.resolve())]
    version = describe(lambda answer_text: answer_text, version=2, scope="shard", config=None)
    for changed in (replace(version, name="loudness"), replace(version, name="loudness", version=1, inputs=("prompt_text",))):
        setattr(module.loudness, remote.ATTRIBUTE, changed)
        assert "has another loudness" in refusal(worker, order)


def test_a_measure_that_is_not_there(place: Place) -> None:
    order = place.order("loudness")
    nodes = tuple(each._replace(name="nobody") if each.name == "loudness" else each for each in order.nodes)
    assert "finds no measure nobody" in refusal(place.worker(), order._replace(nodes=nodes))


def test_a_file_whose_bytes_were_not_compared_is_not_imported(place: Place) -> None:
    file = str(place.bench.file("../elsewhere.py", "raise SystemExit('this must not run')").resolve())
    order = place.order("loudness")
    nodes = tuple(each._replace(file=file) if each.name == "loudness" else each for each in order.nodes)
    assert "finds no measure loudness" in refusal(place.worker(), order._replace(nodes=nodes))


def test_a_file_that_cannot_be_imported_away_from_its_process(place: Place) -> None:
    place.file.write_text("raise RuntimeError('only in the driver')\n")
    again = CodeDigests(place.workspace).sources()
    told = place.order("loudness")
    assert "cannot import test_elsewhere_own: RuntimeError: only in the driver" in refusal(place.worker(sources=again), told)


def test_modules_that_nobody_planned_with(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, order = place.worker(), place.order("loudness")
    stranger = ModuleType("stranger")
    stranger.__file__ = str(place.bench.file("later/stranger.py", ""))
    monkeypatch.setitem(sys.modules, "stranger", stranger)
    assert "stranger.py, which nobody planned with" in refusal(worker, order)


def test_libraries_that_were_changed_in_the_worker(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Series, "to_list", lambda self: [])
    with pytest.raises(DistillError, match=r"in the worker on .*, polars.* was replaced by code of test_measuring") as caught:
        place.worker()
    assert caught.value.code is Code.TAINT


# -- what the driver accepts


class Lying:
    """An engine whose workers give what they are told to."""

    workers = 1

    def __init__(self, lie: Any) -> None:
        self.lie = lie

    def map(self, job: Any, tasks: Any) -> Any:
        worker = job.make(*job.arguments)
        for label, task in tasks:
            yield label, self.lie(worker(task))


def scanned(place: Place, lie: Any, *names: str) -> tuple[Scan, list[Node]]:
    scan = Scan(place.batch, place.workspace.policy, None, elsewhere=Elsewhere(Lying(lie), place.code))
    nodes = [place.node(name) for name in names]
    scan.run(nodes)
    return scan, nodes


def test_columns_of_workers_make_the_same_scan(place: Place) -> None:
    names = ("loudness", "squared", "kept", "language_guess", "exact_duplicate_of", "record_fault")
    scan, nodes = scanned(place, lambda found: found, *names)
    threads = Scan(place.batch, place.workspace.policy, None)
    threads.run(nodes)
    for node in nodes:
        assert scan.column(node).equals(threads.column(node), check_dtypes=True, check_names=True)
    assert scan.elsewhere is not None
    assert scan.elsewhere.here == {"unseen"}, "found by no other process, and said"


def test_a_column_that_is_too_short_fails_its_measure(place: Place) -> None:
    def shorter(found: ShardColumns) -> ShardColumns:
        columns = {key: series.head(9) for key, series in remote.unpacked(found.columns).items()}
        return found._replace(columns=remote.packed(columns))

    scan, [node] = scanned(place, shorter, "answer_text")
    with pytest.raises(DistillError, match="it returned 9 values for 10 rows"):
        scan.column(node)


def test_an_answer_that_leaves_a_measure_out_is_no_answer(place: Place) -> None:
    with pytest.raises(DistillError, match="gave no answer about answer_text") as caught:
        scanned(place, lambda found: found._replace(columns=remote.packed({})), "answer_text")
    assert caught.value.code is Code.WORKER


def test_what_a_cluster_was_refused_for_is_not_tried_again(place: Place) -> None:
    calls: list[int] = []

    def dead(found: ShardColumns) -> ShardColumns:
        calls.append(1)
        raise DistillError(Code.WORKER, "a Ray worker was lost")

    scan = Scan(place.batch, place.workspace.policy, None, elsewhere=Elsewhere(Lying(dead), place.code))
    for _ in range(2):
        with pytest.raises(DistillError, match="was lost"):
            scan.run([place.node("answer_text")])
    assert calls == [1]
