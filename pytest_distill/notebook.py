"""`evaluate(rows)`: the gates over rows in memory, for notebooks and scripts. The same run as on the command line.

    result = evaluate(frame)          # polars, pandas, datasets.Dataset, or dicts
    result.passed, result.gates, result.rejected

The rows become a batch, and pytest judges it in a process of its own, so a notebook gets what CI gets: the same verdict, the
same evidence, and a batch that can be exported when it belongs to a workspace.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.ingest.ingest import ingest, ingest_ad_hoc
from pytest_distill.contracts.run import Figure, RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.gating.apart import judge
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.verdict import QUARANTINE
from pytest_distill.report import inline
from pytest_distill.report.markdown import WITHHELD

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True, repr=False)
class Evaluation:
    """What one run said of the rows. `output` is what pytest printed."""

    batch: Batch
    record: RunRecord
    folder: Path
    output: str
    _scratch: storage.ScratchFolder | None = None  # keeps a temporary workspace alive

    @property
    def verdict(self) -> str:
        """PASSED, FAILED or INCOMPLETE."""
        return self.record.verdict

    @property
    def passed(self) -> bool:
        return self.record.verdict == "PASSED"

    @property
    def gates(self) -> pl.DataFrame:
        """One row per required gate: id, status, figures against their bounds, rows rejected, why."""
        import polars as pl

        rows = [(g.id, g.status, "; ".join(map(_figure, g.figures)), g.rejected, "; ".join(g.why)) for g in self.record.gates]
        return pl.DataFrame(rows, schema=["gate", "status", "figures", "rejected", "why"], orient="row")

    @property
    def rejected(self) -> pl.DataFrame:
        """Every rejection: gate, reason, row (0-based position), message, and the row's own columns."""
        import polars as pl

        path = self.folder / QUARANTINE
        if not path.is_file():
            return pl.DataFrame(schema={"gate": pl.String, "reason": pl.String, "row": pl.Int64, "message": pl.String})
        found = pl.read_parquet(path).select(pl.col("by").alias("gate"), "reason", "row", "message")
        return found.join(self._rows(), on="row", how="left", suffix="_of_row")

    @property
    def kept(self) -> pl.DataFrame:
        """The rows that remain. Raises E-UNSEALED unless the verdict is PASSED: what was not judged good does not leave."""
        if not self.passed:
            raise DistillError(Code.UNSEALED, f"{self.batch.id} is {self.verdict}", "Look at .gates and .rejected.")
        return self._rows().join(self.rejected.select("row").unique(), on="row", how="anti").drop("row")

    def dataset(self) -> Any:
        """`kept` as a Hugging Face `datasets.Dataset`. Raises E-UNSEALED as `kept` does, E-EXTRA-MISSING without the library."""
        try:
            from datasets import Dataset
        except ImportError as error:
            raise DistillError(Code.EXTRA, "the library datasets is not installed", "pip install datasets") from error
        return Dataset.from_polars(self.kept)

    def _rows(self) -> pl.DataFrame:
        import polars as pl

        frame = self.batch.frame(self.batch.column_names)
        return frame.select(pl.int_range(pl.len(), dtype=pl.Int64).alias("row"), pl.all().exclude("row"))

    def __str__(self) -> str:
        rows = self.record.rows
        lines = [f"{self.batch.id}: {self.verdict}, {rows.remaining} of {rows.batch} rows remain"]
        lines += [f"  {g.id}: {'; '.join(g.why)}" for g in self.record.gates if g.status in ("failed", "did_not_run")]
        return "\n".join([*lines, *(f"  {finding}" for finding in self.record.findings)])

    __repr__ = __str__  # what a prompt and a notebook without HTML show: lines that can be read

    def _repr_html_(self) -> str:
        """Verdict, gates that said no with rows they rejected, the others folded; for notebooks. All of it is escaped."""
        private = self.rejected.filter(self.rejected["reason"].is_in(sorted(WITHHELD)))["row"]
        return inline.display(self.record, self._next(), private_rows=frozenset(private))

    def _next(self) -> str:
        if self.record.verdict == "INCOMPLETE":
            return ".output holds what pytest printed."
        own = self._scratch is None  # a workspace that stays
        if not self.passed:
            where = "its distill.toml" if own else "the distill.toml of a workspace (workspace=…)"
            return f".rejected names every row and why. Mend them, or allow what you have looked at in {where}; they stay behind."
        leave = f"; distill export {self.batch.id} --format jsonl --out DIR writes them, sealed." if own else "."
        return f".kept and .dataset() give the rows that remain{leave}"


