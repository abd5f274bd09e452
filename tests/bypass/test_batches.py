"""The batch, its policy and its records, changed before, during and after the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tricks import (
    GATES,
    LEAKING,
    SEALED,
    Trick,
    begins,
    cases,
    check,
    code,
    conftest,
    expect_no_seal,
    finish,
    run,
    start,
    write,
)

from pytest_distill import storage
from pytest_distill.batch import digest
from pytest_distill.batch.ingest.ingest import ingest
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.release.export import export


@pytest.fixture
def ws(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "ws"))


def refused(ws: Path, batch: str) -> Code | None:
    """The code with which the batch may not leave; None when it leaves."""
    try:
        export(workspaces.load(ws), batch, ws.parent / "out", "jsonl")
    except DistillError as error:
        return error.code
    return None


def rewrite(batch: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Changes the manifest, and writes new sums as whoever forges it would."""
    manifest = json.loads((batch / "manifest.json").read_text(encoding="utf-8"))
    change(manifest)
    storage.write_json(batch / "manifest.json", manifest)
    digest.write_sums(batch, unhashed=("created.json",))


# -- the batch folder ---------------------------------------------------------------------------------------------------

TRAP = "import pathlib\npathlib.Path(__file__).with_name('trap').touch()\ndef test_trap(): pass\n"


@pytest.mark.parametrize("name", ["conftest.py", "test_trap.py"])
@pytest.mark.parametrize("listed", [False, True])
def test_code_in_a_batch_never_runs(ws: Path, name: str, listed: bool) -> None:
    folder = ws / "batches" / LEAKING
    write(folder, {name: TRAP})
    if listed:
        digest.write_sums(folder, unhashed=("created.json",))
    ended = [run(ws, LEAKING), run(ws, LEAKING, f"batches/{LEAKING}"), run(ws, LEAKING, f"batches/{LEAKING}/{name}")]
    ended.append(run(folder, LEAKING, f"--distill-workspace={ws}"))
    for each in ended:
        expect_no_seal(each, Trick("trap"), why=None)
    assert not (folder / "trap").exists()
    assert "code inside a batch never runs" in ended[-1].output


def test_no_rows(ws: Path) -> None:
    def empty(manifest: dict[str, Any]) -> None:
        manifest["shards"] = []
        manifest["counts"] |= {"read": 0, "kept": 0, "planned": None}
        for source in manifest["sources"]:
            source |= {"rows_read": 0, "rows_kept": 0}

    folder = ws / "batches" / SEALED
    for shard in folder.glob("*.parquet"):
        shard.unlink()
    rewrite(folder, empty)
    expect_no_seal(run(ws, SEALED), Trick("no rows"), why="no row")


@pytest.mark.parametrize("path", ["../elsewhere.parquet", "/etc/hostname", "a/b.parquet", "..", ".hidden.parquet", "x\\u2215y"])
def test_shards_outside_the_batch(ws: Path, path: str) -> None:
    rewrite(ws / "batches" / SEALED, lambda manifest: manifest["shards"][0].update(path=path))
    expect_no_seal(run(ws, SEALED), Trick("shard"), why="[E-MANIFEST]")


def test_a_linked_shard(ws: Path) -> None:
    shard = next((ws / "batches" / SEALED).glob("*.parquet"))
    shutil.move(shard, ws / "elsewhere.parquet")
    shard.symlink_to(ws / "elsewhere.parquet")
    expect_no_seal(run(ws, SEALED), Trick("link"), why="is a symbolic link")


@pytest.mark.parametrize("batch", [f"batches/{LEAKING}", f"../{LEAKING}", f"{SEALED}/../{LEAKING}", "", "."])
def test_ids_that_are_paths(ws: Path, batch: str) -> None:
    ended = run(ws, batch)
    assert ended.code != 0
    assert not ended.seals


