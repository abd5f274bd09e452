"""What derived rows come from."""

from pytest_distill import gate
from pytest_distill.gates.measures import lineage


@gate("lineage.generated", applies={"origin": ["derived"]}, rows="all")
def test_generated_ancestors_are_sealed(batch, require):
    """Rows made of generated ones leave only when those were sealed: another batch around them is no way past their gates."""
    ancestors = batch.ancestors()
    require("ancestors that are not in the workspace, or were changed", lineage.unknown(ancestors), equals=0)
    require("generated ancestors without a seal that holds", lineage.unsealed(ancestors), equals=0)
