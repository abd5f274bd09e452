"""Whether an output may be trusted so far as code can tell: no model is asked.

Length, turns of the prompt, hedges and disclaimers, overlap with what the retrieved documents say to check, and grounding: a
file path or a symbol that neither the bundle nor the task mentions was made up. The audit counts every claim that can be looked
up, figures too; those do not fail an output, because a right answer may compute one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pytest_distill.contracts.replay import Bundle, ReplayAudit, ReplayFinding, ReplayValidation
from pytest_distill.pipelines.stage1.prompts import holds_marker

_EXTENSIONS = (
    "c|cc|cfg|cpp|css|csv|db|go|h|hpp|html|ini|ipynb|java|js|json|jsonl|kt|lock|log|md|parquet|py|rb|rs|sh|sql|swift|toml|ts|tsx|txt"
    "|xml|yaml|yml"
)
_PART = r"[\w.@+-]{1,80}"
# Every pattern is linear: repetitions are bounded, or of one class of characters that cannot match what follows.
_PATH = re.compile(
    rf"(?<![\w./@+-])(?:[~/]?(?:{_PART}/){{1,16}}{_PART}|[\w-]{{1,80}}(?:\.[\w-]{{1,20}}){{0,3}}\.(?:{_EXTENSIONS}))(?!\w)"
)
_HAS_EXTENSION = re.compile(rf"\.(?:{_EXTENSIONS})$")
_SYMBOLS = re.compile(
    r"`([^`\n]{1,120})`"  # code in backticks
    r"|\b([A-Za-z_]\w{0,80}(?:::\w{1,80}){1,8})"  # module::name
    r"|\b([A-Za-z_]\w{0,80}\(\))"  # name()
    r"|\b([A-Za-z0-9]{1,40}(?:_[A-Za-z0-9]{1,40}){1,10})\b"  # snake_case
    r"|\b([A-Z][a-z0-9]{1,40}(?:[A-Z][a-z0-9]{0,40}){1,8})\b"  # CamelCase
    r"|\b([A-Z]{1,3}\d{3,12})\b"  # codes such as P99999
)
_FIGURE = re.compile(r"(?<![\w.])\d{1,15}(?:[.,]\d{1,15}){0,4}%|(?<![\w.])\d{1,15}\.\d{1,15}(?![\w.])")
_HEDGES = re.compile(
    r"(?i)\b(?:i(?:'m| am) not (?:entirely |completely |quite )?(?:sure|certain)"
    r"|i (?:think|believe|guess|assume) (?:that )?(?:it|this|the)\b"
    r"|it(?:'s| is) (?:possible|hard to say|difficult to say|unclear)|might (?:possibly|perhaps)|could (?:possibly|perhaps)"
    r"|without (?:more|further|additional) (?:context|information|details)|it depends on (?:many|several|various)"
    r"|(?:may|might) or (?:may|might) not|i would (?:need|have) to (?:see|know|check))"
)
_DISCLAIMERS = re.compile(
    r"(?i)\b(?:as an? (?:ai|artificial intelligence|(?:large )?language model)"
    r"|i(?:'m| am) (?:just |only )?an? (?:ai|language model)"
    r"|i (?:cannot|can't|can not|am unable to|do not have|don't have)"
    r" (?:access|browse|verify|help|assist|provide|the ability|real-time|any)"
    r"|my (?:training data|knowledge cutoff)"
    r"|consult (?:a|an|your) (?:qualified |professional )?(?:professional|expert|lawyer|doctor))"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_COMMON = frozenset(
    re.findall(
        r"\w+",
        "a an and any are as assert at be by check confirm ensure for from has have if in is it its no not of on or so that the "
        "their then there this to verify was were when where which will with",
    )
)


@dataclass(frozen=True)
class Limits:
    """Words of an output, and the share of the words of the checklist that it has to take up."""

    min_words: int = 3
    max_words: int = 400
    min_checklist: float = 0.1


def validate(output: str, task: str, bundle: Bundle, limits: Limits = Limits()) -> ReplayValidation:
    """The same output, task, bundle and limits give the same answer. Every reason is named, not only the first."""
    words = len(output.split())
    overlap = checklist_overlap(output, bundle)
    known = _known(task, bundle)
    paths, figures = list(dict.fromkeys(_names(output))), list(dict.fromkeys(_FIGURE.findall(output)))
    ungrounded = [name for name in paths if not _mentions(known, name)]
    invented = [figure for figure in figures if not _mentions(known, figure)]
    audit = ReplayAudit(
        claims=len(paths) + len(figures),
        grounded=len(paths) + len(figures) - len(ungrounded) - len(invented),
        ungrounded=(*ungrounded, *invented),
    )
    findings = tuple(_findings(output, words, overlap, ungrounded, limits))
    return ReplayValidation(passed=not findings, findings=findings, words=words, checklist_overlap=overlap, audit=audit)


def checklist_overlap(output: str, bundle: Bundle) -> float | None:
    """The share of the checklist's words that the output has; None without a checklist."""
    wanted = {word for step in bundle.validation_steps for word in _words(step)}
    return round(len(wanted & _words(output)) / len(wanted), 6) if wanted else None


