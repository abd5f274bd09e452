"""Which models a task may use: decided from the policy and from what the task declares, before the first call.

Bulk is made by local models. A frontier model outside bulk has one purpose, one of those that the policy lists for it; for bulk
only cost class HIGH opens the door, with a justification, and a name and a date that authorize it.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import urlsplit

from pytest_distill.contracts.manifest import Authorization, CostName, Declaration, ModelUse
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.bulk import is_bulk
from pytest_distill.policy.model import KnownModel, Policy

CLASSES: tuple[CostName, ...] = get_args(CostName)


@dataclass(frozen=True)
class Task:
    """What a run is about. `items` are planned or made so far; `repeats`: it goes over the items of a dataset; `generates`: what
    it makes are rows, and not labels beside rows."""

    items: int = 0
    repeats: bool = False
    generates: bool = False
    said: Declaration = field(default_factory=Declaration)


def known(policy: Policy, name: str) -> KnownModel | None:
    """The policy's entry of a model, by its name or by the last part of its folder's."""
    wanted = {name.casefold(), name.rstrip("/").rpartition("/")[2].casefold()}
    return next((model for model in policy.models if model.name.casefold() in wanted), None)


def tier(policy: Policy, name: str, url: str | None = None) -> Literal["local", "frontier", "unknown"]:
    """As the policy says. A model that it does not list is local where its weights are loaded here, or where its server is this
    machine or one of a private network; of any other server nothing is known."""
    entry = known(policy, name)
    if entry is not None:
        return entry.tier
    return "local" if url is None or _is_near(url) else "unknown"


def allow(policy: Policy, task: Task, name: str, url: str | None = None) -> None:
    """Raises E-COST-CLASS for a declaration that is incomplete or too low, E-FRONTIER for a model that the task may not use."""
    check_declaration(task.said)
    found = tier(policy, name, url)
    if found == "local":
        return
    if found == "unknown":
        raise DistillError(
            Code.FRONTIER,
            f"{name} is at {urlsplit(url or '').hostname}, and the policy does not say whether it is local or frontier",
            "List it in [[models]] of distill.toml, with its tier.",
        )
    if task.said.cost_class == "low":
        raise DistillError(
            Code.COST_CLASS, f"{name} is a frontier model, and the run declares LOW, which is local models only",
            "Take a local model; or declare --cost-class med --justification TEXT.",
        )  # fmt: skip
    if is_bulk(task.items, policy, repeats=task.repeats):
        if task.said.cost_class != "high":
            raise DistillError(
                Code.FRONTIER,
                f"{name} is a frontier model, and this task is bulk",
                "Bulk is made by local models; the one exception is --cost-class high, authorized by name and date.",
            )
        return
    entry = known(policy, name)
    allowed = entry.purposes if entry else ()
    if task.said.purpose is None or task.said.purpose not in allowed:
        said = f"for {task.said.purpose}" if task.said.purpose else "and no purpose is named"
        raise DistillError(
            Code.FRONTIER,
            f"{name} is a frontier model {said}; the policy allows it {', '.join(allowed) or 'no purpose'}",
            "Name one that it allows: --frontier-purpose PURPOSE.",
        )


def check_declaration(said: Declaration) -> None:
    """Raises E-COST-CLASS: MED wants a justification, HIGH also a name and a date."""
    if missing := missing_for(said.cost_class, said.justification, said.authorization):
        raise DistillError(
            Code.COST_CLASS,
            f"cost class {said.cost_class.upper()} without {' and '.join(missing)}",
            "Say --justification TEXT; for HIGH also --authorized-by NAME --authorized-on DATE.",
        )


def missing_for(declared: CostName, justification: str | None, authorization: Authorization | None) -> list[str]:
    """What a declaration lacks, in words."""
    missing = [] if declared == "low" or (justification or "").strip() else ["a justification"]
    if declared == "high":
        missing += [] if authorization is not None and authorization.by.strip() else ["the name of who authorized it"]
        missing += [] if authorization is not None and _is_date(authorization.date) else ["the date of its authorization"]
    return missing


def used_class(policy: Policy, models: Iterable[ModelUse]) -> CostName:
    """What was really used, from what was metered: LOW without a frontier model, MED while its share of all tokens is an
    assist's (`[bulk] max_assist_share`), HIGH beyond. A frontier model without a meter counts as all there was."""
    metered = [(tier(policy, model.name) == "frontier", model.usage) for model in models]
    if not any(frontier for frontier, _ in metered):
        return "low"
    if any(frontier and usage is None for frontier, usage in metered):
        return "med" if len(metered) > 1 else "high"
    spent = [(frontier, usage.tokens_read + usage.tokens_written) for frontier, usage in metered if usage is not None]
    total = sum(tokens for _, tokens in spent)
    dear = sum(tokens for frontier, tokens in spent if frontier)
    if dear == 0:
        return "low"
    return "med" if dear <= policy.bulk.max_assist_share * total else "high"


def above(used: CostName, declared: CostName) -> int:
    """How many classes `used` lies above `declared`."""
    return CLASSES.index(used) - CLASSES.index(declared)


def _is_date(text: str | None) -> bool:
    try:
        dt.date.fromisoformat(text or "")
    except ValueError:
        return False
    return True


def _is_near(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or ("." not in host and host != "")
    return address.is_loopback or address.is_private
