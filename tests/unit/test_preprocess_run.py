"""A whole preprocessing run: every source it reads, where each record went, what stays whatever the order, what is frozen."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from preprocess_runs import dropped, make_workspace, prose, run, settings, write_jsonl

from pytest_distill import clock, ledger
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.contracts.preprocess import PreprocessSummary, ResumeState, StoredUnit
from pytest_distill.engine.local import Processes
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.preprocess import config
from pytest_distill.pipelines.preprocess.resume import NOTHING
from pytest_distill.policy.bulk import is_generated_bulk
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.stopping import Stop


@pytest.fixture(autouse=True)
def pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_pinned", None)
    clock.pin("2026-01-31T12:00:00Z")


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "ws")


def summary(batch) -> PreprocessSummary:
    return PreprocessSummary.from_bytes(batch.attachment("preprocess.json"), name="preprocess.json")


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a workspace that a run is answerable for."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {name: data for name, data in found.items() if not name.endswith(".lock")}


# -- where records go


def test_every_record_is_kept_or_in_quarantine_with_its_reason(place: Workspace, tmp_path: Path) -> None:
    german = "Der alte Lehrer erklärte den Kindern am Morgen, warum der Fluss im Winter so langsam durch das Dorf fließt. " * 4
    base = prose(1)
    rows = [
        {"text": base},
        "{broken",
        {"other": "no text"},
        {"text": 3},
        {"text": " \n "},
        {"text": prose(2, 49)},
        {"text": german},
        {"text": base.upper()},
        {"text": base + " Really."},
        {"text": prose(3, 50), "extra": [1, None]},
    ]
    batch = run(place, [write_jsonl(tmp_path / "in.jsonl", rows)])
    gone = dropped(batch)
    # Equal but for their case: which of them leads the other is decided by their bytes, and both are like row 9, the longest.
    assert {gone.pop(1), gone.pop(8)} == {"duplicate_exact", "duplicate_near"}
    assert gone == {
        2: "malformed_json",
        3: "missing_field",
        4: "wrong_type",
        5: "blank",
        6: "length_out_of_bounds",
        7: "language",
    }
    told = summary(batch)
    assert (told.read, told.kept, sum(told.dropped.values())) == (10, 2, 8)
    frame = batch.frame()
    assert frame["distill_line"].to_list() == [9, 10]
    assert frame["id"].to_list() == ["in.jsonl:9", "in.jsonl:10"]
    assert json.loads(frame["extra"][1]) == [1, None]
    assert batch.manifest.origin == "derived"
    assert batch.manifest.spec_version == "preprocess_v1"
    assert batch.manifest.freeze_sha256 == told.freeze.sha256
    assert {"diagnostic_repetition", "diagnostic_perplexity_z", "diagnostic_personal_data"} <= set(batch.column_names)
    (entry,) = [e for e in ledger.entries(place.ledger) if e.batch == "out"]
    assert entry.facts["sha256"] == batch.sha256


def test_what_was_filtered_is_no_bulk_that_was_generated(place: Workspace, tmp_path: Path) -> None:
    """The model that tells languages stands in the manifest, and it made no row: no gold set is asked for."""
    batch = run(place, [write_jsonl(tmp_path / "a.jsonl", [{"text": prose(n)} for n in range(3)])])
    assert batch.manifest.how.models
    assert not is_generated_bulk(batch.manifest, 1000, place.policy)


def test_quarantine_keeps_the_bytes_and_says_who_it_was_like(place: Workspace, tmp_path: Path) -> None:
    base = prose(1)
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": base}, {"text": f"{base}  "}, {"text": base + " Really."}])
    batch = run(place, [source])
    table = pq.read_table(batch.folder / "quarantine.parquet").to_pylist()
    assert [row["reason"] for row in table] == ["duplicate_near", "duplicate_exact"]
    assert table[0]["message"].startswith("like in.jsonl:3, Jaccard 0.9")
    assert table[1]["message"] == "same as in.jsonl:1"
    assert table[1]["by"] == "preprocess.deduplicate"
    assert table[1]["original"] == source.read_bytes().splitlines()[1]


def test_a_diagnostic_decides_only_where_it_is_promoted(place: Workspace, tmp_path: Path) -> None:
    loop = " ".join(["all work and no play makes jack a dull boy indeed"] * 12)
    source = write_jsonl(
        tmp_path / "in.jsonl", [{"text": prose(1)}, {"text": loop}, {"text": prose(2) + " Mail ann@corp-mail.com"}]
    )
    logged = run(place, [source])
    assert dropped(logged) == {}
    assert summary(logged).diagnostics["repetition"].over == 1
    promoted = {"repetition": {"promote": True}, "personal_data": {"promote": True}}
    batch = run(place, [source], "strict", diagnostics=promoted, pipeline_version="strict_v1")
    assert dropped(batch) == {2: "repetition", 3: "personal_data"}


def test_promoted_perplexity_drops_what_no_reader_could_read(place: Workspace, tmp_path: Path) -> None:
    rng = random.Random(4)
    rows = [{"text": prose(seed)} for seed in range(60)]
    rows.append({"text": " ".join("".join(rng.choice("etaoinshrdluwmfy") for _ in range(6)) for _ in range(80))})
    loose = {"allowed": ["en"], "min_confidence": 1e-9}
    strict = {"perplexity": {"promote": True, "max": 4.0, "sample": 0.5}}
    batch = run(place, [write_jsonl(tmp_path / "in.jsonl", rows)], language=loose, diagnostics=strict)
    assert dropped(batch) == {61: "perplexity"}


def test_sft_answers_of_one_word_stay_and_are_no_duplicates_of_each_other(place: Workspace, tmp_path: Path) -> None:
    rows = [
        {"instruction": "What is two plus two?", "response": "4"},
        {"instruction": "What is two and two?", "response": "4"},
        {"instruction": "Name the capital of France.", "response": "Paris"},
        {"instruction": "Say hello in Spanish.", "response": "Hola", "input": ""},
        {"instruction": "Is water wet?", "response": "\t"},
    ]
    batch = run(place, [write_jsonl(tmp_path / "in.jsonl", rows)], kind="sft")
    assert dropped(batch) == {5: "blank"}
    assert batch.frame()["response"].to_list() == ["4", "4", "Paris", "Hola"]


def test_nothing_kept_is_refused_and_leaves_nothing(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": "too short"}])
    with pytest.raises(DistillError, match="none of 1 records could be kept: 1 length_out_of_bounds") as caught:
        run(place, [source])
    assert caught.value.code is Code.SOURCE
    assert not list(place.batches.glob("*"))
    assert not (place.state / "preprocess" / "out").exists()


def test_rows_of_another_shape_are_told_what_they_lack(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"instruction": "Name a gas.", "response": "Argon."}])
    with pytest.raises(DistillError, match="1 missing_field") as caught:
        run(place, [source])
    assert caught.value.hint == "Rows of kind text need text: --map text=YOURS. Or is it --kind sft? Nothing was written."


# -- what is read


def test_every_kind_of_source_gives_the_same_rows(place: Workspace, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"text": prose(seed)} for seed in range(5)]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(lines))
    (tmp_path / "d.json").write_text(json.dumps(rows))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "e.parquet")
    (tmp_path / "f.txt").write_text("\n".join(row["text"] for row in rows) + "\n")
    datasets.disable_progress_bars()
    made = datasets.Dataset.from_list(rows)
    made.save_to_disk(tmp_path / "g")
    datasets.DatasetDict({"train": made, "test": made.select([0])}).save_to_disk(tmp_path / "h")
    (tmp_path / "parts").mkdir()
    for number, row in enumerate(rows):
        (tmp_path / "parts" / f"{number}.txt").write_text(row["text"])
    ingest([tmp_path / "a.jsonl"], place, "ingested")
    sources: list[tuple[str | Path, dict[str, str]]] = [
        *((tmp_path / name, {}) for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl.zst", "d.json", "e.parquet", "g")),
        (tmp_path / "f.txt", {"text_files": "line"}),
        (tmp_path / "h", {"split": "train"}),
        (f"{tmp_path}/parts/*.txt", {}),
        ("ingested", {}),
    ]
    for number, (source, options) in enumerate(sources):
        batch = run(place, [source], f"out-{number}", **options)
        assert batch.frame()["text"].to_list() == [row["text"] for row in rows], source
    assert batch.manifest.parents == (batch.manifest.sources[0].sha256,)


@pytest.mark.parametrize(
    ("source", "code", "said"),
    [
        ("gone.jsonl", Code.SOURCE, "no file here and no batch"),
        ("gone-*.jsonl", Code.SOURCE, "no file matches"),
        ("{}", Code.SOURCE, "no dataset that `save_to_disk` wrote"),
        ("{}/splits", Code.SOURCE, "has several splits"),
        ("{}/a.bin", Code.FORMAT, "the name tells no format"),
        ("{}/empty.jsonl", Code.SOURCE, "is empty"),
    ],
)
def test_what_is_no_source_is_refused(place: Workspace, tmp_path: Path, source: str, code: Code, said: str) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DistillError, match=said) as caught:
        run(place, [source.format(tmp_path)])
    assert caught.value.code is code


# -- the same whatever the order


def alike(seed: int) -> list[str]:
    rng = random.Random(seed)
    originals = [prose(rng.randrange(10**9), rng.randint(55, 120)) for _ in range(20)]
    copies = []
    for text in originals * 2:
        words = text.split()
        for _ in range(rng.randint(0, 4)):
            words[rng.randrange(len(words))] = rng.choice(("lantern", "harbour", "violet", "thunder"))
        copies.append(" ".join(words))
    return originals + copies


def test_neither_the_order_of_rows_nor_the_number_of_files_changes_what_stays(place: Workspace, tmp_path: Path) -> None:
    texts = alike(1)
    kept: list[Counter[str]] = []
    for number, (parts, unit_rows) in enumerate([(1, 2048), (4, 7), (3, 1)]):
        random.Random(number).shuffle(texts)
        names = [
            write_jsonl(tmp_path / f"{number}-{part}.jsonl", [{"text": text} for text in texts[part::parts]])
            for part in range(parts)
        ]
        batch = run(place, names, f"out-{number}", unit_rows=unit_rows)
        kept.append(Counter(batch.frame()["text"].to_list()))
    assert 15 <= len(kept[0]) < len(texts)
    assert kept[0] == kept[1] == kept[2]


def test_size_of_units_and_number_of_workers_change_no_byte_of_a_batch(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(2)])
    one = run(place, [source], unit_rows=10)
    whole = files(one.folder)
    for path in sorted(one.folder.iterdir()):
        path.unlink()
    one.folder.rmdir()
    for path in sorted((place.state / "preprocess" / "out").iterdir()):
        path.unlink()
    run(place, [source], unit_rows=7, engine=Processes(2))
    assert files(place.batches / "out") == whole


# -- frozen


def test_a_changed_value_needs_a_new_pipeline_version(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": prose(1)}])
    run(place, [source], "first", pipeline_version="data_v1")
    run(place, [source], "second", pipeline_version="data_v1")
    with pytest.raises(DistillError, match=r"data_v1 is frozen by .*first .*duplicates.similarity: 0.82 -> 0.9") as caught:
        run(place, [source], "third", pipeline_version="data_v1", duplicates={"similarity": 0.9})
    assert caught.value.code is Code.FREEZE
    assert not (place.batches / "third").exists()
    batch = run(place, [source], "third", pipeline_version="data_v2", duplicates={"similarity": 0.9})
    assert batch.manifest.spec_version == "data_v2"


def test_every_threshold_is_frozen() -> None:
    frozen = settings().thresholds()
    assert set(frozen) >= {
        "length.min_words", "length.max_words", "language.allowed", "language.min_confidence", "duplicates.similarity",
        "duplicates.shingle", "duplicates.permutations", "diagnostics.perplexity.max", "diagnostics.toxicity.promote", "seed",
    }  # fmt: skip
    assert "diagnostics.toxicity.model" not in frozen  # a path; the bytes of the model are frozen instead
    assert config.load(None, languages=("de",)).thresholds() != frozen


# -- going on


class EnoughError(Exception):
    pass


class AfterUnits(Stop):
    """Stops the run after so many looks at it."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def check(self) -> None:
        self.units -= 1
        if self.units < 0:
            raise EnoughError


