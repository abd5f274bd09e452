"""Tokens of responses: counted again with the run's own tokenizer where the policy names it, bounded where it does not."""

from __future__ import annotations

from importlib import resources
from typing import Any

import polars as pl
import pytest
import stage1_runs as runs

from pytest_distill import storage
from pytest_distill.gates.measures.stage1 import recounted
from pytest_distill.gates.measures.tokens import SHIPPED, count_tokens
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.model import Tokenizer


@pytest.fixture
def table(tmp_path: Any) -> Tokenizer:
    """The shipped tokenizer, named by a policy as if it were the run's."""
    data = (resources.files("pytest_distill.fixtures") / SHIPPED).read_bytes()
    (tmp_path / "tokenizer.json").write_bytes(data)
    return workspaces.parse(b'[tokenizer]\npath = "tokenizer.json"\n', tmp_path, name="distill.toml").tokenizer


def answered(table: Tokenizer, *, off_by: int = 0, sha256: str | None = None) -> pl.DataFrame:
    texts = [row["response"] for row in runs.sums(20)]
    counts = count_tokens(pl.Series(texts), table).to_list()
    counts[3] += off_by
    known = sha256 or (table.path.sha256 if table.path else "")
    metadata = pl.Series("metadata", [{"tokenizer_hash": known}] * 20)
    return pl.DataFrame({"response": texts, "clean_tokens": counts, "metadata": metadata})


def test_the_digest_in_the_records_is_that_of_the_file(table: Tokenizer) -> None:
    assert table.path is not None
    assert table.path.sha256 == storage.sha256_file(table.path.resolved)


def test_honest_counts_are_counted_the_same(table: Tokenizer) -> None:
    assert recounted(answered(table), table) == 0


@pytest.mark.parametrize("off_by", [-1, 1])
def test_a_count_that_is_off_by_one_is_found_though_it_could_be(table: Tokenizer, off_by: int) -> None:
    assert recounted(answered(table, off_by=off_by), table) == 1


def test_another_tokenizer_counts_nothing_again(table: Tokenizer) -> None:
    assert recounted(answered(table, sha256="c" * 64), table) is None
    assert recounted(answered(table), Tokenizer()) is None
