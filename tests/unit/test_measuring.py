"""Measures, their plan, the scan and the cache, called directly."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill import storage
from pytest_distill.batch import write
from pytest_distill.batch.batch import Batch
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import How
from pytest_distill.errors import Code, DistillError
from pytest_distill.gates.measures import text as standard_text
from pytest_distill.measuring import cache as caches
from pytest_distill.measuring import code
from pytest_distill.measuring.cache import Cache
from pytest_distill.measuring.measure import Measure, declaration, describe, measure
from pytest_distill.measuring.plan import Node, Planner, in_order
from pytest_distill.measuring.scan import Scan
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.model import Policy

COLUMNS = frozenset({"id", "text"})


def made(function: Callable[..., Any], **facts: Any) -> Measure:
    return describe(function, **{"version": 1, "scope": "shard", "config": None, **facts})


def planner(**facts: Any) -> Planner:
    return Planner(**{"columns": COLUMNS, "kind": "text", "policy": Policy(), "code": lambda measure: "code", **facts})


def resolver(*measures: Measure) -> Callable[[Measure, str], Measure | None]:
    known = {m.name: m for m in measures}
    return lambda asking, name: known.get(name)


def length(text: pl.Series) -> pl.Series:
    return text.str.len_chars()


def double(length: pl.Series) -> pl.Series:
    return length * 2


def rank(double: pl.Series, length: pl.Series) -> pl.Series:
    return (double + length).rank("ordinal")


# -- declarations -----------------------------------------------------------------------------------------------------------


def test_parameters_say_what_a_measure_needs() -> None:
    def needs(kind: str, text: pl.Series, config: Any, *, title: pl.Series | None = None) -> pl.Series:
        return text

    found = made(needs, config="leakage")
    assert (found.name, found.inputs, found.optional, found.wants_kind) == (
        "needs",
        ("text", "title"),
        frozenset({"title"}),
        True,
    )


@pytest.mark.parametrize(
    ("function", "facts", "said"),
    [
        (length, {"version": 0}, "version must be a whole number"),
        (length, {"version": True}, "version must be a whole number"),
        (length, {"scope": "rows"}, "scope is 'shard' or 'batch'"),
        (length, {"config": "leakage"}, "a parameter config and config= go together"),
        (lambda config: config, {}, "a parameter config and config= go together"),
        (lambda *columns: columns, {}, "cannot name a column"),
        (lambda **columns: columns, {}, "cannot name a column"),
        (lambda text=3: text, {}, "has a default that is not None"),
    ],
)
def test_a_function_that_can_be_no_measure_is_refused(function: Any, facts: dict[str, Any], said: str) -> None:
    with pytest.raises(DistillError, match=said) as caught:
        made(function, **facts)
    assert caught.value.code is Code.MEASURE


def test_a_decorated_function_still_gives_its_measure() -> None:
    fixture = measure(version=3, scope="batch")(length)
    assert declaration(fixture).version == 3
    assert declaration(fixture).function(pl.Series(["abc"])).to_list() == [3]
    with pytest.raises(DistillError, match="is no measure"):
        declaration(length)


# -- the plan ---------------------------------------------------------------------------------------------------------------


def plan(target: Measure, *others: Measure, **facts: Any) -> Node:
    return planner(**facts).node(target, resolver(*others))


def test_inputs_come_before_what_needs_them_and_each_once() -> None:
    node = plan(made(rank), made(length), made(double))
    assert [n.name for n in in_order([node, node])] == ["length", "double", "rank"]
    assert [n.name for n in node.nodes()] == ["double", "length"]
    assert node.nodes()[1].columns() == ["text"]


def test_a_key_depends_on_all_that_the_values_depend_on() -> None:
    base = plan(made(double), made(length)).key
    assert plan(made(double), made(length)).key == base
    assert plan(made(double, version=2), made(length)).key != base
    assert plan(made(double, scope="batch"), made(length)).key != base
    assert plan(made(double), made(length, version=2)).key != base, "an input's version counts"
    assert plan(made(double), made(length), code=lambda m: "other").key != base
    assert plan(made(double), made(length), kind="sft").key == base, "nobody asked for the kind"
    assert plan(made(double), columns=frozenset({"length"})).key != base, "a column is no measure"


def test_a_key_depends_on_kind_and_table_only_where_they_are_given() -> None:
    def given_both(text: pl.Series, kind: str, config: Any) -> pl.Series:
        return text

    target = made(given_both, config="leakage")
    base = plan(target).key
    assert plan(target, kind="sft").key != base
    assert plan(target, policy=Policy.model_validate({"leakage": {"markers": ["###"]}})).key != base
    assert plan(target, policy=Policy.model_validate({"language": {"allowed": ["de"]}})).key == base


def test_an_optional_input_that_is_absent_is_another_key() -> None:
    def either(text: pl.Series, title: pl.Series | None = None) -> pl.Series:
        return text

    without, with_title = plan(made(either)), plan(made(either), columns=COLUMNS | {"title"})
    assert without.inputs == (("text", "text"), ("title", None))
    assert without.key != with_title.key


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(1, 4))
def test_every_circle_is_found(names: list[str], size: int) -> None:
    ring = names[: size + 1]
    measures = []
    for name, needs in zip(ring, [*ring[1:], ring[0]], strict=True):
        measures.append(dataclasses.replace(made(length), name=name, inputs=(needs,)))
    with pytest.raises(DistillError, match="in a circle: ") as caught:
        plan(measures[0], *measures)
    assert caught.value.message.endswith(" -> ".join([*ring, ring[0]]))


def test_what_needs_all_rows_is_out_of_reach_for_a_shard() -> None:
    with pytest.raises(DistillError, match="double needs length, which needs all rows"):
        plan(made(double), made(length, scope="batch"))
    assert plan(made(double, scope="batch"), made(length)).nodes()


# -- the scan ---------------------------------------------------------------------------------------------------------------

ROWS = [{"id": f"r{n}", "text": "x" * (n % 5)} for n in range(11)]


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    folder = tmp_path_factory.mktemp("batches") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(write, "SHARD_ROWS", 4)
        facts: dict[str, Any] = {"kind": "text", "origin": "ingested", "what": "", "why": "", "how": How(pipeline="ingest")}
        with BatchWriter(folder, id="demo", **facts) as writer:
            writer.begin_source("rows.jsonl")
            for number, row in enumerate(ROWS):
                writer.add(dict(row), line=number + 1, offset=number)
            writer.end_source(sha256="0" * 64, size=1)
            yield writer.finish()


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", b"k" * 32)


def scan(batch: Batch, cache: Cache | None, *nodes: Node, workers: int = 2) -> Scan:
    made_scan = Scan(batch, Policy(), cache, workers=workers)
    made_scan.run(nodes)
    return made_scan


def statuses(scanned: Scan) -> dict[str, str]:
    return {o.node.name: o.status for o in scanned.outcomes.values()}


def test_columns_come_in_the_order_of_the_rows_for_any_number_of_workers(batch: Batch) -> None:
    assert len(batch.manifest.shards) == 3
    node = plan(made(rank, scope="batch"), made(length), made(double))
    columns = [scan(batch, None, node, workers=workers).column(node).to_list() for workers in (1, 2, 5)]
    assert columns[0] == columns[1] == columns[2]
    lengths = plan(made(length))
    assert scan(batch, None, lengths).column(lengths).to_list() == [n % 5 for n in range(11)]


def test_inputs_that_only_serve_cached_columns_are_not_touched(batch: Batch, cache: Cache) -> None:
    node = plan(made(rank, scope="batch"), made(length), made(double))
    assert statuses(scan(batch, cache, node)) == {"length": "computed", "double": "computed", "rank": "computed"}
    warm = scan(batch, cache, node)
    assert statuses(warm) == {"rank": "cached"}
    assert warm.scans == 0


def test_only_the_shards_that_miss_an_entry_are_computed(batch: Batch, cache: Cache) -> None:
    seen: list[int] = []

    def counted(text: pl.Series) -> pl.Series:
        seen.append(len(text))
        return text.str.len_chars()

    node = plan(made(counted))
    first = scan(batch, cache, node).column(node).to_list()
    cache.path(batch.manifest.shards[2].sha256, node.key).unlink()
    seen.clear()
    again = scan(batch, cache, node)
    assert seen == [3]
    assert again.column(node).to_list() == first
    assert again.outcomes[node.key].status == "computed"


def test_what_was_computed_is_not_computed_again(batch: Batch) -> None:
    node = plan(made(double), made(length))
    scanned = scan(batch, None, node)
    scanned.run([node])
    scanned.run([plan(made(length))])
    assert scanned.scans == 1


def test_a_failure_reaches_what_needs_it_and_nothing_else(batch: Batch) -> None:
    def broken(length: pl.Series) -> pl.Series:
        raise KeyError("no such thing")

    def above(broken: pl.Series) -> pl.Series:
        return broken

    nodes = [plan(made(above, scope=scope), made(broken), made(length)) for scope in ("shard", "batch")]
    fine = plan(made(length))
    scanned = scan(batch, None, *nodes, fine)
    assert scanned.column(fine).len() == 11
    for node in nodes:
        with pytest.raises(DistillError, match="measure above failed: it needs broken, which failed: KeyError"):
            scanned.column(node)
    assert scanned.scans == 1
    scanned.run(nodes)
    assert scanned.scans == 1, "what failed is not tried again"


def test_a_measure_that_writes_into_its_argument_reaches_nobody_else(batch: Batch) -> None:
    def meddling(text: pl.Series) -> pl.Series:
        text[0] = "meddled"
        return text.str.len_chars()

    meddled, fine = plan(made(meddling)), plan(made(length))
    scanned = scan(batch, None, meddled, fine)
    assert scanned.column(meddled)[0] == 7
    assert scanned.column(fine)[0] == 0


def test_the_digest_of_all_rows_depends_on_their_order(batch: Batch) -> None:
    scanned = Scan(batch, Policy(), None)
    shards = batch.manifest.shards
    assert scanned.rows_sha256() == storage.sha256_bytes("\n".join(s.sha256 for s in shards).encode())


# -- the cache --------------------------------------------------------------------------------------------------------------

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "series",
    [
        pl.Series("x", [1, None, 3]),
        pl.Series("x", ["a", None, "\u2028"]),
        pl.Series("x", [None, None], dtype=pl.Null),
        pl.Series("x", [True, False]),
        pl.Series("x", [[1, 2], []]),
        pl.Series("x", [{"a": 1, "b": "x"}, {"a": None, "b": None}]),
        pl.Series("x", [], dtype=pl.Float64),
        pl.Series("x", [float("nan"), float("inf"), -0.0]),
    ],
    ids=lambda series: str(series.dtype),
)
def test_what_is_kept_comes_back(cache: Cache, series: pl.Series) -> None:
    cache.store(A, B, series)
    found = cache.load(A, B, len(series))
    assert found is not None
    assert found.dtype == series.dtype
    assert found.equals(series, null_equal=True)


def test_an_entry_answers_to_its_own_rows_key_count_and_secret_only(cache: Cache) -> None:
    cache.store(A, B, pl.Series([1, 2, 3]))
    assert cache.load(A, B, 3) is not None
    assert cache.load(A, B, 4) is None
    assert cache.load(B, A, 3) is None
    assert Cache(cache.folder, b"o" * 32).load(A, B, 3) is None
    for rows, key in ((A, A), (B, B)):
        target = cache.path(rows, key)
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(cache.path(A, B).read_bytes())
        assert cache.load(rows, key, 3) is None


@given(place=st.integers(0), change=st.integers(1, 255))
def test_no_changed_byte_goes_unnoticed(place: int, change: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = Cache(tmp_path_factory.getbasetemp() / "flipped", b"k" * 32)
    cache.store(A, B, pl.Series([1, 2, 3]))
    data = bytearray(cache.path(A, B).read_bytes())
    data[place % len(data)] ^= change
    cache.path(A, B).write_bytes(data)
    assert cache.load(A, B, 3) is None


def test_the_key_is_private_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first = caches.load_key()
    assert caches.load_key() == first
    assert len(first) == 32
    assert caches.key_path().stat().st_mode & 0o777 == 0o600
    caches.key_path().write_bytes(b"short")
    assert len(caches.load_key()) == 32, "a damaged key is not used"


def test_where_no_key_can_be_kept_one_serves_for_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    assert len(caches.load_key()) == 32


# -- the code a measure reaches ---------------------------------------------------------------------------------------------


def test_a_workspaces_python_counts_for_its_measures_and_not_for_ours(tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text("")
    (tmp_path / "helper.py").write_text("A = 1\n")
    workspace = workspaces.load(tmp_path)
    own = made(length)
    ours = declaration(standard_text.answer_text)
    before = code.CodeDigests(workspace)
    first = (before(own), before(ours))
    (tmp_path / "helper.py").write_text("A = 2\n")
    after = code.CodeDigests(workspace)
    assert after(own) != first[0]
    assert after(ours) == first[1]
    (tmp_path / "helper.py").write_text("A = 1\n")
    (tmp_path / "batches").mkdir()
    (tmp_path / "batches" / "data.py").write_text("B = 1\n")
    again = code.CodeDigests(workspace)
    assert again(own) == first[0], "what lies in batches is data"
    assert code.is_standard(ours)
    assert not code.is_standard(own)
