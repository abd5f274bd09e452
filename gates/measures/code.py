"""Code in answers: whether it parses, and what a linter says of it."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import tomllib
import warnings
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from pytest_distill import Code, DistillError, measure, storage
from pytest_distill.measuring.candidates import examined

LARGEST = 200_000  # characters of a block that is parsed; the parser's memory is some hundred times its input
DEEPEST = 100  # open brackets, or steps of indentation, at which a block counts as unparsable rather than risk the parser's stack

# A fence may be indented, be longer than three signs and name a language; it ends with the same sign or with the text.
_FENCE = re.compile(
    r"^[ \t]{0,12}(?P<fence>`{3,20}|~{3,20})[ \t]*(?P<label>[A-Za-z0-9_+#.-]{0,30})[^\n`]*\n(?P<body>.*?)(?:^[ "
    r"\t]{0,12}(?P=fence)[`~]*[ \t]*$|\Z)",
    re.M | re.S,
)
_LANGUAGES = {
    "python": "python",
    "py": "python",
    "python3": "python",
    "json": "json",
    "toml": "toml",
    "pycon": "",
    "jsonc": "",
    "json5": "",
}
# An answer without fences is Python only if it begins as hardly anything else does and no line is of another language.
_PYTHON_START = re.compile(
    r"\A\s*(?:#!.*python.*\n)?(?:#[^\n!]*\n|\s*\n)*(?:def \w+\(.*\).*:\s*$|class \w+(?:\([\w., =]*\))?:\s*$|from [\w.]+ import |"
    r"import [\w.]+(?: as \w+)?(?:, ?[\w.]+)*\s*$)",
    re.M,
)
# Where the prompt speaks of Python, this is enough of a beginning.
_LIKELY_START = re.compile(
    r"\A\s*(?:#[^\n!]*\n|\s*\n)*(?:(?:async )?def |class |from |import |with .*:\s*$|for .* in .*:\s*$|print\(|[a-z_]\w* = |@\w)",
    re.M,
)
_ABOUT_PYTHON = re.compile(r"\bpython\b", re.I)
_OTHER_LANGUAGE = re.compile(
    r"[;{]\s*$|^\s*(?:(?:end|fi|done|esac)\s*$|}\s*(?:else|$)|func |function |var |let |const |public |private |package |using |"
    r"puts |require |<\w+|echo |SELECT |//)"
    r"|^\w+ :: |^main = |^\s*import \"|^\s*import [\w.]+\.\*|^\s*import .* from ['\"]|->\s*\w+\s*\{",
    re.M,
)
_PROSE_LINE = re.compile(r"^[A-Z][a-z']*,? [a-z][^\n=]{20,}[.:!]\s*$", re.M)
_SESSION = re.compile(r"^\s*(?:>>> |\.\.\. |In \[\d+\]:|\$ |% )", re.M)
_ELISION = re.compile(r"^\s*\.\.\.\s*$|\.\.\.\s*[,)\]}]|[({\[,]\s*\.\.\.|^\s*(?:#|//)\s*\.\.\.|…|<[a-z_ -]+>", re.M)


@dataclass(frozen=True)
class Block:
    language: str
    text: str


@measure(version=1)
def code_fault(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """Why code in an answer does not parse, as `language: message (line)`; null where all of it parses, or there is none.

    Judged: blocks fenced as Python, JSON or TOML, and whole answers that can only be Python. Spared: interactive sessions (>>>),
    elisions ("..." where code is left out), unlabelled fences, and languages without a parser at hand.
    """
    return examined(_fault, _may_hold_code(prompt_text, answer_text), prompt_text, answer_text)


@measure(version=1)
def code_findings(prompt_text: pl.Series, answer_text: pl.Series) -> pl.Series:
    """Findings of ruff's E9, F63, F7 and F82 (errors, not style) in the Python code of each answer that parses, first one first.

    One subprocess for all answers of a shard. Raises E-EXTRA-MISSING when the ruff binary is not installed.
    """
    rows = _may_hold_code(prompt_text, answer_text).arg_true()
    sources: dict[str, int] = {}
    found: list[str | None] = [None] * len(answer_text)
    with storage.scratch_folder() as folder:
        for row, prompt, answer in zip(rows, prompt_text.gather(rows), answer_text.gather(rows), strict=True):
            for number, block in enumerate(blocks(prompt, answer)):
                if block.language == "python" and parse_fault(block) is None and not _SESSION.search(block.text):
                    name = f"r{row}_{number}.py"
                    storage.write_scratch(folder / name, block.text.encode())
                    sources[name] = row
        for name, messages in (_lint(folder) if sources else {}).items():
            row = sources[name]
            found[row] = found[row] or messages[0]
    return pl.Series(found, dtype=pl.String)


def blocks(prompt: str, answer: str) -> list[Block]:
    """The blocks of code in an answer whose language is known: fenced ones, or the whole answer when it is plainly Python."""
    fenced = [Block(_LANGUAGES.get(m["label"].lower(), ""), _dedented(m["body"])) for m in _FENCE.finditer(answer)]
    if fenced:
        return [block for block in fenced if block.language]
    return [Block("python", answer)] if is_plainly_python(prompt, answer) else []


def is_plainly_python(prompt: str, answer: str) -> bool:
    """Begins as only Python does (or as code does, to a prompt about Python), with no line of another language or of prose."""
    begins = _PYTHON_START.search(answer[:2000]) or (_ABOUT_PYTHON.search(prompt) and _LIKELY_START.search(answer[:2000]))
    return bool(begins) and not (_OTHER_LANGUAGE.search(answer) or _PROSE_LINE.search(answer))


def parse_fault(block: Block) -> str | None:
    """What the parser says of a block, None when it parses. Nothing is executed; size and depth are bounded first."""
    if not block.text.strip() or _SESSION.search(block.text):
        return None
    if len(block.text) > LARGEST or _depth(block.text) > DEEPEST:
        return f"{block.language}: too large or too deeply nested to parse"
    problem = _PARSERS[block.language](block.text)
    return None if problem is None or _ELISION.search(block.text) else f"{block.language}: {problem}"


def _python_problem(text: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an escape such as "\d" is a warning of the compiler, not an error
            ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, SyntaxError) and _is_fragment(text):
            return None
        return _said(error)
    return None


def _is_fragment(text: str) -> bool:
    """Statements that are right inside a function: `return x`, `await y`, `yield z` on their own."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse("async def f():\n" + "\n".join("    " + line for line in text.splitlines()))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _json_problem(text: str) -> str | None:
    """Strict JSON, or JSON Lines."""
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and all(line.lstrip()[0] in "{[" and _json_problem(line) is None for line in lines):
            return None
        return _said(error)
    return None


