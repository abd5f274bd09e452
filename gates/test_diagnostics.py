"""Figures of preprocessing that the policy promotes from a line in a log to a reason to reject."""

from pytest_distill import gate


@gate(
    "quality.diagnostics",
    rejects="diagnostic_over_bound",
    applies={"policy": "diagnostics.max", "pipeline": "preprocess", "kind": ["sft", "text"]},
)
def test_diagnostics(diagnostic_over, quarantine, answer_text):
    """Every figure of preprocessing that `[diagnostics.max]` bounds (toxicity, perplexity, …) is known and within its bound."""
    quarantine(diagnostic_over.is_not_null(), found=diagnostic_over, text=answer_text)
