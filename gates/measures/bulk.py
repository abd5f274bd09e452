"""What a manifest says of models and cost, against what the policy says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_distill.policy.bulk import is_bulk_batch, items_of

if TYPE_CHECKING:
    from pytest_distill.contracts.manifest import Manifest, ModelUse
    from pytest_distill.policy.model import Policy

CLASSES = ("low", "med", "high")


def items(batch: Any) -> int:
    """How many items a batch is about: its rows, or what was planned where that is more."""
    return items_of(batch.manifest, batch.all_rows)


def is_bulk(batch: Any, policy: Policy) -> bool:
    """Whether the batch is the outcome of a bulk task, by the policy."""
    return is_bulk_batch(batch.manifest, batch.all_rows, policy)


def is_frontier(model: ModelUse, policy: Policy) -> bool:
    """By the policy; a model that it does not name is local: its weights were loaded here, or a server of one's own had them."""
    return any(known.name == model.name and known.tier == "frontier" for known in policy.models)


def classes(manifest: Manifest, policy: Policy) -> tuple[str, str]:
    """Declared and used cost class. A frontier model in the manifest is at least MED, whatever the manifest says was used."""
    used = manifest.cost_class.used
    if used == "low" and any(is_frontier(model, policy) for model in manifest.how.models):
        used = "med"
    return manifest.cost_class.declared, used


def above(used: str, declared: str) -> int:
    """How many classes `used` lies above `declared`."""
    return CLASSES.index(used) - CLASSES.index(declared)


def unjustified(manifest: Manifest) -> int:
    """MED and HIGH need a justification, HIGH a name and a date too: how many of these are missing."""
    declared = manifest.cost_class.declared
    missing = int(declared != "low" and not (manifest.justification or "").strip())
    authorization = manifest.authorization
    if declared == "high":
        missing += authorization is None or not authorization.by.strip()
        missing += authorization is None or not (authorization.date or "").strip()
    return missing


def unallowed(batch: Any, policy: Policy) -> int:
    """Frontier models in bulk without an authorized HIGH, or outside bulk for a model that the policy allows no purpose."""
    manifest = batch.manifest
    frontier = [
        known for known in policy.models if known.tier == "frontier" and known.name in {m.name for m in manifest.how.models}
    ]
    if manifest.origin == "ingested":
        return 0
    if is_bulk(batch, policy):
        authorized = manifest.cost_class.declared == "high" and unjustified(manifest) == 0
        return 0 if authorized else len(frontier)
    return sum(not known.purposes for known in frontier)
