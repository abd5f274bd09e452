"""Rows expected against rows present."""

from pytest_distill import gate


@gate("counts.rows", limits={"min_rows": 1, "max_ingest_rejected_share": 0.0, "max_missing_share": 0.0})
def test_rows_are_all_there(batch, manifest, require, limits):
    """Rows remain, as many as were planned were kept, and ingest rejected no more than the policy allows."""
    counts = manifest.counts
    require("rows remaining", batch.rows, at_least=limits.min_rows, unit="rows")
    require("rows in the batch", batch.all_rows, equals=counts.kept, unit="rows")
    rejected = counts.quarantined / counts.read if counts.read else None
    require("share of rows rejected at ingest", rejected, at_most=limits.max_ingest_rejected_share)
    if counts.planned is not None:
        missing = 1 - min(1.0, counts.kept / counts.planned) if counts.planned else 0.0
        require("share of planned rows missing", missing, at_most=limits.max_missing_share)
