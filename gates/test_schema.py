"""Rows as records."""

from pytest_distill import gate


@gate("schema.record", rejects="schema", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_rows_are_records(record_fault, quarantine):
    """Every row is a record of the batch's kind, and its critics' figures agree with each other."""
    quarantine(record_fault.is_not_null(), found=record_fault)


@gate("schema.json", rejects="schema", applies={"policy": "record_schema.path"})
def test_rows_satisfy_the_schema(schema_fault, quarantine):
    """Every row satisfies the workspace's own JSON Schema."""
    quarantine(schema_fault.is_not_null(), found=schema_fault)
