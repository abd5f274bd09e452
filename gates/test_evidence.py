"""Batches exported from scored evidence: the firewall held, every sample traces back, every record is accounted for."""

from pytest_distill import gate
from pytest_distill.gates.measures import evidence

ALL = ["needs_human_review", "partially_accepted", "accepted"]


@gate("evidence.provenance", applies={"pipeline": ["export-rag", "export-sft", "export-preference"]}, rows="all")
def test_every_sample_traces_back(batch, manifest, sample_record, require):
    """Every sample names its source row with both digests, and its id is made of that row and its run."""
    pairs = ("rejected_provenance",) if manifest.how.pipeline == "export-preference" else ()
    require("samples without whole provenance", evidence.untraceable(sample_record, "provenance", *pairs), equals=0)
    require("samples whose id is not their rows'", evidence.misnamed(sample_record, manifest.how.pipeline), equals=0)
    require("ids that are used twice", evidence.repeated(batch.column("id")), equals=0)


@gate("evidence.sft-firewall", applies={"pipeline": "export-sft"}, rows="all")
def test_answers_come_from_accepted_runs(batch, manifest, require):
    """No answer comes from a rejected run or one for review; partially accepted ones only where the export says so."""
    allowed = ["accepted", *(["partially_accepted"] if manifest.how.parameters.get("include_partial") is True else [])]
    require("samples that are not accepted", evidence.outside(batch.column("quality_score"), allowed), equals=0)
    require("kept records whose score is not", evidence.leaked(evidence.candidates(batch), allowed), equals=0)


@gate("evidence.rag-firewall", applies={"pipeline": "export-rag"}, rows="all")
def test_no_rejected_run_is_retrieved(batch, manifest, require):
    """No document comes from a rejected run; those for review only where the export says so."""
    allowed = ALL if manifest.how.parameters.get("include_review") is True else ALL[1:]
    require("documents that are not accepted", evidence.outside(batch.column("source_category"), allowed), equals=0)
    require("kept records whose score is not", evidence.leaked(evidence.candidates(batch), allowed), equals=0)


@gate("evidence.pairs", applies={"pipeline": "export-preference"}, rows="all", limits={"max_pairs_per_task": 5})
def test_pairs_are_of_two_runs(batch, require, limits):
    """The two answers of a pair are of different runs and different texts, and no task is in too many pairs."""
    same_run = (batch.column("chosen_run_id") == batch.column("rejected_run_id")).sum()
    require("pairs of a run with itself", same_run, equals=0)
    require("pairs of one text", evidence.same_text(batch.column("chosen"), batch.column("rejected")), equals=0)
    tasks = batch.column("task_id").to_frame("chosen").with_columns(batch.column("rejected_task_id").alias("rejected"))
    require("most pairs of one task", evidence.most_pairs(tasks), at_most=limits.max_pairs_per_task)


@gate("evidence.accounting", applies={"pipeline": ["export-rag", "export-sft", "export-preference"]}, rows="all")
def test_every_record_is_accounted_for(batch, sample_record, require):
    """Kept records are the rows, every other one has a reason and its place, and the rows are those that were exported."""
    found = evidence.candidates(batch)
    kept = sum(each.get("status") == "kept" for each in found)
    require("rows that are not the kept records", abs(batch.all_rows - kept), equals=0)
    unexplained = evidence.unexplained(found)
    require("records turned away without a whole entry", len(unexplained), equals=0)
    declared = evidence.declared_timeless(batch)
    require("the rows are those that were exported", evidence.timeless(sample_record) == declared, equals=True)
