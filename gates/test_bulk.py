"""The bulk contract: two tiers, models and cost as declared."""

from pytest_distill import gate
from pytest_distill.gates.measures import bulk


@gate("bulk.gold", applies={"origin": ["generated", "derived"]}, rows="all", fixed=True)
def test_generated_bulk_has_a_gold_set(batch, policy, gold_set, require):
    """Bulk that was generated, or made of other rows by a model, has a frozen gold set to match."""
    require("items", bulk.items(batch), at_least=0, unit="items")
    if bulk.is_bulk(batch, policy):
        require("frozen gold sets", 0 if gold_set is None else 1, at_least=1)


@gate("bulk.cost", rows="all")
def test_cost_is_as_declared(batch, policy, require):
    """No more was used than the declared cost class; MED has a justification, HIGH a named authorization with its date."""
    declared, used = bulk.classes(batch.manifest, policy)
    require("rows of the batch", batch.all_rows, at_least=0)
    require(f"cost classes used above the declared {declared}", max(0, bulk.above(used, declared)), equals=0)
    require("justifications that are missing", bulk.unjustified(batch.manifest), equals=0)


@gate("bulk.models", rows="all")
def test_frontier_models_have_a_reason(batch, policy, require):
    """Bulk is generated locally: a frontier model in it needs an authorized HIGH; elsewhere a purpose that the policy allows."""
    require("rows of the batch", batch.all_rows, at_least=0)
    require("frontier models that are not allowed here", bulk.unallowed(batch, policy), equals=0)
