"""The first stage, for one unit of records: check, normalise, bound, identify, measure, sign. A plain function, no shared state.

What comes back is one Parquet file's bytes: every record with its outcome, dropped or not, so that a stored unit never has to
be computed again and nothing is lost.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pytest_distill import storage
from pytest_distill.batch.columns import json_text
from pytest_distill.batch.ingest.kinds import RowCheck
from pytest_distill.batch.ingest.records import Malformed, Record
from pytest_distill.batch.write import MAX_ORIGINAL
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import one_line
from pytest_distill.measuring.folding import collapsed
from pytest_distill.measuring.kernels import minhash
from pytest_distill.measuring.kernels.buffers import flat
from pytest_distill.pipelines.preprocess import diagnostics, language
from pytest_distill.pipelines.preprocess.config import REASONS, Config
from pytest_distill.pipelines.preprocess.toxicity import Classifier

# The texts of a row that are normalised, and of them those that its language and its duplicates are judged by.
TEXTS: dict[str, tuple[str, ...]] = {"text": ("text",), "sft": ("instruction", "input", "response")}
ANSWER: dict[str, str] = {"text": "text", "sft": "response"}
FIGURES = ("repetition", "symbols", "special_characters", "personal_data", "toxicity")

SCHEMA = pa.schema(
    [
        pa.field("source", pa.int32(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("reason", pa.string()),  # null for a record that is still in
        pa.field("message", pa.string()),
        pa.field("original", pa.binary()),
        pa.field("original_sha256", pa.string(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("row", pa.string()),  # the normalised row as JSON
        pa.field("row_sha256", pa.binary(32)),
        pa.field("key", pa.string()),  # what duplicates are told by
        pa.field("language", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("sampled", pa.bool_(), nullable=False),
        *(pa.field(name, pa.float64()) for name in FIGURES),
        pa.field("signature", pa.binary()),
        pa.field("shingles", pa.int64(), nullable=False),
    ]
)


class Task(NamedTuple):
    """One unit: its records, the number and name of each one's source, and which the model of the corpus may learn from."""

    records: Sequence[Record]
    sources: Sequence[int]
    names: dict[int, str]
    sampled: Sequence[bool]


class Cleaner:
    """What a process needs to clean units. Made once in each worker."""

    def __init__(self, config: Config, salt: minhash.Salts) -> None:
        self.config = config
        self.salt = salt
        self.classifier = Classifier(config.diagnostics.toxicity) if config.diagnostics.toxicity.model else None

    def __call__(self, task: Task) -> bytes:
        rows = _Rows(task, self.config)
        rows.normalise()
        rows.bound()
        figures = diagnostics.cheap(rows.answers())
        rows.measured(dict(zip(figures._fields, figures, strict=True)))
        if self.classifier is not None:
            rows.measured({"toxicity": self.classifier.scores(rows.answers().to_list())})
        return rows.to_parquet(self.salt)


def normalised(texts: pl.Series) -> pl.Series:
    """NFC; line ends as line feeds; no controls but tab and line feed, no byte order mark; no blanks at the end of a line, and
    at most one blank line between two. What is normalised already does not change."""
    text = (
        pl.lit(texts)
        .str.replace_all(r"\r\n?|[\x{85}\x{2028}\x{2029}]", "\n")
        .str.replace_all(r"[\p{Cc}\x{FEFF}&&[^\n\t]]", "")
        .str.replace_all(r"[ \t\x{A0}\x{3000}]+\n", "\n")
        .str.replace_all(r"\n{3,}", "\n\n")
        .str.strip_chars_start("\n")
        .str.strip_chars_end()
        .str.normalize("NFC")
    )
    return pl.select(text.alias(texts.name)).to_series()


def record_digest(record: Record) -> bytes:
    """SHA-256 of a record's bytes as the source holds them; of its values as JSON where it holds none of its own."""
    if record.raw:
        return hashlib.sha256(record.raw).digest()
    if isinstance(record.value, Malformed):
        return hashlib.sha256((record.value.sha256 or record.value.message).encode()).digest()
    return hashlib.sha256(json_text(record.value).encode()).digest()


