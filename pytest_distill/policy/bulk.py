"""What the bulk contract asks before anything is made: which tasks are bulk, and that bulk has two tiers.

Both ends ask here: a run before its first row, and the gates when a batch is judged.
"""

from __future__ import annotations

from pytest_distill.contracts.manifest import Manifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import gold
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace


def is_bulk(items: int, policy: Policy, *, repeats: bool = False) -> bool:
    """Whether a task of so many items is bulk: 51 are and 50 are not, unless the policy says less. Going over the items of a
    dataset (`repeats`) is bulk whatever their number."""
    return repeats or items > policy.bulk.max_items


def items_of(manifest: Manifest, rows: int) -> int:
    """How many items a batch is about: its rows, or what was planned where that is more."""
    return max(rows, manifest.counts.planned or 0)


def is_generated(manifest: Manifest) -> bool:
    """Whether rows were made here: out of nothing, or by a model out of other rows. Labels make no row."""
    return is_made(manifest) and manifest.bulk_kind != "labelling"


def is_made(manifest: Manifest) -> bool:
    """Whether something of it was made here: rows, or what a model says of rows."""
    return manifest.origin == "generated" or (manifest.origin == "derived" and bool(manifest.how.models))


def is_bulk_batch(manifest: Manifest, rows: int, policy: Policy) -> bool:
    """Whether a batch came of a bulk task. What was made out of other rows was made by repeating something over them."""
    return is_made(manifest) and is_bulk(items_of(manifest, rows), policy, repeats=manifest.origin == "derived")


def is_generated_bulk(manifest: Manifest, rows: int, policy: Policy) -> bool:
    """Whether rows were made in bulk, which wants a gold set and an inspection. Labels are bulk for models and cost alone."""
    return is_generated(manifest) and is_bulk_batch(manifest, rows, policy)


def refuse_single_tier(workspace: Workspace, items: int, *, repeats: bool = False) -> None:
    """Raises E-GOLD where a task is bulk and the workspace has no frozen gold set for its output to match."""
    if is_bulk(items, workspace.policy, repeats=repeats) and gold.frozen(workspace) is None:
        what = "what goes over a dataset" if repeats else f"more than {workspace.policy.bulk.max_items} items"
        raise DistillError(
            Code.GOLD,
            f"{what} is bulk, and there is no frozen gold set that it has to match",
            "distill gold add FILE --who WHO, then distill gold freeze.",
        )
