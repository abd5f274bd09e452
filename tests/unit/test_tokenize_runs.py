"""Runs of tokenising: where documents come from, runs that are stopped or killed and go on, the command."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest
from token_sets import SHARD_TOKENS, TEXTS, a_family, bytes_of, make_set, read_by_the_contract, write_rows
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from pytest_distill import clock
from pytest_distill.cli.main import main
from pytest_distill.engine.local import Threads
from pytest_distill.errors import DistillError
from pytest_distill.measuring.separable import PATTERNS
from pytest_distill.pipelines.tokenize.blocks import encoded
from pytest_distill.pipelines.tokenize.sources import Files
from pytest_distill.pipelines.tokenize.tokenizer import load
from pytest_distill.stages.stopping import Stop

END = "<|endoftext|>"

pytestmark = pytest.mark.usefixtures("pinned")


# -- sources -------------------------------------------------------------------------------------------------------------------


def test_all_kinds_of_files_give_the_same_documents(tmp_path):
    rows = [{"text": text} for text in TEXTS if "\n" not in text]
    texts = [row["text"] for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "a.json").write_text(json.dumps(rows))
    (tmp_path / "a.txt").write_text("\n".join(texts))
    pl.DataFrame(rows).write_parquet(tmp_path / "a.parquet")
    pl.DataFrame(rows).write_csv(tmp_path / "a.csv")
    import zstandard

    (tmp_path / "a.txt.zst").write_bytes(zstandard.compress(("\r\n".join(texts) + "\r\n").encode()))
    for path in sorted(tmp_path.glob("a.*")):
        assert [document.text for document in Files([path], "text").documents()] == texts, path.name


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.jsonl", b'{"text":"x"}\n{"a":1,"a":2}\n', r"a.jsonl, line 2: duplicate_key"),
        ("a.jsonl", b'{"text":"x"}\n{"txt":"x"}\n', r"line 2: has no 'text' \(it has 'txt'\)"),
        ("a.jsonl", b'{"text":7}\n', "line 1: 'text' is no text"),
        ("a.txt", b"good\nb\xff\n", "line 2: invalid_utf8"),
        ("a.txt", b"\xef\xbb\xbfx\n", "line 1: byte_order_mark"),
        ("a.pickle", b"x", "the name tells no format"),
    ],
)
def test_a_record_without_a_text_stops_the_run(tmp_path, name, data, said):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DistillError, match=rf"E-SOURCE-FORMAT\].*{said}"):
        make_set(tmp_path / "set", source=tmp_path / name)


def test_files_that_are_not_there_or_twice(tmp_path):
    with pytest.raises(DistillError, match="E-SOURCE-NOTFOUND"):
        Files([tmp_path / "gone.jsonl"], "text")
    path = write_rows(tmp_path / "a.jsonl")
    with pytest.raises(DistillError, match="given twice"):
        Files([path, path], "text")


def test_a_file_that_changes_while_it_is_read(tmp_path):
    files = Files([write_rows(tmp_path / "a.jsonl")], "text")
    write_rows(tmp_path / "a.jsonl", [*TEXTS[:-1], "another"])
    with pytest.raises(DistillError, match="changed while it was read"):
        list(files.documents())


# -- stopping and going on -----------------------------------------------------------------------------------------------------


class StopAfter(Stop):
    """Told to stop once so many shards stand."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.left = shards

    def check(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.signal = signal.SIGTERM
        super().check()


def stopped(out: Path, shards: int, **values) -> None:
    with pytest.raises(SystemExit, match="143"):
        make_set(out, stop=StopAfter(shards), **values)


@pytest.mark.parametrize("shards", [1, 2, 3])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, shards):
    whole = make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    assert whole.num_shards > 3
    stopped(tmp_path / "set", shards, source=tmp_path / "rows.jsonl")
    assert not (tmp_path / "set" / "manifest.json").exists()
    state = json.loads((tmp_path / "set" / "state_stage_2.json").read_text())
    assert (state["status"], state["stage"]) == ("running", "tokenize")
    assert state["cursor"]["source"] == "rows.jsonl"
    clock.pin("2026-02-01T00:00:00Z")  # the time of a set is that of its beginning
    make_set(tmp_path / "set", source=tmp_path / "rows.jsonl", resume=True, workers=2)
    found, expected = bytes_of(tmp_path / "set"), bytes_of(tmp_path / "whole")
    for name in ("state_stage_2.json", "SHA256SUMS"):  # which hold when it was completed
        assert found.pop(name) != expected.pop(name)
    assert found == expected


