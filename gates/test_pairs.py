"""Preference pairs."""

from pytest_distill import gate


@gate("pairs.distinct", rejects="same_pair", applies={"kind": ["preference"]})
def test_pairs_differ(same_pair, quarantine, answer_text):
    """The chosen and the rejected answer differ in more than white space and case."""
    quarantine(same_pair.is_not_null(), found=same_pair, text=answer_text)
