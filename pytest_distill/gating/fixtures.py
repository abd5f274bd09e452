"""The fixtures that gates work with. Measures are fixtures too, made by `@measure`; raw columns by `column_fixtures`."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest

from pytest_distill.gating.evidence import Limits, Quarantine, Require

if TYPE_CHECKING:
    import polars as pl

    from pytest_distill.contracts.bulk import GoldSet
    from pytest_distill.contracts.manifest import Manifest
    from pytest_distill.gating.columns import Columns, JudgedBatch
    from pytest_distill.gating.keeper import Keeper
    from pytest_distill.policy.model import Policy

KEEPER: pytest.StashKey[Keeper] = pytest.StashKey()


@pytest.fixture
def require(request: pytest.FixtureRequest) -> Require:
    """Records a figure and its bound: `require("median answer tokens", value, below=40)`."""
    return Require(request.config.stash[KEEPER].evidence(request.node))


@pytest.fixture
def quarantine(request: pytest.FixtureRequest) -> Quarantine:
    """Rejects rows: `quarantine(mask, found=pieces, text=answer_text)`, once per row gate."""
    return Quarantine(request.config.stash[KEEPER].evidence(request.node))


@pytest.fixture
def limits(request: pytest.FixtureRequest) -> Limits:
    """This gate's own limits as attributes, with the policy's values in place."""
    evidence = request.config.stash[KEEPER].evidence(request.node)
    return Limits(evidence.gate.id, evidence.limits)


@pytest.fixture
def batch(request: pytest.FixtureRequest) -> JudgedBatch:
    """The batch under judgement: id, kind, rows, column_names, manifest, column(name)."""
    return request.config.stash[KEEPER].judged(request.node)


@pytest.fixture
def manifest(request: pytest.FixtureRequest) -> Manifest:
    """The batch's manifest."""
    return request.config.stash[KEEPER].judged(request.node).manifest


@pytest.fixture
def policy(request: pytest.FixtureRequest) -> Policy:
    """The workspace's policy. Read limits through `limits`; this is for tables such as [language]."""
    return request.config.stash[KEEPER].workspace.policy


@pytest.fixture
def gold(request: pytest.FixtureRequest) -> pl.DataFrame:
    """The workspace's gold rows: every JSONL file in gold/, in order of name. Fails where there is none."""
    return request.config.stash[KEEPER].gold()


@pytest.fixture
def gold_set(request: pytest.FixtureRequest) -> GoldSet | None:
    """The frozen gold set, its files checked byte for byte; None where there is none. Fails where they were changed since."""
    from pytest_distill.policy.gold import frozen

    return frozen(request.config.stash[KEEPER].workspace)


@pytest.fixture
def distill_columns(request: pytest.FixtureRequest) -> Columns:
    """Where measures and raw columns come from; used by `@measure`, not by gates."""
    return request.config.stash[KEEPER].columns


CORE = (require, quarantine, limits, batch, manifest, policy, gold, gold_set, distill_columns)


def column_fixtures(names: tuple[str, ...], taken: frozenset[str]) -> types.ModuleType:
    """One fixture per raw column of the batch, so that a gate may name a column as it names a measure.

    A name that is already a fixture keeps its meaning; the column is then reached as `batch.column(name)`.
    """
    module = types.ModuleType("distill_columns_of_the_batch")
    for name in names:
        if name.isidentifier() and name not in taken:
            setattr(module, name, _column_fixture(name))
    return module


def _column_fixture(name: str) -> Any:
    def column(request: pytest.FixtureRequest) -> Any:
        return request.config.stash[KEEPER].columns.raw(name, request)

    column.__name__ = name
    column.__doc__ = f"The batch's column {name!r}."
    return pytest.fixture(name=name)(column)
