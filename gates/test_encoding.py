"""Text that was decoded wrongly or hides characters."""

from pytest_distill import gate


@gate("text.encoding", rejects="encoding", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_encoding(encoding_fault, quarantine, whole_text):
    """No control, replacement or hidden characters, and no UTF-8 that was read as another encoding."""
    quarantine(encoding_fault.is_not_null(), found=encoding_fault, text=whole_text)
