"""The contamination firewall's second layer: what an exporter looks at before it makes a sample of a record.

The first layer are the models of `contracts.evidence`, which cannot express a sample of a rejected run. Neither relies on the
other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pytest_distill.contracts.evidence import EvidenceRecord, Exporter
from pytest_distill.contracts.quarantine import Reason

# Categories that never become a sample, whatever the options say.
SFT_NEVER = frozenset({"rejected", "needs_human_review"})
RAG_NEVER = frozenset({"rejected"})
SFT_ROLES = frozenset({"executor", "applier"})
_ANSWERS = ("model_role", "observer_verdict", "success_markers", "failure_markers", "source_class")

_PLACEHOLDER = re.compile(
    r"(?<![\w>)\]:&])<([a-z][a-z_ -]{2,40})>"
    r"|\{\{ ?[a-z][\w .-]{0,40} ?\}\}"
    r"|\[(?:INSERT|YOUR|TODO)\b[^\]\n]{0,60}\]"
)
# Names of HTML and of reasoning markup; anything else in angle brackets that is never closed was to be filled in.
_MARKUP = re.compile(
    "abbr|address|article|aside|body|button|canvas|caption|center|cite|code|col|del|details|div|fieldset|figure|font|footer|form|head"
    "|header|html|iframe|img|input|ins|kbd|label|legend|link|main|mark|meta|nav|option|output|param|pre|script|section|select|small"
    "|source|span|strong|style|sub|summary|sup|svg|table|tbody|template|textarea|tfoot|thead|think|time|title|var|video"
)
_PATH = re.compile(r"(?<![\w/.:@-])(?:[\w.-]{1,60}/){1,12}[\w-]{1,80}\.[A-Za-z]{1,5}(?![\w/])")


class Refusal(NamedTuple):
    """Why a record becomes no sample: one of the eleven reasons, and what is the matter with this one."""

    reason: Reason
    message: str


def of_source(row: dict[str, Any]) -> Refusal | None:
    """What a scored row, as it was read, lacks before anything else is looked at."""
    if not isinstance(row.get("provenance"), dict):
        return Refusal(Reason.MISSING_PROVENANCE, "the row does not say where it comes from")
    if not str(row.get("evidence_run_id") or "").strip():
        return Refusal(Reason.MISSING_SOURCE_RUN_ID, "the row names no run")
    return None


def of_category(exporter: Exporter, category: Any, *, optional: bool) -> Refusal | None:
    """Categories that are never let through, and those that need the exporter's option (`optional`)."""
    if exporter == "export-rag":
        if category in RAG_NEVER:
            return Refusal(Reason.UNSAFE_RAG_CATEGORY, f"{category} runs are never retrieved")
        if category == "needs_human_review" and not optional:
            return Refusal(Reason.CATEGORY_DISALLOWED, "runs that need a human are left out without --include-review")
    elif exporter == "export-sft":
        if category in SFT_NEVER:
            return Refusal(Reason.UNSAFE_SFT_CATEGORY, f"{category} runs are never trained on")
        if category == "partially_accepted" and not optional:
            return Refusal(Reason.CATEGORY_DISALLOWED, "partially accepted runs are left out without --include-partial")
    return None


def of_role(record: EvidenceRecord) -> Refusal | None:
    """Answers are taken from who did the work, and from reviewers whose review has a verdict."""
    values = {name: getattr(record, name) for name in _ANSWERS}
    if gives_answers(values):
        return None
    return Refusal(
        Reason.CATEGORY_DISALLOWED, f"{record.model_role or 'no'} role with no verdict of its own is no answer to train on"
    )


def gives_answers(values: dict[str, Any]) -> bool:
    """Whether a record, as its fields, is of a role whose text is an answer: executor, applier, reviewer with a verdict."""
    role = values.get("model_role")
    decided = values.get("observer_verdict") or values.get("success_markers") or values.get("failure_markers")
    return role in SFT_ROLES or (role == "reviewer" and bool(decided) and values.get("source_class") != "extraction")


def of_text(record: EvidenceRecord, known_files: frozenset[str] = frozenset()) -> Refusal | None:
    """Texts that are empty, hold a placeholder, or name files that nothing vouches for."""
    text = record.text or ""
    if not text.strip():
        return Refusal(Reason.EMPTY_CONTENT, "there is no text")
    if found := placeholder(text):
        return Refusal(Reason.SCHEMA_VIOLATION, f"a template's placeholder was left in the text: {found}")
    if strangers := unknown_paths(record, known_files):
        return Refusal(Reason.HALLUCINATED_FILE_PATH, f"{strangers[0]} is named, and nothing the run was given knows it")
    return None


def placeholder(text: str) -> str | None:
    """The first unfilled place of a template, such as <contractor>; markup and generics of code are none."""
    for found in _PLACEHOLDER.finditer(text):
        name = found[1]
        if name is None or (_MARKUP.fullmatch(name) is None and f"</{name}>" not in text):
            return found[0]
    return None


def unknown_paths(record: EvidenceRecord, known_files: frozenset[str]) -> list[str]:
    """File paths in the text that are neither in what the run was given nor among `known_files`.

    Where the run was given no context and no list of files is known, nothing can be said, and nothing is.
    """
    if record.retrieved_context is None and not known_files:
        return []
    text = record.text or ""
    if "/" not in text:
        return []
    given = "\n".join(filter(None, (record.file, record.instruction, record.retrieved_context)))
    return [path for path in dict.fromkeys(_PATH.findall(text)) if not _known(path.lstrip("./"), given, known_files)]


def _known(path: str, given: str, known_files: Iterable[str]) -> bool:
    bare = path.removeprefix("a/").removeprefix("b/")  # as a patch names it
    return bare in given or bare in known_files or path in known_files
