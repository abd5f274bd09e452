"""The page: its structure, its bytes, and what becomes of foreign text on the way into it."""

from __future__ import annotations

import re
import signal
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sealed_workspace import SOURCE_ROWS, Sealed, judge, make_workspace, write_batch

from pytest_distill.batch.batch import Batch
from pytest_distill.cli import main as cli
from pytest_distill.contracts.manifest import Column, Shard
from pytest_distill.contracts.quarantine import QUARANTINE_SCHEMA
from pytest_distill.contracts.run import Bound, Example, Figure, GateRecord
from pytest_distill.errors import DistillError
from pytest_distill.measuring.columns import Columns
from pytest_distill.report import atlas, figures, judged, page, rows
from pytest_distill.report.html import tag, visible
from pytest_distill.report.sections import clauses, gates, overview, parts, provenance, rows_shown, runs
from pytest_distill.stages.receipts import with_receipt

VOID = {"meta", "link", "input", "br"}


class Outline(HTMLParser):
    """Tags in order, attributes by tag, and the text; fails on a tag that is not closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    """A passing run of the hand-made batch, and one before it."""
    workspace = make_workspace(tmp_path_factory.mktemp("report"))
    batch = write_batch(workspace.batches / "demo")
    judge(workspace, batch, (1,))
    return judge(workspace, batch)


def load(run: Sealed) -> judged.Judged:
    return judged.load(run.workspace, run.batch.id)


@given(st.text(), st.text(min_size=1))
def test_whatever_goes_in_comes_out_as_text_and_attribute(text: str, value: str) -> None:
    found = Outline(tag("p", text, title=value))
    assert found.tags == {"p": 1}
    assert "".join(found.texts) == visible(text)
    assert found.attributes == [("p", {"title": visible(value)})]


@given(st.text())
@example("\x00\x1b\u200b\u202e\u2028\u2066\ufeff\ue000")
def test_nothing_invisible_reaches_the_page(text: str) -> None:
    shown = visible(text)
    assert all(c.isprintable() or c in "\n\t" or c.isspace() for c in shown)
    assert not set(shown) & set("\x00\x1b\u200b\u202e\u2028\u2066\ufeff")


def test_the_page_has_its_landmarks_and_sections(run: Sealed) -> None:
    html = page.page(load(run))
    found = Outline(html.removeprefix("<!doctype html>\n"))
    assert {
        name: found.tags[name] for name in ("html", "head", "body", "header", "nav", "main", "footer", "h1")
    } == dict.fromkeys(("html", "head", "body", "header", "nav", "main", "footer", "h1"), 1)
    assert re.findall(r'<section id="([a-z]+)"', html) == [
        "verdict", "funnel", "gates", "distributions", "map", "rows", "trend", "drift", "clauses", "provenance",
    ]  # fmt: skip
    ids = [attributes["id"] for _, attributes in found.attributes if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert found.tags["th"] == sum("scope" in attributes for name, attributes in found.attributes if name == "th")
    named = [attributes for name, attributes in found.attributes if name == "svg" and attributes.get("aria-hidden") != "true"]
    assert named
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in named)


def test_nothing_is_loaded_and_nothing_can_run(run: Sealed) -> None:
    html = page.page(load(run))
    found = Outline(html.removeprefix("<!doctype html>\n"))
    assert not {"script", "img", "link", "iframe", "object", "embed", "form", "base"} & set(found.tags)
    assert not [a for _, attributes in found.attributes for a in attributes if a.startswith("on") or a in ("src", "style")]
    (policy,) = [attributes["content"] for _, attributes in found.attributes if "http-equiv" in attributes]
    assert policy is not None
    assert re.fullmatch(r"default-src 'none'; style-src 'sha256-[\w+/]{43}='; base-uri 'none'; form-action 'none'", policy)
    assert not re.search(r"@import|url\(", html)
    links = [attributes["href"] for name, attributes in found.attributes if name == "a"]
    assert all(link is not None and link.startswith(("#", "./")) for link in links)


def test_the_same_run_gives_the_same_bytes(run: Sealed) -> None:
    assert page.page(load(run)) == page.page(load(run))
    assert str(run.workspace.root) not in page.page(load(run))


def test_links_lead_from_the_file_to_the_run(run: Sealed, tmp_path: Path) -> None:
    out = page.write(load(run), run.workspace.root / "out & <in>" / "page.html")
    links = re.findall(r'href="([^#][^"]*)"', out.read_text())
    assert links
    assert all((out.parent / link).resolve().is_file() for link in links)


def test_a_run_that_did_not_finish_is_reported_as_such(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    batch = write_batch(workspace.batches / "demo")
    judge(workspace, batch, finish=False, verdict="INCOMPLETE", gates=(), findings=("the run did not reach its end",))
    html = page.page(judged.load(workspace, "demo"))
    assert "INCOMPLETE" in html
    assert "may leave" in html
    assert 'id="map"' not in html


def test_a_batch_that_was_changed_since_is_not_drawn(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    judge(workspace, write_batch(workspace.batches / "demo"))
    (workspace.batches / "demo").rename(workspace.batches / "away")
    write_batch(workspace.batches / "demo", SOURCE_ROWS[:4])
    html = page.page(judged.load(workspace, "demo"))
    assert "no longer those that were judged" in html
    assert 'id="map"' not in html


def test_a_run_that_is_not_there_is_refused(run: Sealed) -> None:
    with pytest.raises(DistillError, match="runs: 1, 2"):
        judged.load(run.workspace, run.batch.id, 9)
    with pytest.raises(DistillError, match="is no batch id"):
        judged.load(run.workspace, "../demo")
    with pytest.raises(DistillError, match="no batch at"):
        judged.load(run.workspace, "other")
    write_batch(run.workspace.batches / "unjudged")
    with pytest.raises(DistillError, match="never judged"):
        judged.load(run.workspace, "unjudged")


def test_each_row_is_lost_once(run: Sealed) -> None:
    texts = Outline(overview.funnel(load(run))).texts
    assert texts[texts.index("privacy.secrets") + 1 :][:3] == ["4", "−2", "33.3%"]
    assert texts[texts.index("remain") + 1] == "4"


def test_gates_that_say_no_come_first_with_what_was_found_marked(run: Sealed) -> None:
    found = Example(row=1, id="b", source="rows", line=2, text="a <b>SECRET</b> here", start=2, end=15)
    bad = GateRecord(
        id="own.gate",
        title="T",
        kind="row",
        severity="block",
        status="failed",
        why=("2 rows",),
        figures=(Figure(name="rows rejected", value=2, bound=Bound(op="at_most", value=0), ok=False, unit="rows", rows=6),),
        rejected=2,
        examples=(found,),
        origin="workspace",
        limits={"max_rejected_rows": 0},
    )
    record = run.record.model_copy(update={"gates": (*run.record.gates, bad), "required": (*run.record.required, "own.gate")})
    html = gates.table(record, frozenset())
    assert "<mark>&lt;b&gt;SECRET&lt;/b&gt;</mark>" in html
    assert html.index("own.gate") < html.index("answer.refusal")
    assert re.search(
        r'<tbody id="gate-0"[^>]* data-status="no" data-kind="row"><tr role="row"><th[^>]*><span class="id">own.gate', html
    )
    assert "<details open>" in html


def test_rows_with_secrets_are_not_quoted(run: Sealed) -> None:
    html = page.page(load(run))
    assert "Not quoted: rejected for personal data or a secret." in html
    assert "SECRET-TOKEN" not in html
    quoted = Example(row=1, id="b", source="rows", line=2, text="SECRET-TOKEN-1 is long")
    other = run.record.gates[0].model_copy(update={"examples": (quoted,), "reason_code": "length_out_of_bounds"})
    record = run.record.model_copy(update={"gates": (other, *run.record.gates[1:])})
    assert "SECRET-TOKEN" in gates.table(record, frozenset())
    assert "SECRET-TOKEN" not in gates.table(record, load(run).private_rows)


def test_drift_is_against_the_run_before(run: Sealed) -> None:
    now = load(run)
    assert now.before is not None
    assert (now.before.batch, now.before.run) == ("demo", "000001")
    assert "Against demo 1 (the same rows, the same policy): 0 of" in runs.drift(now)
    first = judged.load(run.workspace, "demo", 1)
    assert first.before is None
    assert runs.trend(first) == ""


def test_a_record_of_another_release_is_left_out_and_counted(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    batch = write_batch(workspace.batches / "demo")
    old = judge(workspace, batch)
    judge(workspace, batch)
    judge(workspace, batch)
    (old.folder / "evidence.json").write_text('{"schema_version": 99}')
    found = judged.load(workspace, "demo")
    assert [past.name for past in found.past] == ["demo 2", "demo 3"]
    assert "Left out: 1 run whose record this release cannot read." in runs.trend(found)


def test_clauses_say_what_their_gates_said(run: Sealed) -> None:
    record = run.record
    failing = next(gate for gate in record.gates if gate.id == "bulk.cost")
    gates = tuple(g.model_copy(update={"status": "failed", "why": ("too dear",)}) if g is failing else g for g in record.gates)
    html = clauses.clauses(record.model_copy(update={"verdict": "FAILED", "gates": gates}))
    row = re.search(r"<th[^>]*>5 Every run declares its cost class.*?</tr>", html)
    assert row
    assert 'class="badge no"' in row[0]
    assert '<a href="#gate-0">bulk.cost</a>' in row[0]  # it says no, so it is the first on the page
    assert 'class="badge no"' not in clauses.clauses(record)


def test_receipts_of_the_stage_that_wrote_these_rows_are_linked(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    batch = write_batch(workspace.batches / "demo")
    with with_receipt(workspace, "ingest", "demo") as stage:
        stage.made(batch)
    with with_receipt(workspace, "ingest", "other") as stage:
        stage.made(write_batch(workspace.batches / "other", SOURCE_ROWS[:2]))
    found = load(judge(workspace, batch))
    html = provenance.receipts(found, ".")
    links = re.findall(r'href="([^"]+)"', html)
    assert [(found.folder / link).resolve() for link in links] == [workspace.receipts / "000001" / "ingest.json"]
    assert "wrote them" in html


@pytest.mark.parametrize(("kept", "shown"), [(len(SOURCE_ROWS), True), (1, False)])
def test_the_funnel_of_a_generated_batch_begins_with_its_candidates(
    run: Sealed, kept: int, *, shown: bool, tmp_path: Path
) -> None:
    fates = ["kept"] * kept + ["dropped_pair"] * 3 + ["rejected_instruction"] * 2
    pq.write_table(pa.table({"candidate_status": fates}), tmp_path / "candidates.parquet")
    manifest = run.batch.manifest.model_copy(
        update={
            "candidates": (Shard(path="candidates.parquet", rows=len(fates), sha256="0" * 64),),
            "candidate_columns": (Column(name="candidate_status", type="string", nulls="never"),),
        }
    )
    found = load(run)
    batch = Batch(tmp_path, manifest, run.batch.sha256)
    texts = Outline(overview.funnel(judged.Judged(found.workspace, found.folder, found.record, None, batch, None))).texts
    assert ("generated" in texts) is shown  # candidates that do not add up to the rows are no beginning of anything
    assert (texts[texts.index("dropped pair") + 1 :][:2] == [str(kept + 2), "−3"]) if shown else "dropped pair" not in texts


def test_gates_that_reject_the_same_rows_are_counted(run: Sealed, tmp_path: Path) -> None:
    table = [("a", 0), ("b", 0), ("a", 1), ("c", 4), ("a", 4), ("b", 5)]
    entry = {"reason": "own", "source": "rows", "line": 1, "message": ""}
    pq.write_table(
        pa.Table.from_pylist([{**entry, "by": by, "row": row} for by, row in table], schema=QUARANTINE_SCHEMA),
        tmp_path / "quarantine.parquet",
    )
    gate = run.record.gates[0]
    record = run.record.model_copy(update={"gates": tuple(gate.model_copy(update={"id": name}) for name in "cba")})
    found = judged.Judged(run.workspace, tmp_path, record, None, run.batch, None)
    names, both = rows.together(found)
    assert names == ["a", "b", "c"]
    assert both == {("a", "a"): 3, ("b", "b"): 2, ("c", "c"): 1, ("a", "b"): 1, ("b", "a"): 1, ("a", "c"): 1, ("c", "a"): 1}
    assert rows.taken_first(found) == {"c": 1, "b": 2, "a": 1}
    assert rows.rejected_mask(found).tolist() == [True, True, False, False, True, True]


def test_provenance_quotes_the_manifest_as_text(run: Sealed) -> None:
    html = provenance.facts(load(run), ".")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert run.record.policy_sha256 in html


def test_histograms_count_every_row_and_show_the_bounds_of_the_run(run: Sealed) -> None:
    limits = {"min_answer_tokens": 0, "max_answer_tokens": 3}
    record = run.record.model_copy(
        update={
            "gates": tuple(g.model_copy(update={"limits": limits}) if g.id == "length.answer" else g for g in run.record.gates)
        }
    )
    found = load(run)
    found = judged.Judged(found.workspace, found.folder, record, None, found.batch, None)
    drawn = list(figures.histograms(found, Columns.of(run.workspace, run.batch), rows.rejected_mask(found)))
    lengths = next(chart for chart in drawn if isinstance(chart, figures.Histogram) and chart.chart.measure == "answer_tokens")
    assert int(lengths.all.sum()) == lengths.rows == len(SOURCE_ROWS)
    assert int(lengths.rejected.sum()) == 2
    assert [(mark.label, mark.value) for mark in lengths.marks] == [("at most 3", 3.0)]
    assert lengths.low == 1
    assert 0 < lengths.beyond < len(SOURCE_ROWS)


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50), st.integers(0, 10**6))
def test_edges_take_in_every_value_and_every_bound(values: list[int], bound: int) -> None:
    chart = figures.CHARTS[0]
    low, high = min(values), max(values)
    edges = figures._edges(chart, low, high, [bound])
    assert edges[0] <= min(low, bound)
    assert edges[-1] > max(high, bound)
    assert len(edges) <= figures.BINS + 2
    assert (np.diff(edges) > 0).all()
    assert np.histogram(values, edges)[0].sum() == len(values)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0, 1))
def test_edges_of_shares_do_too(values: list[float], bound: float) -> None:
    chart = next(chart for chart in figures.CHARTS if chart.unit == "share")
    edges = figures._edges(chart, min(values), max(values), [bound])
    assert np.histogram(values, edges)[0].sum() == len(values)
    assert edges[-1] >= bound


def test_texts_that_share_their_words_lie_together() -> None:
    cooking = [f"Stir the onions and the garlic in warm butter, {n} minutes, then add salt." for n in range(20)]
    shipping = [f"The parcel number {n} left our warehouse by truck on Monday morning." for n in range(20)]
    points = atlas.positions([*cooking, *shipping])
    assert points.min() >= 0
    assert points.max() <= 1
    apart = np.linalg.norm(points[:20].mean(axis=0) - points[20:].mean(axis=0))
    within = max(np.linalg.norm(part - part.mean(axis=0), axis=1).mean() for part in (points[:20], points[20:]))
    assert apart > within
    assert (atlas.positions([*cooking, *shipping]) == points).all()


@pytest.mark.parametrize("texts", [[], [""], ["", "", "", ""], ["a", "a", "a"], ["x", "y", "z z z z"]])
def test_a_map_of_nothing_much_is_still_a_map(texts: list[str]) -> None:
    points = atlas.positions(texts)
    assert points.shape == (len(texts), 2)
    assert np.isfinite(points).all()


def test_rows_to_read_come_from_as_many_gates_as_can_be() -> None:
    common = [rows.Row(n, str(n), "s", n + 1, "", "", ("common",), private=False) for n in range(50)]
    rare = rows.Row(90, "rare", "s", 91, "", "", ("common", "rare"), private=False)
    chosen = rows_shown._chosen([*common, rare])
    assert len(chosen) == rows_shown.READ
    assert chosen[-1] is rare


def test_what_is_too_long_is_shown_in_part() -> None:
    assert parts.clipped("a" * 700, 700) == "a" * 700
    assert parts.clipped("a" * 12_345, 700) == f"{'a' * 700}… (12,345 characters)"


def test_long_and_many_rows_keep_the_page_small(tmp_path: Path) -> None:
    wild = "<&\"'\u202e" * 4000
    many: list[dict[str, Any]] = [{"id": f"{wild}{n}", "instruction": wild, "response": wild + str(n)} for n in range(300)]
    short = [{"id": f"s{n}", "instruction": f"What is {n}?", "response": f"{n} it is."} for n in range(4000)]
    workspace = make_workspace(tmp_path)
    batch = write_batch(workspace.batches / "demo", [*many, *short], shard_rows=2000)
    judge(workspace, batch, tuple(range(0, 4300, 3)))
    html = page.page(judged.load(workspace, "demo"))
    assert len(html.encode()) < 1_500_000
    assert html.count("<article>") == 16


@pytest.fixture
def report(run: Sealed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `distill report` in the workspace; gives status, stdout and stderr."""
    monkeypatch.chdir(run.workspace.root)
    before = signal.getsignal(signal.SIGTERM)

    def command(*words: str) -> tuple[int, str, str]:
        try:
            status = cli.main(["report", *words])
        finally:
            signal.signal(signal.SIGTERM, before)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return command


def test_the_command_writes_the_page_and_says_where(run: Sealed, report: Any) -> None:
    status, out, _ = report("demo")
    assert status == 0
    assert Path(out.strip()) == run.folder / "report.html"
    assert Path(out.strip()).read_text() == page.page(load(run))
    status, out, _ = report("demo", "--run", "1", "--out", "one.html")
    assert (status, out) == (0, "one.html\n")
    assert "demo, run 1</title>" in Path("one.html").read_text()


def test_the_command_prints_markdown_or_writes_it(run: Sealed, report: Any) -> None:
    status, out, _ = report("demo", "--format", "markdown")
    assert status == 0
    assert out.startswith("### ✅ `demo`: PASSED\n")
    assert report("demo", "--format", "markdown", "--out", "summary.md")[:2] == (0, "summary.md\n")
    assert Path("summary.md").read_text() == out


def test_the_command_refuses_what_is_not_there(report: Any) -> None:
    status, _, err = report("nothing")
    assert status == 1
    assert err.startswith("ERROR [E-BATCH-NOTFOUND]: no batch at ")
    assert report("demo", "--run", "7")[2].startswith("ERROR [E-BATCH-NOTFOUND]")
