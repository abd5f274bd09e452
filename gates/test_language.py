"""Rows in a language nobody asked for."""

from pytest_distill import gate


@gate("text.language", rejects="language", applies={"kind": ["sft", "preference", "rag", "text"]})
def test_language(language_confidence, language_guess, quarantine, policy, full_text):
    """Rows are in one of the allowed languages; what has no language of its own ("4", code, a name) is spared."""
    other = (language_confidence < policy.language.min_confidence).fill_null(value=False)
    quarantine(other, found="language: " + language_guess.struct.field("code"), text=full_text)


@gate("language.decided", limits={"min_share": 0.0}, applies={"kind": ["sft", "preference", "rag", "text"]})
def test_language_is_known(language_guess, require, limits):
    """Reports the share of rows whose language can be told, and the share of each language; bounded when the policy says so."""
    code = language_guess.struct.field("code")
    require("share of rows whose language is known", code.is_not_null().mean(), at_least=limits.min_share)
    counted = code.drop_nulls().value_counts(sort=True).sort(["count", "code"], descending=[True, False]).head(10)
    for name, count in counted.rows():
        require(f"share in {name}", count / len(code), at_least=0.0)
