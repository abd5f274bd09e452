"""Answers that refuse what should have been answered."""

from pytest_distill import gate


@gate("answer.refusal", rejects="refusal", applies={"kind": ["sft"]})
def test_no_undue_refusals(refusal, refusal_is_due, quarantine, answer_text):
    """No answer refuses, unless its row says that a refusal is due (a column `refusal_expected` that is true)."""
    quarantine(refusal.is_not_null() & ~refusal_is_due, found=refusal, text=answer_text)