def _findings(
    output: str, words: int, overlap: float | None, ungrounded: list[str], limits: Limits
) -> Iterator[ReplayFinding]:  # fmt: skip
    if not words:
        yield ReplayFinding(code="empty", found="", message="there is no text")
    elif words < limits.min_words:
        yield ReplayFinding(code="too_short", found=output, message=f"{words} words; at least {limits.min_words}")
    elif words > limits.max_words:
        yield ReplayFinding(code="too_long", found="", message=f"{words} words; at most {limits.max_words}")
    if holds_marker(output):
        yield ReplayFinding(code="marker", found="", message="the output goes on with turns or labels of the prompt")
    for found in _HEDGES.finditer(output):
        yield ReplayFinding(code="hedge", found=found[0], message="the output hedges instead of saying what is so")
    for found in _DISCLAIMERS.finditer(output):
        yield ReplayFinding(code="disclaimer", found=found[0], message="the output speaks of its author instead of the task")
    if words and overlap is not None and overlap < limits.min_checklist:
        message = f"{overlap:.0%} of the checklist's words are taken up; at least {limits.min_checklist:.0%}"
        yield ReplayFinding(code="checklist", found="", message=message)
    for name in ungrounded:
        message = "neither the task nor what was retrieved mentions it"
        yield ReplayFinding(code="hallucinated_file_path", found=name, message=message)


def _names(output: str) -> Iterator[str]:
    """File paths and symbols that an output names."""
    for found in _PATH.finditer(output):
        path = found[0].rstrip(".")
        # "and/or" and "yes/no" are prose: a path has an extension, begins at a root, or goes down at least twice.
        if _HAS_EXTENSION.search(path) or path[0] in "/~" or path.count("/") > 1:
            yield path
    for found in _SYMBOLS.finditer(output):
        name = next(group for group in found.groups() if group is not None).strip()
        if name:
            yield name.removesuffix("()")


def _known(task: str, bundle: Bundle) -> str:
    parts = [task, *bundle.validation_steps, *(f"{item.title}\n{item.content}" for item in bundle.items)]
    return "\n".join(parts).casefold()


def _mentions(known: str, name: str) -> bool:
    """Whether a text mentions a name, not merely as a part of a longer word."""
    folded, start = name.casefold(), 0
    while (at := known.find(folded, start)) >= 0:
        before, after = known[at - 1 : at], known[at + len(folded) : at + len(folded) + 1]
        if not (_is_word(before) and _is_word(folded[:1])) and not (_is_word(after) and _is_word(folded[-1:])):
            return True
        start = at + 1
    return False


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if word not in _COMMON}
