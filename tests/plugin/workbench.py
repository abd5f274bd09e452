"""A workspace for tests of the plugin: rows that pass the standard suite, gates and a policy, and pytest run over them."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pytest_distill import storage
from pytest_distill.batch import write
from pytest_distill.batch.write import BatchWriter
from pytest_distill.contracts.manifest import How
from pytest_distill.contracts.run import GateRecord, RunRecord, RunTimes
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace
from pytest_distill.suite.declared import suite_folder

# Plugins that take a second to import and have nothing to do here.
UNUSED = ("-p", "no:hypothesispytest", "-p", "no:anyio")
HEAD = "import polars as pl\nimport pytest\nfrom pytest_distill import gate, measure\n"


def curated(count: int) -> list[dict[str, Any]]:
    """Rows that the project ships. They pass the standard suite."""
    file = suite_folder().parent / "fixtures" / "rows" / "curated.jsonl"
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()[:count]]


@dataclass(frozen=True)
class Ended:
    """How one run ended: exit code, what was printed, and the folder it left (None when it was refused before it began)."""

    code: int
    out: str
    err: str
    folder: Path | None

    @property
    def record(self) -> RunRecord:
        assert self.folder is not None, f"{self.out}\n{self.err}"
        return RunRecord.load(self.folder / "evidence.json")

    @property
    def times(self) -> RunTimes:
        assert self.folder is not None, f"{self.out}\n{self.err}"
        return RunTimes.load(self.folder / "run.json")

    @property
    def computed(self) -> set[str]:
        """The measures that were computed in this run; all others came from the cache."""
        return set(self.times.measure_seconds)

    @property
    def sealed(self) -> bool:
        return self.folder is not None and (self.folder / "seal.json").is_file()

    def gate(self, gate_id: str) -> GateRecord:
        return {g.id: g for g in self.record.gates}[gate_id]

    def status(self, gate_id: str) -> str:
        return self.gate(gate_id).status

    def why(self, gate_id: str) -> str:
        return "\n".join(self.gate(gate_id).why)


class Bench:
    """One workspace at `root`, with the batch "demo"."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file("distill.toml", "")

    def file(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text), encoding="utf-8")
        return path

    def gates(self, text: str, name: str = "own") -> None:
        self.file(f"gates/test_{name}.py", HEAD + dedent(text))

    def policy(self, text: str) -> None:
        self.file("distill.toml", text)

    def batch(self, rows: Sequence[Mapping[str, Any]], name: str = "demo", *, shard_rows: int | None = None) -> Path:
        """Writes a batch of sft rows, in shards of `shard_rows`."""
        folder = self.root / "batches" / name
        facts = {
            "id": name,
            "kind": "sft",
            "origin": "ingested",
            "what": "rows of a test",
            "why": "to test",
            "how": How(pipeline="ingest"),
        }
        with pytest.MonkeyPatch.context() as patch:
            if shard_rows:
                patch.setattr(write, "SHARD_ROWS", shard_rows)
            with BatchWriter(folder, **facts) as writer:
                writer.begin_source("rows.jsonl")
                for number, row in enumerate(rows):
                    writer.add(dict(row), line=number + 1, offset=number * 100)
                writer.end_source(sha256=storage.sha256_bytes(b"rows"), size=4)
                writer.finish()
        return folder

    def newest(self, batch: str = "demo") -> Path | None:
        folders = Workspace(self.root, Policy()).run_folders(batch)
        return folders[-1] if folders else None

    def subprocess(self, *args: str, cwd: Path | None = None, batch: str = "demo", env: Mapping[str, str] | None = None) -> Ended:
        """pytest in a process of its own."""
        before = self.newest(batch)
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *UNUSED, f"--distill-batch={batch}", *args],
            cwd=cwd or self.root,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        after = self.newest(batch)
        return Ended(done.returncode, done.stdout, done.stderr, after if after != before else None)

    def judge(self, *args: str, cwd: Path | None = None, batch: str = "demo") -> Ended:
        """pytest in this process, which spares it the imports. (pytester would import compiled modules twice.)"""
        before = self.newest(batch)
        with inside(cwd or self.root) as (out, err):
            code = pytest.main(["-p", "no:cacheprovider", f"--distill-batch={batch}", *args])
        after = self.newest(batch)
        return Ended(int(code), out.getvalue(), err.getvalue(), after if after != before else None)


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[tuple[io.StringIO, io.StringIO]]:
    """In `folder`, with what is printed caught; afterwards forgets every module that lies there."""
    out, err = io.StringIO(), io.StringIO()
    path, finders, here = list(sys.path), list(sys.meta_path), Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            yield out, err
    finally:
        os.chdir(here)
        sys.path[:], sys.meta_path[:] = path, finders
        for name, module in list(sys.modules.items()):
            if (getattr(module, "__file__", None) or "").startswith(f"{folder.resolve()}/"):
                del sys.modules[name]
        importlib.invalidate_caches()
