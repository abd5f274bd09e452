"""Code in answers."""

from pytest_distill import gate


@gate("code.syntax", rejects="code_syntax", applies={"kind": ["sft", "preference"]})
def test_code_parses(code_fault, quarantine, answer_text):
    """Python, JSON and TOML in answers parse."""
    quarantine(code_fault.is_not_null(), found=code_fault, text=answer_text)


@gate(
    "code.lint", rejects="code_lint", severity="warn", applies={"kind": ["sft", "preference"], "origin": ["ingested", "derived"]}
)
def test_code_is_free_of_errors(code_findings, quarantine, answer_text):
    """Python in answers uses no undefined names and makes no mistakes that ruff can tell (E9, F63, F7, F82)."""
    quarantine(code_findings.is_not_null(), found=code_findings, text=answer_text)


@gate("code.lint-generated", rejects="code_lint", applies={"kind": ["sft", "preference"], "origin": ["generated"]})
def test_generated_code_is_free_of_errors(code_findings, quarantine, answer_text):
    """Python in answers that were generated has no finding of `code.lint`: here it rejects."""
    quarantine(code_findings.is_not_null(), found=code_findings, text=answer_text)
