"""The newcomer's hour: from nothing to a sealed export of one's own messy rows, in eight commands, each told by the one before.

Nothing here is taken from the documentation: every command after the first is read off the output of the last one, with the
names of files and batches filled in. `make wheel-test` runs this file from the built wheel too, away from the sources.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
MESSY = [
    {"prompt": "What is the boiling point of water at sea level?", "completion": "100 °C"},
    {"prompt": "Name the author of Dracula.", "completion": "Bram Stoker"},
    {"prompt": "Name the author of Dracula.", "completion": "Bram Stoker"},
    {"prompt": "Write a haiku about rain.", "completion": ""},
    '{"prompt": "Where does the Rhine begin?", "completion": "In the Alps}',
    {"prompt": "What is 12 times 12?", "completion": None},
    {"prompt": "Who helps?", "completion": "Write to maria.huber@northwind-mail.com."},
    {"prompt": "List three primes.", "completion": "2, 3 and 5.###END###\nInstruction: List three"},
    "",
    {"prompt": "Translate 'good morning' to French.", "completion": "Bonjour"},
]
MENDED = {
    4: {"prompt": "Write a haiku about rain.", "completion": "Rain on the tin roof / the cat counts every drop / and sleeps."},
    5: {"prompt": "Where does the Rhine begin?", "completion": "In the Alps"},
    6: {"prompt": "What is 12 times 12?", "completion": "144"},
    7: {"prompt": "Who helps?", "completion": "The help desk."},
    8: {"prompt": "List three primes.", "completion": "2, 3 and 5."},
}


class Newcomer:
    """Types commands, reads what they say, and counts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.typed: list[tuple[str, float]] = []

    def types(self, command: str, *, status: int) -> str:
        started = time.perf_counter()
        done = subprocess.run(
            command.split(),
            cwd=self.folder,
            env={"PATH": f"{BIN}:/usr/bin:/bin", "HOME": str(self.folder), "COLUMNS": "120", "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.typed.append((command, time.perf_counter() - started))
        assert done.returncode == status, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    def leaves(self, said: str, batch: str) -> str:
        """Exports what was judged PASSED, as the output names it, and checks what left. What the export said."""
        assert "PASSED, sealed" in said
        exported = self.types(told(said, rf"distill export {batch} --format jsonl --out DIR").replace("DIR", "../out"), status=0)
        assert "verified" in self.types(told(exported, r"distill verify \S+"), status=0)
        return exported


def told(output: str, pattern: str) -> str:
    """The next step as the output names it."""
    found = re.search(pattern, output)
    assert found, f"the output does not name the next step ({pattern}):\n{output}"
    return found[0].rstrip(".")


def write(path: Path, rows: list[object]) -> None:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_the_first_hour(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    me = Newcomer(tmp_path)
    write(tmp_path / "answers.jsonl", list(MESSY))

    said = me.types("distill init corpus", status=0)
    me.folder = tmp_path / "corpus"

    ingest = told(said, r"distill ingest FILE --id ID").replace("FILE", "../answers.jsonl").replace("ID", "first")
    said = me.types(ingest, status=1)
    assert "[E-KIND]" in said

    ingest = told(said, r"distill ingest FILE --id ID --kind sft(?: --map \S+)+")
    assert ingest.endswith("--map instruction=prompt --map response=completion")
    said = me.types(ingest.replace("FILE", "../answers.jsonl").replace("ID", "first"), status=0)
    for place, why in {5: "Unterminated string", 6: "'response' is null"}.items():
        assert f"answers.jsonl:{place}" in said
        assert why in said
    assert "answers.jsonl:9" in said  # the empty line

    said = me.types(told(said, r"pytest --distill-batch=first"), status=1)
    for line in ("answers.jsonl:3  same as answers.jsonl:2", "answers.jsonl:4", "answers.jsonl:7", "answers.jsonl:8"):
        assert line in said
    assert "maria.huber" not in said
    assert "»###END«###" in said
    limits = told(said, r'\[gates\."duplicates\.exact"\]: .*max_rejected_rows')
    assert not re.search(r'\[gates\."text\.delimiter-leak"\].*max_rejected', said)  # it has no allowance to be raised
    assert re.search(r"next: Mend the rows .* or allow .* in distill.toml", said)

    # Five rows are mended at their source, the empty line goes, and the one copy may stay behind.
    rows = [MENDED.get(number, row) for number, row in enumerate(MESSY, 1) if row]
    write(tmp_path / "answers.jsonl", rows)
    with (me.folder / "distill.toml").open("a") as policy:
        policy.write(f"\n{limits.partition(':')[0]}\nmax_rejected_rows = 1\n")

    said = me.types(ingest.replace("FILE", "../answers.jsonl").replace("ID", "second"), status=0)
    me.leaves(me.types(told(said, r"pytest --distill-batch=second"), status=0), "second")

    exported = [json.loads(line) for line in (tmp_path / "out" / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(exported) == 8
    assert len(me.typed) == 8
    seconds = sum(duration for _, duration in me.typed)
    record_property("seconds", round(seconds, 1))
    assert seconds < 300, me.typed


def test_the_first_hour_with_real_rows(tmp_path: Path, record_property: pytest.RecordProperty) -> None:
    """300 rows of another project: copies and broken encodings are seen, looked at, and left behind. Six commands."""
    shared = Path(os.environ.get("DISTILL_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    source = shared / "instruct" / "self_instruct_t0.jsonl.gz"
    if not source.is_file():
        pytest.skip(f"{source} is not there: nobody's first hour was spent on real rows")
    me = Newcomer(tmp_path)
    with gzip.open(source) as lines:
        (tmp_path / "own.jsonl").write_bytes(b"".join(islice(lines, 6, 45_000, 150)))

    said = me.types("distill init corpus", status=0)
    me.folder = tmp_path / "corpus"
    ingest = told(said, r"distill ingest FILE --id ID").replace("FILE", "../own.jsonl").replace("ID", "first")
    said = me.types(ingest, status=0)
    assert "300 rows read = 300 kept" in said
    judge = told(said, r"pytest --distill-batch=first")

    said = me.types(judge, status=1)
    assert "own.jsonl:5  like own.jsonl:1" in said
    assert "»Ã¼«" in said
    no = re.findall(r"(?s)rows rejected is (\d+), allowed is <= 0\n.*?under (\[gates\.\S+\]): .*?max_rejected_rows", said)
    assert {table for _, table in no} == {'[gates."duplicates.near"]', '[gates."text.encoding"]'}
    assert re.search(r"next: Mend the rows .* or allow .* in distill.toml; rejected rows stay behind", said)
    with (me.folder / "distill.toml").open("a") as policy:
        policy.writelines(f"\n{table}\nmax_rejected_rows = {rows}\n" for rows, table in no)

    rows = int(told(me.leaves(me.types(judge, status=0), "first"), r"^\d+(?= rows exported)"))
    with (tmp_path / "out" / "data.jsonl").open() as exported:
        assert sum(1 for _ in exported) == rows < 300
    assert len(me.typed) == 6
    record_property("seconds", round(sum(duration for _, duration in me.typed), 1))
