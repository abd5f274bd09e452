"""The corpus that replay retrieves from: a batch of kind rag, such as `distill export-rag` makes, or one that was ingested."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast, get_args

import polars as pl

from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.replay import Bundle, BundleItem, Category
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.replay.retrieve import Found, Index

RETRIEVED = 8  # of these
EXEMPLARS = 3  # so many accepted ones
WARNINGS = 2  # and so many that were accepted in part are shown
STEPS = 8
_STEP = re.compile(r"(?im)^[ \t]*(?:[-*+]|\d{1,3}[.)])?[ \t]*((?:verify|check|assert|ensure|confirm)\b[^\n]{3,300})$")


@dataclass(frozen=True)
class Document:
    id: str
    title: str
    content: str
    category: Category

    @property
    def text(self) -> str:
        return f"{self.title}\n{self.content}"


@dataclass(frozen=True)
class Corpus:
    """Documents in their order, and the digest of the batch they are from."""

    documents: Sequence[Document]
    sha256: str
    name: str = field(default="")

    @cached_property
    def index(self) -> Index:
        return Index(pl.Series([document.text for document in self.documents], dtype=pl.String))

    def bundle(self, task: str, *, without: str | None = None) -> Bundle:
        """What is shown for a task. `without` leaves out one document: a study does not show a task its own answer."""
        found = [hit for hit in self.index.search(task, RETRIEVED + 1) if self.documents[hit.row].id != without][:RETRIEVED]
        return Bundle(
            exemplars=tuple(self._items(found, "accepted"))[:EXEMPLARS],
            warnings=tuple(self._items(found, "partially_accepted"))[:WARNINGS],
            validation_steps=self._steps(found),
        )

    def _items(self, found: Sequence[Found], category: Category) -> list[BundleItem]:
        hits = [(hit, self.documents[hit.row]) for hit in found if self.documents[hit.row].category == category]
        return [
            BundleItem(rag_id=d.id, title=d.title, content=d.content, category=category, similarity=round(hit.similarity, 6))
            for hit, d in hits
        ]

    def _steps(self, found: Sequence[Found]) -> tuple[str, ...]:
        """Lines of the retrieved documents that say what to check, each once, in order."""
        documents = (self.documents[hit.row] for hit in found)
        steps = [" ".join(step.split()) for document in documents for step in _STEP.findall(document.content)]
        return tuple(dict.fromkeys(steps))[:STEPS]


def of_batch(batch: Batch) -> Corpus:
    """Raises E-KIND for a batch of another kind. A row without `source_category` counts as accepted."""
    if batch.kind != "rag":
        raise DistillError(Code.KIND, f"{batch.id} holds {batch.kind} rows", "Replay retrieves from a batch of kind rag.")
    names = [name for name in ("id", "title", "content", "source_category") if name in batch.column_names]
    documents = []
    for number, row in enumerate(batch.frame(names).iter_rows(named=True)):
        category = row.get("source_category") or "accepted"
        if category not in get_args(Category):
            message = f"{batch.id}: row {number} has the category {category!r}"
            raise DistillError(Code.KIND, message, "What was rejected is shown to no model.")
        documents.append(
            Document(
                id=str(row.get("id") or f"{batch.id}:{number}"), title=str(row.get("title") or ""), content=str(row["content"]),
                category=cast("Category", category),
            )
        )  # fmt: skip
    return Corpus(documents, batch.sha256, batch.id)
