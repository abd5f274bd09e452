"""Answers that end too early or too late."""

from pytest_distill import gate


@gate("answer.truncated", rejects="truncated", applies={"kind": ["sft", "preference"]})
def test_no_truncated_answers(truncated_end, quarantine, answer_text):
    """No answer stops before its end; short answers are not truncated for being short."""
    quarantine(truncated_end.is_not_null(), found=truncated_end, text=answer_text)


@gate("answer.runaway", rejects="runaway", applies={"kind": ["sft", "preference"]})
def test_no_runaway_answers(runaway_line, quarantine, answer_text):
    """No answer goes on to another task; long answers are not runaways for being long."""
    quarantine(runaway_line.is_not_null(), found=runaway_line, text=answer_text)