def test_resuming_a_finished_set_or_nothing_at_all(tmp_path):
    first = make_set(tmp_path / "set", resume=True)
    before = bytes_of(tmp_path / "set")
    assert make_set(tmp_path / "set", source=tmp_path / "set.jsonl", resume=True) == first
    assert bytes_of(tmp_path / "set") == before
    with pytest.raises(DistillError, match="E-SHARD-FILES"):
        make_set(tmp_path / "set", source=tmp_path / "set.jsonl")
    with pytest.raises(DistillError, match="E-FREEZE"):
        make_set(tmp_path / "set", source=tmp_path / "set.jsonl", shard_tokens=7, resume=True)


def test_another_tokenizer_than_that_of_the_manifest_is_drift(tmp_path):
    make_set(tmp_path / "set")
    other = load(str(a_family(tmp_path, sorted(PATTERNS)[1])))
    for resume in (True, False):
        with pytest.raises(DistillError, match=r"E-TOKENIZER-DRIFT\].*tokenizer_hash"):
            make_set(tmp_path / "set", source=tmp_path / "set.jsonl", tokenizer=other, resume=resume)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"shard_tokens": SHARD_TOKENS + 1}, "E-FREEZE.*shard_tokens: 300, now 301"),
        ({"dtype": "uint16"}, "E-FREEZE.*dtype: uint32, now uint16"),
        ({"version": "v2"}, "E-FREEZE.*version: v1, now v2"),
        ({"pipeline_version": "data_v2"}, "E-FREEZE.*pipeline_version: data_v1, now data_v2"),
        ({"source": "other.jsonl"}, "E-RESUME-CURSOR-MISMATCH.*other.jsonl is not what it was"),
    ],
)
def test_a_run_goes_on_only_as_it_began(tmp_path, values, code):
    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    values = {"source": source, **values}
    if values["source"] == "other.jsonl":
        values["source"] = write_rows(tmp_path / "other.jsonl", TEXTS[1:])
    with pytest.raises(DistillError, match=code):
        make_set(tmp_path / "set", resume=True, **values)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda out: damage(out / "set-v1-shard-000000.npy"), "E-SHARD-CHECKSUM"),
        (lambda out: (out / "set-v1-shard-000001.npy").unlink(), "E-SHARD-FILES"),
        (lambda out: (out / "set-v1-shard-000001.idx").unlink(), "E-INDEX-MISSING"),
        (lambda out: damage(out / "set-v1-shard-000001.idx"), "E-INDEX"),
        (lambda out: (out / "units.jsonl").unlink(), "E-INDEX-MISSING"),
        (lambda out: damage(out / "units.jsonl"), "E-RESUME-CURSOR-MISMATCH|E-MANIFEST"),
        (lambda out: damage(out / "run.json"), "E-MANIFEST|E-FREEZE|E-RESUME|E-TOKENIZER-DRIFT"),
        (lambda out: (out / "run.json").unlink(), "E-SHARD-FILES"),
    ],
)
def test_a_run_does_not_go_on_over_damage(tmp_path, change, code):
    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    change(tmp_path / "set")
    with pytest.raises(DistillError, match=code):
        make_set(tmp_path / "set", source=source, resume=True)


def test_records_that_are_passed_over_have_to_be_those_that_were_read(tmp_path):
    from pytest_distill.contracts.tokens import TokenizeRun
    from pytest_distill.pipelines.tokenize.resume import pass_over, vouched

    source = write_rows(tmp_path / "rows.jsonl")
    stopped(tmp_path / "set", 2, source=source)
    units = vouched(tmp_path / "set", TokenizeRun.load(tmp_path / "set" / "run.json"))
    behind = units[-1].read
    assert next(pass_over(Files([source], "text").documents(), units)).text == TEXTS[behind]
    for wrong in (behind - 1, 0):
        texts = list(TEXTS)
        texts[wrong] += "."
        other = Files([write_rows(tmp_path / "other.jsonl", texts)], "text")
        with pytest.raises(DistillError, match="E-RESUME-CURSOR-MISMATCH"):
            next(pass_over(other.documents(), units))
    short = Files([write_rows(tmp_path / "short.jsonl", TEXTS[: behind - 1])], "text")
    with pytest.raises(DistillError, match="the sources end after"):
        next(pass_over(short.documents(), units))


def test_what_a_killed_run_left_half_written_is_made_again(tmp_path):
    make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    stopped(tmp_path / "set", 2, source=tmp_path / "rows.jsonl")
    out = tmp_path / "set"
    (out / ".set-v1-shard-000002.npy.abc.tmp").write_bytes(b"torn")
    (out / "set-v1-shard-000002.npy").write_bytes(b"appeared, and nothing vouches for it")
    with (out / "units.jsonl").open("ab") as units:
        units.write(b'{"torn')
    make_set(out, source=tmp_path / "rows.jsonl", resume=True)
    assert bytes_of(out) == bytes_of(tmp_path / "whole")


