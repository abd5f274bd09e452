"""What a manifest says of models, cost and how it can be made again, against what the policy says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_distill.policy import allowance
from pytest_distill.policy.bulk import is_bulk_batch, is_generated, is_generated_bulk, is_made, items_of

if TYPE_CHECKING:
    from pytest_distill.contracts.manifest import CostName, Manifest, ModelUse
    from pytest_distill.policy.model import Policy


def items(batch: Any) -> int:
    """How many items a batch is about: its rows, or what was planned where that is more."""
    return items_of(batch.manifest, batch.all_rows)


def wants_gold(batch: Any, policy: Policy) -> bool:
    """Whether it is bulk that has to match a gold set: rows were made, and not only labels."""
    return is_generated_bulk(batch.manifest, batch.all_rows, policy)


def is_bulk(batch: Any, policy: Policy) -> bool:
    """Whether the batch is the outcome of a bulk task, by the policy."""
    return is_bulk_batch(batch.manifest, batch.all_rows, policy)


def frontier(manifest: Manifest, policy: Policy) -> list[ModelUse]:
    """The frontier models that had a part in it."""
    return [model for model in manifest.how.models if allowance.tier(policy, model.name) == "frontier"]


def classes(manifest: Manifest, policy: Policy) -> tuple[CostName, CostName]:
    """Declared and used cost class. Used is what the meters say, or what the manifest admits where that is more."""
    said, metered = manifest.cost_class.used, allowance.used_class(policy, manifest.how.models)
    return manifest.cost_class.declared, said if allowance.above(said, metered) > 0 else metered


def above(manifest: Manifest, policy: Policy) -> int:
    """How many classes above the declared one were used."""
    declared, used = classes(manifest, policy)
    return max(0, allowance.above(used, declared))


def unmetered(manifest: Manifest, policy: Policy) -> int:
    """Frontier models of a batch that was made here, without a meter's figures: nobody knows what they cost."""
    return sum(model.usage is None for model in frontier(manifest, policy)) if is_made(manifest) else 0


def unjustified(manifest: Manifest) -> int:
    """MED and HIGH need a justification, HIGH a name and a date too: how many of these are missing."""
    return len(allowance.missing_for(manifest.cost_class.declared, manifest.justification, manifest.authorization))


def unallowed(batch: Any, policy: Policy) -> int:
    """Frontier models in bulk without an authorized HIGH; outside bulk those whose purpose the policy does not allow."""
    manifest = batch.manifest
    if manifest.origin == "ingested":
        return 0
    found = frontier(manifest, policy)
    if is_bulk(batch, policy):
        authorized = manifest.cost_class.declared == "high" and unjustified(manifest) == 0
        return 0 if authorized else len(found)
    allowed = {model.name: entry.purposes for model in found if (entry := allowance.known(policy, model.name))}
    return sum(model.purpose not in allowed[model.name] for model in found)


def not_reproducible(manifest: Manifest) -> list[str]:
    """What a batch that was made here does not say, and has to if it shall be made again."""
    if not is_generated(manifest):
        return []
    missing = [name for name in ("spec_version", "spec_sha256") if not getattr(manifest, name)]
    if manifest.how.models and manifest.seed is None:
        missing.append("seed")
    missing += [
        f"revision of {model.name}"
        for model in manifest.how.models
        if not model.revision.strip() or (model.weights_sha256 is None and model.revision == "served")
    ]
    if manifest.counts.planned is None and manifest.counts.kept == 0:
        missing.append("output count")
    return missing


def not_recorded(batch: Any) -> list[str]:
    """What the audit trail of rows that were made here lacks: what they are, why they exist, and when they were made."""
    manifest = batch.manifest
    if not is_generated(manifest):
        return []
    missing = [name for name in ("what", "why") if getattr(manifest, name).strip() in ("", "not stated")]
    return missing if batch.made_at is not None else [*missing, "date and time"]