def _toml_problem(text: str) -> str | None:
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return _said(error)
    return None


_PARSERS = {"python": _python_problem, "json": _json_problem, "toml": _toml_problem}


def _said(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"{error.msg} (line {error.lineno})"
    return str(error).splitlines()[0][:120] if str(error) else type(error).__name__


def _fault(prompt: str, answer: str) -> str | None:
    return next((fault for block in blocks(prompt, answer) if (fault := parse_fault(block)) is not None), None)


def _may_hold_code(prompts: pl.Series, answers: pl.Series) -> pl.Series:
    marked = answers.str.contains(r"```|~~~|(?m)^(?:def |class |from |import |#!)")
    return marked | (
        prompts.str.contains(r"(?i)\bpython\b") & answers.str.contains(r"(?m)^(?:with |for |print\(|async def |@\w|[a-z_]\w* = )")
    )


def _dedented(body: str) -> str:
    """A fence inside a list item is indented with its code; textwrap.dedent would take tabs and blanks apart."""
    lines = body.splitlines()
    margin = min((len(line) - len(line.lstrip(" ")) for line in lines if line.strip()), default=0)
    return "\n".join(line[margin:] for line in lines)


def _depth(text: str) -> int:
    """The most brackets open at once and the deepest indentation in steps: both cost the parser stack."""
    depth = deepest = 0
    for character in text:
        if character in "([{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in ")]}":
            depth = max(0, depth - 1)
    return max(deepest, max((len(line) - len(line.lstrip()) for line in text.splitlines()), default=0) // 4)


@functools.cache
def _ruff() -> str:
    try:
        from ruff import find_ruff_bin

        return str(find_ruff_bin())
    except (ImportError, FileNotFoundError) as error:
        raise DistillError(Code.EXTRA, "the linter ruff is not installed", "pip install ruff") from error


def _lint(folder: Path) -> dict[str, list[str]]:
    """Messages per file name. Raises E-MEASURE when ruff itself failed."""
    command = [
        _ruff(),
        "check",
        "--select",
        "E9,F63,F7,F82",
        "--isolated",
        "--no-cache",
        "--quiet",
        "--target-version",
        "py313",
        "--output-format",
        "json",
        ".",
    ]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=600, check=False)
    if done.returncode not in (0, 1):
        raise DistillError(
            Code.MEASURE, f"ruff failed: {done.stderr.decode('utf-8', 'replace')[:200]}", "Is the installation whole?"
        )
    messages: dict[str, list[str]] = defaultdict(list)
    findings: list[dict[str, Any]] = json.loads(done.stdout)
    for item in sorted(findings, key=lambda f: (f["filename"], f["location"]["row"], f["location"]["column"])):
        messages[Path(item["filename"]).name].append(
            f"{item['code'] or 'syntax'}: {item['message']} (line {item['location']['row']})"
        )
    return messages
