"""Scaffolding of the generation left in answers."""

from pytest_distill import gate


@gate("text.delimiter-leak", rejects="delimiter_leak", fixed=True, applies={"kind": ["sft", "preference"]})
def test_no_delimiter_leak(delimiter_leak, quarantine, answer_text):
    """No answer holds the few-shot delimiter, a fragment of it, or a marker of the policy; there is no allowance."""
    quarantine(delimiter_leak.is_not_null(), found=delimiter_leak, text=answer_text)


@gate("text.template-leak", rejects="template_leak", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_no_template_leak(template_leak, quarantine, answer_text):
    """No answer holds control tokens, evaluators' labels or turns of a prompt template."""
    quarantine(template_leak.is_not_null(), found=template_leak, text=answer_text)


@gate("text.placeholder", rejects="placeholder", applies={"kind": ["sft", "preference", "rag"]})
def test_no_placeholders(placeholder, quarantine, answer_text):
    """No answer holds a placeholder that nobody filled in, unless the prompt asks for a template."""
    quarantine(placeholder.is_not_null(), found=placeholder, text=answer_text)
