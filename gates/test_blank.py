"""Fields that hold nothing."""

from pytest_distill import gate


@gate("text.blank", rejects="blank", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_no_blank_fields(blank_field, quarantine, full_text):
    """Required fields hold more than white space and characters that are drawn as nothing."""
    quarantine(blank_field.is_not_null(), found=blank_field + " is blank", text=full_text)


@gate("text.pseudo-empty", rejects="pseudo_empty", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_no_pseudo_empty_fields(pseudo_empty, quarantine, full_text):
    """No field says that it is empty ("N/A", "<noinput>", "[insert text]") where it should be so, or should not."""
    quarantine(pseudo_empty.is_not_null(), found=pseudo_empty, text=full_text)
