"""Batches made of evidence: every stage behind them left its receipt, and nothing came out otherwise than before."""

from pytest_distill import gate
from pytest_distill.gates.measures import receipts


@gate("receipts.chain", applies={"pipeline": ["export-rag", "export-sft", "export-preference"]}, rows="all")
def test_every_stage_left_a_receipt(batch, manifest, require):
    """Receipts lead from these bytes back to the streams; those of a run share its id and are what its summary says."""
    origin = batch.origin("collect")
    require("a stage has written these bytes", origin is not None, equals=True)
    for stage in ("collect", "score", manifest.how.pipeline):
        require(f"receipts of {stage}", receipts.of_stage(origin, stage), at_least=1)
    require("files that a stage read and none wrote", receipts.unwritten(origin), equals=0)
    require("receipts that are not of their run", receipts.foreign(origin), equals=0)


@gate(
    "receipts.skipped",
    applies={"pipeline": ["export-rag", "export-sft", "export-preference"]},
    rows="all",
    limits={"max_skipped_share": 0.05, "max_errors": 0},
)
def test_few_rows_were_skipped(batch, require, limits):
    """Of the rows that the streams hold few could not be read, and no stage ran into errors."""
    origin = batch.origin("collect")
    require("share of rows that were skipped", receipts.skipped_share(origin), at_most=limits.max_skipped_share)
    require("errors of the stages", receipts.errors(origin), at_most=limits.max_errors)


@gate("receipts.deterministic", applies={"pipeline": ["export-rag", "export-sft", "export-preference"]}, rows="all")
def test_the_same_input_gave_the_same_output(batch, require):
    """No stage behind this batch read the same as in the run before and left something else."""
    require("deterministic violations", receipts.violations(batch.origin("collect")), equals=0)


@gate("receipts.drift", severity="warn", applies={"pipeline": ["export-rag", "export-sft", "export-preference"]}, rows="all")
def test_no_figure_swung(batch, require):
    """No figure of a stage moved further against the run before than the policy's [drift] allows, and no error is new."""
    require("warnings of the drift reports", receipts.warnings(batch.origin("collect")), equals=0)
