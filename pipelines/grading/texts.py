"""The text of a row, as the standard gates read it."""

from __future__ import annotations

import polars as pl

from pytest_distill.batch.batch import Batch
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.standard import standard_measures, standard_modules


def texts_of(batch: Batch) -> list[str]:
    """The text of every row, prompt and answer, as the standard gates read it. Raises E-KIND for rows that are no texts."""
    if batch.kind not in ("sft", "preference", "rag", "text"):
        raise DistillError(Code.KIND, f"{batch.id} is {batch.kind}: its rows are no texts", "sft, preference, rag and text are.")
    measures = standard_measures(standard_modules())
    asked, answered = measures["prompt_text"], measures["answer_text"]
    names = [name for name in batch.column_names if name in {*asked.inputs, *answered.inputs}]
    frame = batch.frame(names)
    both: list[pl.Series] = [
        measure.function(kind=batch.kind, **{name: frame[name] for name in measure.inputs if name in names})
        for measure in (asked, answered)
    ]
    texts: list[str] = measures["full_text"].function(*both).to_list()
    return texts
