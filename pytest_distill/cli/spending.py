"""The options with which a run says what it may cost, and how they are read. Every parser has them: nothing is imported."""

from __future__ import annotations

import argparse
import importlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.contracts.manifest import Declaration
    from pytest_distill.policy.allowance import Task
    from pytest_distill.policy.workspace import Workspace

CLASSES = ("low", "med", "high")
PURPOSES = ("high_stakes_reasoning", "architecture", "safety_verification", "gold_set", "diagnosis")


def add_declaration(parser: argparse.ArgumentParser) -> None:
    """What the bulk contract wants said before a run: its cost class, and what justifies a class above LOW."""
    group = parser.add_argument_group("cost class", "LOW is local models only. Bulk is made by local models.")
    group.add_argument("--cost-class", choices=CLASSES, default="low", help="default: low")
    group.add_argument("--justification", metavar="TEXT", help="why MED or HIGH is needed")
    group.add_argument("--authorized-by", metavar="NAME", help="who authorized HIGH")
    group.add_argument("--authorized-on", metavar="DATE", help="when, as YYYY-MM-DD")
    group.add_argument("--frontier-purpose", choices=PURPOSES, help="what a frontier model is for; never bulk")


def add_limits(parser: argparse.ArgumentParser, about: str) -> argparse._ArgumentGroup:
    """Ceilings of one run. What the policy says in [budget] holds too."""
    group = parser.add_argument_group("limits", about)
    group.add_argument("--max-minutes", type=amount, metavar="M", help="of this session")
    group.add_argument("--max-calls", type=count, metavar="N", help="prompts, over all sessions of the run")
    group.add_argument("--max-tokens", type=count, metavar="N", help="read and written, over all sessions of the run")
    group.add_argument("--max-cost", type=amount, metavar="C", help="at the prices of [[models]]")
    return group


def declaration(given: argparse.Namespace) -> Declaration:
    from pytest_distill.contracts.manifest import Authorization, Declaration

    by = (given.authorized_by or "").strip()
    return Declaration(
        cost_class=given.cost_class,
        justification=(given.justification or "").strip() or None,
        authorization=Authorization(by=by, date=given.authorized_on) if by or given.authorized_on else None,
        purpose=given.frontier_purpose,
    )


@contextmanager
def metered(
    workspace: Workspace, task: Task, given: argparse.Namespace, *, go_on: str, batch: str | None = None
) -> Iterator[Any]:
    """The session in which a command's models are allowed, counted and limited; a refusal is entered as an incident.

    `go_on` says what a ceiling leaves and what to do next. Raises E-COST-CLASS, and in the block E-FRONTIER, E-BUDGET.
    """
    from pytest_distill.release import incidents

    metering = importlib.import_module("pytest_distill.pipelines.models.metering")
    limits = metering.budget(
        workspace, minutes=given.max_minutes, tokens=given.max_tokens, cost=given.max_cost, calls=given.max_calls
    )
    with incidents.noted(workspace, batch), metering.session(workspace, task, limits, batch=batch, go_on=go_on) as running:
        yield running


def count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} is no number")
    return int(text)


def amount(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no amount")
    return value
