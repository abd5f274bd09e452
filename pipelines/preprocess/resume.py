"""Where a run stands on disk, so that it can be killed at any moment and go on as if nothing had happened.

In the run's folder: `run.json`, what has to stay the same; for each stage `state_stage_{N}.json` and its index,
`index_stage_{N}.jsonl`, a line for each unit that is stored; the units. A unit is written first, then its line, then the state:
what the state does not vouch for yet is thrown away and done again, what it does vouch for is never done twice.
"""

from __future__ import annotations

import base64
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

from pytest_distill import clock, storage
from pytest_distill.contracts.preprocess import Cursor, PreprocessRun, ResumeState, RngState, SourceRead, StoredUnit
from pytest_distill.errors import Code, DistillError

RUN = "run.json"
STATE, INDEX = "state_stage_{}.json", "index_stage_{}.jsonl"
NOTHING = "sha256:" + hashlib.sha256(b"").hexdigest()
_AGAIN = "Start over: remove {}, and run it without --resume."

Entry = StoredUnit | SourceRead


class Generators:
    """The run's two generators, one for each library, and their states as the resume state holds them."""

    def __init__(self, seed: int) -> None:
        self.python = random.Random(seed)  # noqa: S311 - samples rows, guards nothing
        self.numpy = np.random.Generator(np.random.PCG64(seed))

    def state(self) -> RngState:
        return RngState(python=_encoded(self.python.getstate()), numpy=_encoded(self.numpy.bit_generator.state))

    def restore(self, state: RngState) -> None:
        """Raises E-RESUME-CURSOR-MISMATCH when these are no states of such generators."""
        try:
            version, numbers, gauss = json.loads(base64.b64decode(state.python))
            self.python.setstate((version, tuple(numbers), gauss))
            self.numpy.bit_generator.state = json.loads(base64.b64decode(state.numpy))
        except (ValueError, TypeError, KeyError) as error:
            message = "the state of the run's random generators does not read"
            raise DistillError(Code.RESUME, message, "Its state file was changed.") from error


def _encoded(state: Any) -> str:
    return base64.b64encode(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).decode()


class Stage:
    """One stage's state and index. `entries` are those that the state vouches for."""

    def __init__(self, folder: Path, number: int, name: str, run: PreprocessRun, git_sha: str | None) -> None:
        self.folder, self.number, self.name = folder, number, name
        self.path, self.index = folder / STATE.format(number), folder / INDEX.format(number)
        self._run, self._git_sha = run, git_sha
        self.entries: list[Entry] = []
        self._digest = hashlib.sha256()
        self.state: ResumeState | None = None

    @property
    def completed(self) -> bool:
        return self.state is not None and self.state.status == "completed"

    def load(self) -> None:
        """Reads what stands, and drops from the index what the state does not vouch for.

        Raises E-INDEX-MISSING, E-SHARD-CHECKSUM for a unit with other bytes, E-RESUME-CURSOR-MISMATCH for a state that does
        not fit its index, E-MANIFEST for one that is malformed.
        """
        if not self.path.exists():
            self._keep(b"")
            return
        self.state = state = ResumeState.load(self.path)
        if state.pipeline_version != self._run.freeze.pipeline_version or state.stage != self.name:
            raise self.mismatch(f"{self.path.name} is of stage {state.stage} of {state.pipeline_version}")
        if not self.index.exists() and state.manifest_digest != NOTHING:
            raise DistillError(Code.INDEX_MISSING, f"{self.index} is missing, and the state vouches for it", self._again())
        data = self.index.read_bytes() if self.index.exists() else b""
        vouched = self._vouched(data, state.manifest_digest)
        for line in vouched.splitlines():
            self.entries.append(_entry(line, self.index.name))
        self._digest = hashlib.sha256(vouched)
        for entry in self.entries:
            if isinstance(entry, StoredUnit):
                self._check(entry)
        self._keep(vouched)

    def begin(self, generators: Generators, where: tuple[str | None, str | None] = (None, None)) -> None:
        if self.state is None:
            self._write(generators.state(), Cursor(source=where[0], shard_dir=where[1], local_doc_count=0), None)

    def add(self, entry: Entry) -> None:
        """Appends a line. It counts from the next `commit` on."""
        line = json.dumps(entry.model_dump(mode="json"), sort_keys=True, ensure_ascii=False).encode()
        storage.append_line(self.index, line)
        self.entries.append(entry)
        self._digest.update(line + b"\n")

    def commit(self, rng: RngState, cursor: Cursor, last: str | None, *, done: bool = False) -> None:
        self._write(rng, cursor, last, done=done)

    def complete(self, rng: RngState) -> None:
        assert self.state is not None
        self._write(rng, self.state.cursor, self.state.last_record_digest, done=True)

    def units(self) -> list[StoredUnit]:
        return [entry for entry in self.entries if isinstance(entry, StoredUnit)]

    def read(self) -> dict[int, SourceRead]:
        """The sources that were read to their end."""
        return {entry.source: entry for entry in self.entries if isinstance(entry, SourceRead)}

    def mismatch(self, what: str) -> DistillError:
        return DistillError(Code.RESUME, f"{what}: the state is stale, or the data changed", self._again())

    def _again(self) -> str:
        return _AGAIN.format(self.folder)

    def _write(self, rng: RngState, cursor: Cursor, last: str | None, *, done: bool = False) -> None:
        self.state = ResumeState(
            stage=self.name,
            started_at=self.state.started_at if self.state else clock.timestamp(),
            completed_at=clock.timestamp() if done else None,
            status="completed" if done else "running",
            rng_state=rng,
            cursor=cursor,
            last_record_digest=last,
            manifest_digest=f"sha256:{self._digest.hexdigest()}",
            pipeline_version=self._run.freeze.pipeline_version,
            git_sha=self._git_sha,
        )
        self.state.write(self.path)

    def _vouched(self, data: bytes, digest: str) -> bytes:
        """The beginning of the index that the state's digest is of; a torn or newer tail lies behind it."""
        running, end = hashlib.sha256(), 0
        while f"sha256:{running.hexdigest()}" != digest:
            found = data.find(b"\n", end)
            if found < 0:
                raise self.mismatch(f"{self.index.name} is not the list that {self.path.name} was written with")
            running.update(data[end : found + 1])
            end = found + 1
        return data[:end]

    def _keep(self, vouched: bytes) -> None:
        """Puts the index back to what counts, and removes the units that nothing vouches for."""
        if self.index.exists() and self.index.read_bytes() != vouched:
            storage.write_bytes(self.index, vouched)
        listed = {unit.path for unit in self.units()}
        for path in self.folder.glob(f"unit_{self.number}_*"):
            if path.name not in listed:
                path.unlink()

    def _check(self, unit: StoredUnit) -> None:
        path = self.folder / unit.path
        if not path.is_file() or storage.sha256_file(path) != unit.sha256:
            what = "was changed" if path.is_file() else "is missing"
            raise DistillError(Code.SHARD_CHECKSUM, f"{path} {what} since it was written", self._again())


def _entry(line: bytes, name: str) -> Entry:
    model = SourceRead if b'"entry": "source"' in line else StoredUnit
    return model.from_bytes(line, name=name)


def unit_name(stage: int, number: int) -> str:
    return f"unit_{stage}_{number:07d}.parquet"


def remove_torn(folder: Path) -> None:
    """Removes files that a killed process was still writing. Only under the run's lock."""
    for path in folder.glob(".*.tmp"):
        path.unlink()