def half_done(place: Workspace, source: Path, units: int = 3) -> Path:
    with pytest.raises(EnoughError):
        run(place, [source], unit_rows=8, stop=AfterUnits(units))
    return place.state / "preprocess" / "out"


def test_a_run_stopped_anywhere_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    place = make_workspace(tmp_path / "ws")
    run(place, [source], unit_rows=8)
    whole = files(place.root)
    place.root.rename(tmp_path / "whole")
    for units in (0, 1, 5, 9, 11):
        place = make_workspace(tmp_path / "ws")
        half_done(place, source, units)
        assert not list(place.batches.glob("*"))
        run(place, [source], unit_rows=8, resume=True)
        assert files(place.root) == whole
        place.root.rename(tmp_path / f"stopped-{units}")


def test_an_unfinished_run_is_neither_taken_up_nor_overwritten_unasked(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    folder = half_done(place, source)
    before = files(folder)
    with pytest.raises(DistillError, match=r"was begun and is not finished\. Go on with it: --resume") as caught:
        run(place, [source], unit_rows=8)
    assert caught.value.code is Code.RUN_EXISTS
    assert files(folder) == before


def test_resuming_what_is_done_gives_the_batch_that_is_there(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": prose(1)}])
    first = run(place, [source])
    assert run(place, [source], resume=True).sha256 == first.sha256
    with pytest.raises(DistillError) as caught:
        run(place, [source])
    assert caught.value.code is Code.BATCH_EXISTS
    assert len([e for e in ledger.entries(place.ledger) if e.batch == "out"]) == 1


def test_a_batch_of_other_rows_is_not_taken_for_the_one_that_a_killed_run_had_made(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "rows.jsonl", [{"text": prose(n)} for n in range(30)])
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": prose(n)} for n in range(60, 90)])
    half_done(place, source)
    elsewhere = run(make_workspace(tmp_path / "elsewhere"), [other], unit_rows=8)
    shutil.copytree(elsewhere.folder, place.batch_folder("out"))
    with pytest.raises(DistillError, match="another batch out") as caught:
        run(place, [source], unit_rows=8, resume=True)
    assert caught.value.code is Code.BATCH_EXISTS
    assert not ledger.verify(place.ledger).seq


def edit(path: Path, line: int, text: str) -> None:
    lines = path.read_text().splitlines()
    lines[line] = text
    path.write_text("\n".join(lines) + "\n")


def test_a_changed_last_record_is_not_gone_on_from(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    half_done(place, source)
    state = ResumeState.load(place.state / "preprocess" / "out" / "state_stage_1.json")
    edit(source, state.cursor.local_doc_count - 1, '{"text": "another"}')
    with pytest.raises(DistillError, match="is not the one that was read last") as caught:
        run(place, [source], unit_rows=8, resume=True)
    assert caught.value.code is Code.RESUME


@pytest.mark.parametrize("lines", [slice(0, 5), slice(0, 0)])
def test_a_source_that_changed_before_the_cursor_is_not_gone_on_from(place: Workspace, tmp_path: Path, lines: slice) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    half_done(place, source)
    if lines.stop:
        source.write_text("".join(source.read_text().splitlines(keepends=True)[lines]))
    else:
        edit(source, 0, '{"text": "another"}')
    with pytest.raises(DistillError) as caught:
        run(place, [source], unit_rows=8, resume=True)
    assert caught.value.code is Code.RESUME


def test_other_settings_or_sources_are_not_gone_on_with(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    other = write_jsonl(tmp_path / "other.jsonl", [{"text": prose(5)}])
    half_done(place, source)
    for code, given, values in [
        (Code.FREEZE, [source], {"unit_rows": 8, "seed": 1}),
        (Code.FREEZE, [source], {"unit_rows": 8, "pipeline_version": "other"}),
        (Code.RESUME, [source], {"unit_rows": 9}),
        (Code.RESUME, [source, other], {"unit_rows": 8}),
    ]:
        with pytest.raises(DistillError) as caught:
            run(place, given, resume=True, **values)
        assert caught.value.code is code


def test_a_unit_with_other_bytes_is_refused(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    folder = half_done(place, source)
    unit = sorted(folder.glob("unit_*"))[0]
    data = bytearray(unit.read_bytes())
    data[100] ^= 1
    for spoil in (lambda: unit.write_bytes(data), unit.unlink):
        spoil()
        with pytest.raises(DistillError) as caught:
            run(place, [source], unit_rows=8, resume=True)
        assert caught.value.code is Code.SHARD_CHECKSUM


def test_a_missing_index_is_refused(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    (half_done(place, source) / "index_stage_1.jsonl").unlink()
    with pytest.raises(DistillError) as caught:
        run(place, [source], unit_rows=8, resume=True)
    assert caught.value.code is Code.INDEX_MISSING


def test_a_torn_tail_is_cut_off_and_not_appended_to(tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    place = make_workspace(tmp_path / "ws")
    run(place, [source], unit_rows=8)
    whole = files(place.root)
    place.root.rename(tmp_path / "whole")
    place = make_workspace(tmp_path / "ws")
    folder = half_done(place, source)
    with (folder / "index_stage_1.jsonl").open("ab") as index:
        index.write(b'{"entry": "unit", "path": "unit_1_00')
    (folder / "unit_1_0000009.parquet").write_bytes(b"half a un")
    (folder / ".state_stage_1.json.abc.tmp").write_bytes(b"{")
    run(place, [source], unit_rows=8, resume=True)
    assert files(place.root) == whole


def test_an_index_that_the_state_does_not_know_is_refused(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    index = half_done(place, source) / "index_stage_1.jsonl"
    index.write_bytes(index.read_bytes().replace(b'"docs": 8', b'"docs": 7'))
    with pytest.raises(DistillError, match="is not the list that") as caught:
        run(place, [source], unit_rows=8, resume=True)
    assert caught.value.code is Code.RESUME


def test_the_state_says_what_the_contract_names(place: Workspace, tmp_path: Path) -> None:
    source = write_jsonl(tmp_path / "in.jsonl", [{"text": text} for text in alike(3)])
    folder = half_done(place, source)
    value = json.loads((folder / "state_stage_1.json").read_text())
    assert set(value) == {
        "stage", "started_at", "completed_at", "status", "rng_state", "cursor", "manifest_digest", "schema_version",
        "pipeline_version", "git_sha", "last_record_digest",
    }  # fmt: skip
    assert set(value["cursor"]) == {"source", "shard_dir", "local_doc_count"}
    assert set(value["rng_state"]) == {"python", "numpy"}
    assert value["status"] == "running"
    assert value["manifest_digest"] != NOTHING
    units = [json.loads(line) for line in (folder / "index_stage_1.jsonl").read_text().splitlines()]
    assert value["cursor"]["local_doc_count"] == sum(unit["docs"] for unit in units if unit["entry"] == "unit")
    assert value["last_record_digest"] == StoredUnit.model_validate(units[-1]).last_record_digest


def test_gates_judge_the_text_of_a_text_row_and_not_a_response_that_it_carries_along() -> None:
    import polars as pl

    from pytest_distill.gates.measures.text import answer_text
    from pytest_distill.measuring.measure import declaration

    text, response = pl.Series(["the whole document"]), pl.Series(["its end"])
    function = declaration(answer_text).function
    assert function(kind="text", text=text, response=response).to_list() == ["the whole document"]
    assert function(kind="sft", text=text, response=response).to_list() == ["its end"]