def evaluate(
    rows: Any, *, kind: str | None = None, workspace: Path | str | None = None, batch_id: str | None = None
) -> Evaluation:
    """Judges rows in memory with the standard suite, and with the workspace's policy and gates when one is given.

    rows       a polars or pandas DataFrame, a `datasets.Dataset`, or an iterable of dicts
    kind       sft, preference, rag or text; None: told by the columns
    workspace  folder with a distill.toml; None: default policy in a temporary folder that lives as long as the result
    batch_id   id of the batch that is made in the workspace; None: an id from the rows' digest, so equal rows are read once

    Raises E-COLUMN for values JSON cannot hold, what `ingest` raises, and E-GATE-NOT-RUN when no verdict could be reached.
    """
    scratch = storage.ScratchFolder() if workspace is None else None
    place = _temporary(scratch.path) if scratch is not None else workspaces.load(Path(str(workspace)))
    with storage.scratch_folder() as folder:
        file = folder / "rows.jsonl"
        with storage.atomic_file(file, durable=False) as out:
            out.writelines(_json_lines(rows))
        batch = ingest_ad_hoc(file, place, kind=kind) if batch_id is None else ingest([file], place, batch_id, kind=kind)
    run = judge(place, batch.id)
    return Evaluation(open_batch(batch.folder), run.record, run.folder, run.output, scratch)


def _temporary(folder: Path) -> Workspace:
    storage.write_bytes(folder / workspaces.POLICY_FILE, b"")
    return workspaces.load(folder)


def _figure(figure: Figure) -> str:
    return f"{figure.name} {figure.value}" + (f" ({figure.bound})" if figure.bound else "")


def _json_lines(rows: Any) -> Iterator[bytes]:
    number = 0
    for number, row in enumerate(_records(rows), 1):
        if not isinstance(row, Mapping):
            raise DistillError(Code.COLUMN, f"row {number} is no dict but {type(row).__name__}", "A row is a dict of columns.")
        try:
            yield json.dumps(dict(row), allow_nan=False, default=_plain).encode() + b"\n"
        except (TypeError, ValueError) as error:
            raise DistillError(
                Code.COLUMN, f"row {number} holds what JSON cannot: {error}", "Convert that column first."
            ) from error
    if not number:
        raise DistillError(Code.SOURCE, "there is no row in what was given", "A batch has at least one.")


def _records(rows: Any) -> Iterable[Mapping[str, Any]]:
    """The rows as mappings. pandas and datasets are recognised without being imported."""
    import polars as pl

    if type(rows).__module__.partition(".")[0] == "pandas":
        rows = pl.from_pandas(rows)
    if isinstance(rows, pl.LazyFrame):
        rows = rows.collect()
    if isinstance(rows, (str, bytes, Path, Mapping)) or not isinstance(rows, Iterable):
        raise DistillError(
            Code.COLUMN,
            f"the rows are no rows but {type(rows).__name__}",
            "A file: `distill ingest`, or polars reads it. Columns: pl.DataFrame(columns).",
        )
    return rows.iter_rows(named=True) if isinstance(rows, pl.DataFrame) else rows


def _plain(value: Any) -> Any:
    if isinstance(value, (dt.date, dt.time)):  # datetime is a date
        return value.isoformat()
    for convert in ("tolist", "item"):  # numpy arrays and scalars
        if hasattr(value, convert):
            return getattr(value, convert)()
    raise TypeError(f"{type(value).__name__} is no JSON value")