class _Rows:
    """The records of a unit on their way through the stage. A reason, once given, stays."""

    def __init__(self, task: Task, config: Config) -> None:
        self.task, self.config = task, config
        self.rows: list[dict[str, Any] | None] = []
        self.reasons: list[str | None] = []
        self.messages: list[str | None] = []
        self.ids: list[str | None] = []
        self.columns: dict[str, list[Any]] = {name: [None] * len(task.records) for name in ("language", *FIGURES)}
        check = RowCheck(config.kind, config.mapping)
        for record in task.records:
            value, row = record.value, None
            reason: Malformed | None = None
            try:
                if isinstance(value, Malformed):
                    raise value
                row = check(value)
            except Malformed as error:
                reason = error
            given = value.get("id") if isinstance(value, dict) else None
            self.rows.append(row)
            self.reasons.append(reason.reason.value if reason else None)
            self.messages.append(reason.message if reason else None)
            self.ids.append(given if isinstance(given, str) else None)

    @property
    def open(self) -> list[int]:
        """Positions of the records that nothing was said against."""
        return [at for at, reason in enumerate(self.reasons) if reason is None]

    def texts(self, name: str) -> pl.Series:
        """One text of every open row; what is no text counts as none."""
        values = (row.get(name) for at in self.open if (row := self.rows[at]) is not None)
        return pl.Series(name, [value if isinstance(value, str) else "" for value in values], dtype=pl.String)

    def answers(self) -> pl.Series:
        return self.texts(ANSWER[self.config.kind])

    def whole(self) -> pl.Series:
        """Everything of a row that language and duplicates are judged by."""
        parts = [self.texts(name) for name in TEXTS[self.config.kind]]
        if len(parts) == 1:
            return parts[0]
        both = pl.concat_str(pl.all(), separator="\n").str.replace_all(r"\n+", "\n").str.strip_chars()
        return pl.DataFrame(parts).select(both).to_series()

    def normalise(self) -> None:
        for name in TEXTS[self.config.kind]:
            for at, text in zip(self.open, normalised(self.texts(name)), strict=True):
                row = self.rows[at]
                if row is not None and isinstance(row.get(name), str):
                    self.rows[at] = row | {name: text}
        needed = [name for name in TEXTS[self.config.kind] if name != "input"]
        blank = [self.texts(name).str.contains(r"\S") for name in needed]
        self._drop(Reason.BLANK, [not all(said) for said in zip(*blank, strict=True)], ["no text"] * len(self.open))

    def bound(self) -> None:
        """The structural bounds: words, then language."""
        low, high = self.config.words
        counts = diagnostics.words(flat(self.answers())).tolist()
        messages = [f"{count:,} words; {low:,} to {high:,} are kept" for count in counts]
        self._drop(Reason.LENGTH, [not low <= count <= high for count in counts], messages)
        texts, bounds = self.whole(), self.config.language
        told = (language.letters(texts) >= bounds.min_letters).to_list()
        guesses = language.identify(texts.to_list(), self.config.allowed)
        for at, guess, known in zip(self.open, guesses, told, strict=True):
            self.columns["language"][at] = guess.code if known else None
        other = [known and guess.allowed < bounds.min_confidence for guess, known in zip(guesses, told, strict=True)]
        asked = "|".join(self.config.allowed)
        self._drop(Reason.LANGUAGE, other, [f"{g.code or 'none'} {g.confidence:.2f}; {asked} {g.allowed:.2f}" for g in guesses])

    def measured(self, figures: dict[str, np.ndarray]) -> None:
        """Diagnostics of the open rows; those that are promoted decide."""
        at_first = self.open
        for name, values in figures.items():
            for at, value in zip(at_first, values.tolist(), strict=True):
                self.columns[name][at] = value
        for name in figures:
            table = getattr(self.config.diagnostics, name)
            if table.promote:
                found = [self.columns[name][at] for at in self.open]
                messages = [f"{name} {value:.3g} is over {table.max:g}" for value in found]
                self._drop(REASONS[name], [value > table.max for value in found], messages)

    def _drop(self, reason: Reason, those: Sequence[bool], messages: Sequence[str]) -> None:
        for at, out, message in zip(self.open, those, messages, strict=True):
            if out:
                self.reasons[at], self.messages[at] = reason.value, message

    def to_parquet(self, salt: minhash.Salts) -> bytes:
        keys = collapsed(self.whole())
        signatures, shingles = minhash.sign(flat(keys), self.config.duplicates.shingle, salt)
        columns: dict[str, list[Any]] = {field.name: [None] * len(self.rows) for field in SCHEMA} | self.columns
        columns["sampled"], columns["shingles"] = [False] * len(self.rows), [0] * len(self.rows)
        columns["source"] = list(self.task.sources)
        for at, record in enumerate(self.task.records):
            original = record.raw.removesuffix(b"\n") if record.raw else _as_text(record)
            given = record.value.sha256 if isinstance(record.value, Malformed) else None
            columns["line"][at], columns["offset"][at] = record.line, record.offset
            columns["original"][at] = original if given is None and len(original) <= MAX_ORIGINAL else None
            columns["original_sha256"][at] = given or storage.sha256_bytes(original)
        columns["reason"], columns["message"], columns["id"] = (
            self.reasons,
            [m and one_line(m)[:500] for m in self.messages],
            self.ids,
        )
        for place, (at, key) in enumerate(zip(self.open, keys, strict=True)):
            row = self.rows[at]
            assert row is not None
            text = json_text(row)
            domain = row.get(self.config.diagnostics.perplexity.domain_column)
            columns["row"][at], columns["key"][at] = text, key
            columns["row_sha256"][at] = hashlib.sha256(text.encode()).digest()
            columns["domain"][at] = domain if isinstance(domain, str) else self.task.names[self.task.sources[at]]
            columns["sampled"][at] = bool(self.task.sampled[at])
            columns["signature"][at] = signatures[place].tobytes()
            columns["shingles"][at] = int(shingles[place])
        table = pa.table(columns, schema=SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False)
        return bytes(sink.getvalue())


def _as_text(record: Record) -> bytes:
    """A row that has no bytes of its own: its values as JSON stand for them."""
    return storage.canonical_json(record.value) if isinstance(record.value, dict) else b""