@cases(
    Trick(
        "rows-added",
        "files of the batch were written to or replaced",
        begins("import os, glob", "for name in glob.glob('batches/*/*.parquet'):", "    os.utime(name)"),
    ),
    Trick(
        "shard-changed",
        "was changed",
        begins("import glob", "for name in glob.glob('batches/*/*.parquet'):", "    open(name, 'ab').write(b' ')"),
    ),
    Trick(
        "batch-exchanged-and-put-back",
        "files of the batch were written to or replaced",
        conftest("""
            import os, pytest
            A, B = "batches/sealed", "batches/leaking"
            def swap():
                for name in os.listdir(A):
                    if name.endswith(".parquet"):
                        os.rename(f"{A}/{name}", "keep")
                        os.rename(f"{B}/{name}", f"{A}/{name}")
                        os.rename("keep", f"{B}/{name}")
            def pytest_collection_finish():
                swap()
            @pytest.fixture(autouse=True, scope="session")
            def exchanged():
                yield
                swap()
        """),
    ),
    Trick("policy-changed", "the policy changed while", begins("open('distill.toml', 'a').write('# x')")),
    Trick("gates-changed", "the gates changed while", begins("open('gates/helper.py', 'w').write('x = 1')")),
)
def test_changed_during_the_run(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


LATE = code("""
    import atexit, glob, json
    def late():
        for name in glob.glob(".distill/runs/*/*/evidence.json"):
            record = json.load(open(name))
            record["verdict"], record["findings"] = "PASSED", []
            for gate in record["gates"]:
                gate["status"] = "passed"
            json.dump(record, open(name, "w"), indent=2, sort_keys=True)
    atexit.register(late)
""")


def test_evidence_rewritten_at_exit(ws: Path) -> None:
    """Evidence that says PASSED and is not what the verdict rests on: export has the last word."""
    write(ws, {"conftest.py": LATE})
    ended = run(ws, LEAKING)
    assert ended.code != 0
    assert ended.record is not None
    assert ended.record.verdict == "PASSED"
    assert not ended.seals
    assert refused(ws, LEAKING) == Code.SEAL_INVALID


# -- after the run ------------------------------------------------------------------------------------------------------


@pytest.fixture
def sealed(ws: Path) -> Path:
    ended = run(ws, SEALED)
    assert len(ended.seals) == 1, ended.output
    assert run(ws, LEAKING).code == 1
    return ws


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_what_is_edited_afterwards_does_not_leave(sealed: Path) -> None:
    """One workspace, each edit undone before the next: every file that a seal rests on."""
    folder, batch = sealed / ".distill/runs" / SEALED / "000001", sealed / "batches" / SEALED
    shard = next(p.name for p in batch.glob("*.parquet"))

    def forge_batch() -> None:
        with (batch / shard).open("ab") as file:
            file.write(b" ")
        rewrite(batch, lambda m: [s.update(sha256=storage.sha256_file(batch / s["path"])) for s in m["shards"]])

    edits: dict[str, tuple[Callable[[], Any], set[Code]]] = {
        "policy": (lambda: write(sealed, {"distill.toml": "# edited\n"}), {Code.SEAL_STALE}),
        "gate": (lambda: edit(sealed / "gates/test_own.py", "at_least=3", "at_least=2"), {Code.SEAL_STALE}),
        "new gate": (lambda: write(sealed, {"gates/test_new.py": GATES.replace("own.", "new.")}), {Code.SEAL_STALE}),
        "conftest": (lambda: write(sealed, {"conftest.py": "x = 1\n"}), {Code.SEAL_STALE}),
        "helper": (lambda: write(sealed, {"lib/helper.py": "x = 1\n"}), {Code.SEAL_STALE}),
        "evidence": (lambda: edit(folder / "evidence.json", '"value": 215', '"value": 216'), {Code.SEAL_INVALID, Code.UNSEALED}),
        "verdict": (lambda: edit(folder / "verdict.json", "PASSED", "passed"), {Code.SEAL_INVALID, Code.MANIFEST}),
        "seal": (lambda: edit(folder / "seal.json", SEALED, LEAKING), {Code.SEAL_INVALID}),
        "no seal": (lambda: (folder / "seal.json").unlink(), {Code.SEAL_INVALID}),
        "ledger": (lambda: edit(sealed / ".distill/ledger.jsonl", "PASSED", "FAILED"), {Code.LEDGER}),
        "no ledger": (lambda: (sealed / ".distill/ledger.jsonl").unlink(), {Code.SEAL_INVALID, Code.LEDGER}),
        "shard": (lambda: (batch / shard).write_bytes(b""), {Code.BATCH_CORRUPT}),
        "forged batch": (forge_batch, {Code.SEAL_INVALID, Code.BATCH_CORRUPT}),
    }
    for name, (change, codes) in edits.items():
        keep = sealed.parent / "keep"
        shutil.copytree(sealed, keep)
        change()
        assert refused(sealed, SEALED) in codes, name
        shutil.rmtree(sealed)
        keep.rename(sealed)
    assert refused(sealed, SEALED) is None


@pytest.mark.parametrize("folder", ["exports", "batches", "linked"])
def test_gates_count_whatever_their_folder_is_called(ws: Path, folder: str) -> None:
    """Such folders of a workspace hold no gates. Below gates/ they do, and what was judged there is edited afterwards."""
    gates = ws / "gates" / folder
    if folder == "linked":
        gates = ws.parent / "elsewhere"
        (ws / "gates").rename(gates)
        (ws / "gates").symlink_to(gates)
    else:
        gates.mkdir()
        (ws / "gates/test_own.py").rename(gates / "test_own.py")
    ended = run(ws, SEALED)
    assert ended.seals, ended.output
    edit(gates / "test_own.py", "at_least=3", "at_least=2")
    assert refused(ws, SEALED) == Code.SEAL_STALE


def test_a_seal_of_another_batch(sealed: Path) -> None:
    runs = sealed / ".distill" / "runs"
    shutil.copy(runs / SEALED / "000001" / "seal.json", runs / LEAKING / "000001")
    assert refused(sealed, LEAKING) == Code.UNSEALED
    shutil.copytree(runs / SEALED / "000001", runs / LEAKING / "000002")
    assert refused(sealed, LEAKING) in (Code.SEAL_INVALID, Code.UNSEALED)
    shutil.copytree(runs / SEALED / "000001", runs / LEAKING / "\u0669\u0669\u0669\u0669\u0669\u0669")  # digits, but not ours
    assert refused(sealed, LEAKING) in (Code.SEAL_INVALID, Code.UNSEALED, Code.INCIDENT)


def test_the_newest_run_counts(sealed: Path) -> None:
    assert run(sealed, SEALED, "-k", "not leak").code != 0
    assert refused(sealed, SEALED) == Code.UNSEALED
    shutil.rmtree(sealed / ".distill/runs" / SEALED / "000002")
    assert refused(sealed, SEALED) == Code.SEAL_INVALID, "the ledger knows the later verdict"


def test_two_runs_at_once(ws: Path) -> None:
    ways = (["-k", "not leak"], [])
    processes = [start(ws, SEALED, Trick("race"), args) for args in ways]
    ended = [finish(process, ws, SEALED) for process in processes]
    assert sorted(e.code != 0 for e in ended) == [False, True]
    newest = ended[0].record
    assert newest is not None
    assert len(ended[0].folders) == 2
    assert (refused(ws, SEALED) is None) <= (newest.verdict == "PASSED")


# -- policy -------------------------------------------------------------------------------------------------------------

WAIVER = '[[waivers]]\ngate = "{}"\nreason = "r"\nwho = "w"\nexpires = {}\n'


@cases(
    Trick("share-nan", "[E-POLICY]", {"distill.toml": '[gates."own.leak"]\nmax_rejected_share = nan\n'}),
    Trick("share-inf", "[E-POLICY]", {"distill.toml": '[gates."own.leak"]\nmax_rejected_share = inf\n'}),
    Trick("share-2", "[E-POLICY]", {"distill.toml": '[gates."own.leak"]\nmax_rejected_share = 2\n'}),
    Trick("rows-true", "[E-POLICY]", {"distill.toml": '[gates."own.leak"]\nmax_rejected_rows = true\n'}),
    Trick("limit-of-batch-gate", "[E-POLICY]", {"distill.toml": '[gates."own.size"]\nmax_rejected_rows = 5\n'}),
    Trick("fixed-gate", "[E-POLICY]", {"distill.toml": '[gates."text.delimiter-leak"]\nseverity = "warn"\n'}),
    Trick("fixed-gate-waived", "[E-POLICY]", {"distill.toml": WAIVER.format("text.delimiter-leak", "2999-01-01")}),
    Trick(
        "every-row-rejected",
        "rows remaining is 0",
        {
            "distill.toml": '[gates."own.leak"]\nmax_rejected_share = 1.0\n',
            "gates/test_own.py": GATES.split('@gate("own.size")')[0].replace('"Quidditch", literal=True', '""'),
        },
    ),
    Trick(
        "every-row-rejected-and-the-rest-waived",
        "is no number: cannot tell",
        {
            "distill.toml": '[gates."own.leak"]\nmax_rejected_share = 1.0\n'
            + "".join(WAIVER.format(g, "2999-01-01") for g in ("counts.rows", "language.decided", "length.median-answer")),
            "gates/test_own.py": GATES.split('@gate("own.size")')[0].replace('"Quidditch", literal=True', '""'),
        },
    ),
    Trick("unknown-gate", "[E-POLICY]", {"distill.toml": '[gates."own.lead"]\nmax_rejected_rows = 1\n'}),
    Trick("unknown-waiver", "[E-POLICY]", {"distill.toml": WAIVER.format("own.lead", "2999-01-01")}),
    Trick("waiver-over", "expired on 2020-01-01", {"distill.toml": WAIVER.format("own.leak", "2020-01-01")}),
    Trick("required-and-absent", "nobody declares it", {"distill.toml": '[required]\ngates = ["no.such"]\n'}),
    Trick(
        "gates-folder-gone",
        "nobody declares it",
        {"distill.toml": '[required]\ngates = ["own.leak"]\n', "gates/test_own.py": "\n"},
    ),
)
def test_policies_that_give_way(template: Path, tmp_path: Path, trick: Trick) -> None:
    check(template, tmp_path, trick)


# -- the cache ----------------------------------------------------------------------------------------------------------

BLIND = """
import polars as pl
from pytest_distill.gates.measures import leakage
from pytest_distill.measuring.measure import declaration
declaration(leakage.delimiter_leak).function.__code__ = (
    lambda answer_text=None, **k: pl.Series([None] * len(answer_text), dtype=pl.String)).__code__
"""


def test_a_tainted_run_leaves_nothing_in_the_cache(ws: Path) -> None:
    source = ws.parent / "marked.jsonl"
    source.write_text('{"id": "1", "instruction": "Say yes.", "response": "Yes.\\n###"}\n', encoding="utf-8")
    ingest([source], workspaces.load(ws), "marked")
    write(ws, {"conftest.py": BLIND})
    expect_no_seal(run(ws, "marked"), Trick("blind"), why="delimiter_leak was replaced")
    (ws / "conftest.py").unlink()
    expect_no_seal(run(ws, "marked"), Trick("clean"), why="text.delimiter-leak")
    record = run(ws, "marked").record
    assert record is not None
    assert {g.id: g.status for g in record.gates}["text.delimiter-leak"] == "failed"


def test_entries_of_the_cache_are_not_believed(ws: Path) -> None:
    """Every entry overwritten by another one that is genuine, under another name."""
    entries = sorted((ws / ".distill" / "cache").rglob("*.arrow"))
    contents = [entry.read_bytes() for entry in entries]
    for entry, other in zip(entries, [*contents[1:], contents[0]], strict=True):
        entry.write_bytes(other)
    ended = run(ws, SEALED)
    assert len(ended.seals) == 1, ended.output
    expect_no_seal(run(ws, LEAKING), Trick("cache"), why="rows rejected is 1")
