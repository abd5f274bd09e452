"""A whole run: sources to a batch in four stages, each of which can be killed at any moment and goes on byte for byte.

1 clean        unit by unit, by whatever engine was asked for
2 deduplicate  exact, then near, over all documents
3 perplexity   how surprising each kept document is among the others
4 write        the batch, and the ledger's line about it
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pytest_distill import ledger, storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.manifest import ModelUse
from pytest_distill.contracts.preprocess import Freeze, PreprocessRun, StoredUnit
from pytest_distill.engine.engine import Engine, Job
from pytest_distill.engine.local import Processes
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.kernels import minhash
from pytest_distill.pipelines.preprocess import corpus, freeze, write
from pytest_distill.pipelines.preprocess.clean import Cleaner
from pytest_distill.pipelines.preprocess.config import Config
from pytest_distill.pipelines.preprocess.reading import Piece, Reader
from pytest_distill.pipelines.preprocess.resume import RUN, Generators, Stage, remove_torn, unit_name
from pytest_distill.pipelines.preprocess.sources import Source, resolve
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.progress import Report
from pytest_distill.stages.receipts import git_sha
from pytest_distill.stages.stopping import Stop

STAGES = ("clean", "deduplicate", "perplexity", "write")
RETENTION, THROUGHPUT = "stage/retention/1_prep", "throughput/docs_per_s"


@dataclass
class Told:
    """Where a run tells how it gets on. `tags` are the figures it would log, filled in at the end."""

    report: Report = lambda done, total, words: None  # noqa: ARG005
    tags: dict[str, float] = field(default_factory=dict)


def preprocess(
    arguments: Sequence[str],
    workspace: Workspace,
    batch_id: str,
    config: Config,
    *,
    engine: Engine | None = None,
    resume: bool = False,
    what: str | None = None,
    why: str | None = None,
    command: Sequence[str] = (),
    stop: Stop | None = None,
    told: Told | None = None,
) -> Batch:
    """Runs what is not done yet, and returns the batch.

    The batch's bytes depend on the sources, `config` and the clock alone: not on what `engine` cleans units (None: this process),
    and not on how often the run was stopped or killed on the way. `stop` is asked between units.

    Raises E-SOURCE-NOTFOUND, E-BATCH-EXISTS, E-RUN-EXISTS for a run of that id that was not finished (unless `resume`),
    E-FREEZE, E-RESUME-CURSOR-MISMATCH, E-INDEX-MISSING, E-SHARD-CHECKSUM, E-MANIFEST-COMMIT.
    """
    run = _Run(workspace, batch_id, config, stop or Stop(), told or Told(), engine or Processes())
    with storage.locked(run.folder):
        sources = resolve(arguments, workspace, config)
        begun = run.begin(sources, resume=resume, what=what, why=why, command=command)
        if begun is not None:
            return begun
        return run.stages(sources)


class _Run:
    def __init__(self, workspace: Workspace, batch_id: str, config: Config, stop: Stop, told: Told, engine: Engine) -> None:
        self.workspace, self.id, self.config = workspace, batch_id, config
        self.stop, self.told, self.engine = stop, told, engine
        self.git_sha = git_sha(workspace.root)
        self.batch_folder = workspace.batch_folder(batch_id)
        self.folder = workspace.state / freeze.FOLDER / batch_id
        self.generators = Generators(config.seed)
        self.salt = minhash.salts(config.duplicates.permutations, self.generators.numpy)
        self.models: tuple[ModelUse, ...] = ()
        self.facts: PreprocessRun
        self._corpus: corpus.Corpus | None = None

    def begin(
        self, sources: Sequence[Source], *, resume: bool, what: str | None, why: str | None, command: Sequence[str]
    ) -> Batch | None:
        """Claims the run's folder, or takes up the run that is in it. Returns the batch where that run was finished already."""
        names = [source.name for source in sources]
        self.models = freeze.models(self.config)
        frozen = freeze.of(self.config, self.models)
        existing = self.folder / RUN
        if existing.exists():
            if not resume:
                hint = f"Go on with it: --resume. Or give it up: remove {self.folder}."
                if self.batch_folder.exists():
                    raise _taken(self.id)
                raise DistillError(Code.RUN_EXISTS, f"a run {self.id} was begun and is not finished", hint)
            remove_torn(self.folder)
            self.facts = PreprocessRun.load(existing)
            self._same(frozen, names)
            if self._finished():
                return open_batch(self.batch_folder)
            return None
        if self.batch_folder.exists():
            raise _taken(self.id)
        freeze.check(self.workspace, frozen)
        ledger.verify(self.workspace.ledger)
        self.facts = PreprocessRun(
            id=self.id,
            kind=self.config.kind,
            what=what or f"{self.config.kind} rows of {_few(names)}, preprocessed",
            why=why or "not stated",
            freeze=frozen,
            unit_rows=self.config.unit_rows,
            sources=tuple(names),
            options=self._options(),
            tools=freeze.tools(),
            command=tuple(command),
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_torn(self.folder)
        self.facts.write(existing)
        return None

    def _options(self) -> dict[str, str | tuple[str, ...] | None]:
        mapping = tuple(f"{new}={old}" for new, old in sorted(self.config.mapping.items()))
        return {"text_files": self.config.text_files, "split": self.config.split, "mapping": mapping}

    def _same(self, frozen: Freeze, names: Sequence[str]) -> None:
        """The run goes on with what it was begun with, or not at all."""
        again = f"Use what the run was begun with, or give it up: remove {self.folder}."
        if frozen.sha256 != self.facts.freeze.sha256:
            changed = ", ".join(freeze.differences(self.facts.freeze, frozen))
            raise DistillError(Code.FREEZE, f"the run {self.id} was begun with other values: {changed}", again)
        now = (self.config.kind, self.config.unit_rows, tuple(names), self._options(), freeze.tools())
        before = (self.facts.kind, self.facts.unit_rows, self.facts.sources, self.facts.options, self.facts.tools)
        for what, a, b in zip(("kind", "unit_rows", "sources", "options", "versions"), before, now, strict=True):
            if a != b:
                raise DistillError(Code.RESUME, f"the run {self.id} was begun with other {what}: {a}, now {b}", again)

    def _finished(self) -> bool:
        """Whether the last stage was completed; a run killed while it cleared up is cleared up now."""
        last = self._stage(4)
        if last.path.exists():
            last.load()
        if last.completed:
            self._clear()
        return last.completed

    def _stage(self, number: int) -> Stage:
        return Stage(self.folder, number, STAGES[number - 1], self.facts, self.git_sha)

    def stages(self, sources: Sequence[Source]) -> Batch:
        began = time.monotonic()
        first = self._stage(1)
        first.load()
        before = sum(unit.docs for unit in first.units())
        if first.state is not None:
            self.generators.restore(first.state.rng_state)
        if not first.completed:
            self._clean(first, sources)
        cleaned_for = time.monotonic() - began
        units = first.units()
        docs = sum(unit.docs for unit in units)
        if not docs:
            storage.remove_folder(self.folder)
            raise DistillError(Code.SOURCE, "there is no record in what was read", "Nothing was written.")
        second, third = self._over_all(2, units, self._duplicates), self._over_all(3, units, self._surprises)
        self.stop.check()
        last = self._stage(4)
        last.load()
        last.begin(self.generators)
        decisions = write.Decisions(self.folder, second, third)
        writing = write.Writing(self.folder, units, decisions, self.config, self.facts.sources)
        parents = tuple(source.parent for source in sources if source.parent is not None)
        try:
            batch = write.write_batch(
                self.workspace, self.facts, self.config, writing, first.read(), parents, self.models, self.stop.check
            )
        except DistillError as error:
            if error.code is Code.SOURCE:  # nothing was kept: with these bounds nothing ever will be
                storage.remove_folder(self.folder)
            raise
        write.record(self.workspace, batch)
        last.complete(self.generators.state())
        self._clear()
        self._tell(batch, docs - before, cleaned_for, time.monotonic() - began)
        return batch

    def _clean(self, stage: Stage, sources: Sequence[Source]) -> None:
        stage.begin(self.generators, (sources[0].name, sources[0].folder))
        total = sum(source.size for source in sources)
        consumed = 0

        def progress(count: int) -> None:
            nonlocal consumed
            consumed += count

        reader = Reader(sources, stage, self.generators, self.config, progress)
        done, began = sum(unit.docs for unit in stage.units()), time.monotonic()
        tasks = ((piece, piece.task) for piece in reader.pieces())
        with contextlib.closing(self.engine.map(Job(Cleaner, (self.config, self.salt)), tasks)) as units:
            for piece, data in units:
                self._store(stage, piece, data)
                done += len(piece.task.records)
                rate = consumed / max(time.monotonic() - began, 1e-9) / 1e6
                # Records are counted, bytes tell how far it is: the one is estimated from the other.
                self.told.report(done, max(done, round(done * total / max(consumed, 1))), f"{rate:.1f} MB/s")
                self.stop.check()
        assert stage.state is not None
        stage.complete(self.generators.state())

    def _store(self, stage: Stage, piece: Piece, data: bytes) -> None:
        """First the unit, then its line, then the state that vouches for both."""
        if piece.task.records:
            assert piece.last_record_digest is not None
            name = unit_name(1, len(stage.units()))
            storage.write_bytes(self.folder / name, data)
        for ended in piece.ended:
            stage.add(ended)
        if piece.task.records:
            stage.add(
                StoredUnit(
                    path=name,
                    sha256=storage.sha256_bytes(data),
                    first=piece.first,
                    docs=len(piece.task.records),
                    source=piece.source,
                    source_docs=piece.cursor.local_doc_count,
                    source_records_sha256=piece.source_records_sha256,
                    last_record_digest=piece.last_record_digest,
                )
            )
        stage.commit(piece.rng, piece.cursor, piece.last_record_digest)

    def _over_all(self, number: int, units: Sequence[StoredUnit], compute: Callable[[Sequence[StoredUnit]], bytes]) -> StoredUnit:
        """A stage that is one unit over all records: done, or done again."""
        stage = self._stage(number)
        stage.load()
        if not stage.completed:
            self.stop.check()
            stage.begin(self.generators)
            data = compute(units)
            name = unit_name(number, 0)
            storage.write_bytes(self.folder / name, data)
            last = units[-1]
            stage.add(
                last.model_copy(
                    update={"path": name, "sha256": storage.sha256_bytes(data), "first": 0, "docs": last.first + last.docs}
                )
            )
            stage.complete(self.generators.state())
        return stage.units()[0]

    def _load(self, units: Sequence[StoredUnit]) -> corpus.Corpus:
        if self._corpus is None:
            self._corpus = corpus.load(self.folder, units, self.config.duplicates.permutations)
        return self._corpus

    def _duplicates(self, units: Sequence[StoredUnit]) -> bytes:
        """Per record of the run: which record it repeats, whether exactly, and how alike they are."""
        loaded = self._load(units)
        found = corpus.duplicates(loaded, self.config)
        of, exact, jaccard = np.full(loaded.records, -1, np.int64), np.zeros(loaded.records, np.bool_), np.zeros(loaded.records)
        repeats = found.of >= 0
        of[loaded.docs[repeats]] = loaded.docs[found.of[repeats]]
        exact[loaded.docs], jaccard[loaded.docs] = found.exact, found.jaccard
        return corpus.to_parquet({"of": of, "exact": exact, "jaccard": jaccard})

    def _surprises(self, units: Sequence[StoredUnit]) -> bytes:
        """Per record of the run: its perplexity, and how far that is from its domain's; 0 for those that are dropped already."""
        loaded = self._load(units)
        stage = self._stage(2)
        stage.load()
        of = corpus.read_unit(self.folder, stage.units()[0], ["of"]).column("of").to_numpy()
        kept = np.flatnonzero(of[loaded.docs] < 0)
        perplexity, score = np.zeros(loaded.records), np.zeros(loaded.records)
        threads = min(self.engine.workers, os.cpu_count() or 1)
        perplexity[loaded.docs[kept]], score[loaded.docs[kept]] = corpus.surprises(loaded, kept, threads=threads)
        return corpus.to_parquet({"perplexity": perplexity, "score": score})

    def _clear(self) -> None:
        """Removes what only a run at work needs. States and indexes stay: they say how the batch came about."""
        self._corpus = None
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith("unit_") or path.suffix == ".scratch":
                path.unlink()

    def _tell(self, batch: Batch, docs: int, cleaned_for: float, whole: float) -> None:
        counts = batch.manifest.counts
        self.told.tags = {
            RETENTION: counts.kept / counts.read,
            THROUGHPUT: docs / max(whole, 1e-9),
            f"{THROUGHPUT}/clean": docs / max(cleaned_for, 1e-9),
        }


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


def _taken(batch_id: str) -> DistillError:
    return DistillError(Code.BATCH_EXISTS, f"there is a batch {batch_id} already", "Batches are never edited; take another id.")
