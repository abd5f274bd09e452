"""Ids of rows."""

from pytest_distill import gate


@gate("ids.unique", rejects="duplicate_id", applies={"columns": ["id"]})
def test_ids_are_unique(repeated_id, quarantine):
    """Every row has an id, and no two rows have the same; the first row with an id stays."""
    quarantine(repeated_id.is_not_null(), found=repeated_id)
