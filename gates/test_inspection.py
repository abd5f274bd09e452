"""What people saw who looked at some of the rows."""

from pytest_distill import gate


@gate(
    "inspection.spot-check", applies={"policy": "inspection.rows"}, rows="all", limits={"max_bad_rows": 0, "max_unsure_rows": 2}
)
def test_people_looked_at_some_rows(batch, policy, require, limits):
    """As many rows as the policy asks for, drawn by the batch's digest, were looked at, and none of them was bad."""
    inspection = batch.inspection()
    wanted = min(policy.inspection.rows, batch.all_rows)
    require("rows that were looked at", len(inspection.rows) - len(inspection.open), at_least=wanted, unit="rows")
    require("drawn rows that nobody has looked at", len(inspection.open), equals=0, unit="rows")
    require("rows called bad", inspection.count("bad"), at_most=limits.max_bad_rows, unit="rows")
    require("rows that people were unsure of", inspection.count("unsure"), at_most=limits.max_unsure_rows, unit="rows")