KILLED = """
import os, sys
from pathlib import Path
from pytest_distill import clock, storage
clock.pin("2026-01-31T12:00:00Z")
left = int(sys.argv[3])
def counted(function):
    def call(*args, **kwargs):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), 9)
        return function(*args, **kwargs)
    return call
os.fsync = counted(lambda fd: None)
os.write = counted(os.write)
Path.replace = counted(Path.replace)
Path.unlink = counted(Path.unlink)
sys.path.insert(0, sys.argv[4])
from token_sets import make_set
for n in range(int(sys.argv[5])):
    make_set(Path(sys.argv[1]), source=Path(sys.argv[2]), resume=True)
"""


def test_kill_9_at_write_boundaries_changes_no_byte(tmp_path):
    """A few of the boundaries; with DISTILL_KILL_STEP=1 every one of them."""
    make_set(tmp_path / "whole", source=write_rows(tmp_path / "rows.jsonl"))
    expected = bytes_of(tmp_path / "whole")
    step = int(os.environ.get("DISTILL_KILL_STEP", "17"))
    at, killed = 3, 0
    while True:
        out = tmp_path / f"set{at}"
        command = [sys.executable, "-c", KILLED, str(out), str(tmp_path / "rows.jsonl"), str(at), str(Path(__file__).parent), "1"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        killed += 1
        make_set(out, source=tmp_path / "rows.jsonl", resume=True)
        assert bytes_of(out) == expected, at
        at += step
    assert killed >= 2


# -- the command ---------------------------------------------------------------------------------------------------------------


def command(place: Path, *arguments: str) -> list[str]:
    return ["tokenize", str(place / "rows.jsonl"), "--dataset", "set", "--version", "v1", "--out", str(place / "out"), *arguments]


def test_the_command_shows_what_was_derived(tmp_path, capsys):
    write_rows(tmp_path / "rows.jsonl", [*TEXTS, ""])
    assert main(command(tmp_path, "--shard-tokens", "300", "--workers", "2", "--json")) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert (found["vocab_size"], found["eos_token_id"], found["total_documents"]) == (8193, 8192, 60)
    assert "vocabulary 8,193, documents end with <|endoftext|> = 8192" in err
    assert "61 documents read: 60 tokenized, 1 dropped (blank)" in err
    assert "docs/s" in err


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--dataset", "../x"], "E-USAGE"),
        (["--text-field", "nope"], "E-SOURCE-FORMAT"),
        (["--tokenizer", "no-such-model"], "E-TOKENIZER"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_no_manifest(tmp_path, capsys, arguments, code):
    write_rows(tmp_path / "rows.jsonl")
    assert main([*command(tmp_path), *arguments]) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ERROR")]
    assert len(errors) == 1
    assert errors[0].startswith(f"ERROR [{code}]: ")
    assert not (tmp_path / "out" / "manifest.json").exists()


TOLD = """
import os, signal, sys
from pytest_distill import storage
from pytest_distill.cli.main import main
append = storage.append_line
def told(path, line):
    os.kill(os.getpid(), signal.SIGTERM)
    append(path, line)
os.fsync = lambda fd: None
storage.append_line = told
sys.exit(main(sys.argv[1:]))
"""


def test_sigterm_finishes_the_shard_and_exits_with_143(tmp_path):
    """The signal comes when the first shard's files are there and its line is not."""
    write_rows(tmp_path / "rows.jsonl")
    arguments = [*command(tmp_path, "--shard-tokens", "200", "--now", "2026-01-31T12:00:00Z"), "-q"]
    done = subprocess.run([sys.executable, "-c", TOLD, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (143, "")
    assert len((tmp_path / "out" / "units.jsonl").read_bytes().splitlines()) == 1
    assert main([*arguments, "--resume"]) == 0
    assert main(["shards", "verify", str(tmp_path / "out"), "-q"]) == 0


def test_a_refused_text_frees_the_threads(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"text": "a " * 10}) + "\nbroken\n")
    before = threading.active_count()
    with pytest.raises(DistillError, match="E-SOURCE-FORMAT"):
        list(encoded(Files([path], "text").documents(), load(), Threads(3)))
    assert threading.active_count() == before


def test_a_tokenizer_of_another_kind_goes_text_by_text(tmp_path):
    tokenizer = Tokenizer(models.BPE(vocab={"a": 0, "b": 1, END: 2}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\w"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(tmp_path / "letters.json"))
    found = load(str(tmp_path / "letters.json"), eos=END)
    assert found._pieces is None
    make_set(tmp_path / "set", ["ab", "ba"], tokenizer=found)
    assert read_by_the_contract(tmp_path / "set") == [[0, 1, 2], [1, 0, 2]]
