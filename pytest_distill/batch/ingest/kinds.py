"""Is this object a row of its kind? And which kind do these rows look like?"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pytest_distill.batch.ingest import chats
from pytest_distill.batch.ingest.records import Malformed
from pytest_distill.batch.write import RESERVED
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError

INGESTED_KINDS = tuple(REQUIRED_COLUMNS)
# A turn of a dialogue begins a line with who speaks: "Human:", "### Assistant:".
_SPEAKER = re.compile(r"(?m)^[#<|* \t]{0,8}[A-Z][A-Za-z ]{0,30}:")
_KNOWN_SHAPES = 4096
# What people call the columns that a kind needs, the commonest name first.
_OTHER_NAMES: dict[str, tuple[str, ...]] = {
    "instruction": ("prompt", "question", "query", "input"),
    "response": ("completion", "output", "answer", "target"),
    "chosen": ("accepted", "preferred", "better"),
    "rejected": ("refused", "dispreferred", "worse"),
    "content": ("document", "passage", "body"),
    "text": ("raw_text", "raw_content"),
}
_TURNS = ("messages", "conversations", "conversation", "turns")  # what people call a list of turns


class RowCheck:
    """Maps column names, makes a pair of the chat in the column `chat`, and checks a row against its kind's minimum."""

    def __init__(self, kind: str, mapping: Mapping[str, str], chat: str | None = None) -> None:
        self.kind = kind
        self.chat = chat
        self.required = REQUIRED_COLUMNS[kind]
        self._target = {source: target for target, source in mapping.items()}
        self.unseen = set(self._target)  # source columns of the mapping that no row had yet
        self._shapes: set[tuple[str, ...]] = set()

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row under its new names. Raises Malformed, or E-COLUMN when a mapped name is taken already."""
        if self._target:
            row = self._renamed(row)
        shape = tuple(row)
        if shape not in self._shapes:
            self._check_names(shape)
        if self.chat is not None:
            row = chats.with_pair(row, self.chat)
        for name in self.required:
            value = row.get(name, Malformed)
            if type(value) is not str:
                raise _not_text(name, value, shape)
        if "id" in row and type(row["id"]) not in (str, int, type(None)):
            raise Malformed(Reason.WRONG_TYPE, f"'id' is {_described(row['id'])}, neither text nor a whole number")
        if self.kind == "preference" and type(row.get("prompt")) is not str:
            _check_dialogue(row)
        return row

    def _renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        self.unseen.difference_update(row)
        renamed = {self._target.get(name, name): value for name, value in row.items()}
        if len(renamed) != len(row):
            both = next(
                target
                for source, target in self._target.items()
                if source in row and target in row and target not in self._target
            )
            hint = "Map the other one away too (--map old_name=…), or leave the mapping out."
            raise DistillError(
                Code.COLUMN, f"a column is mapped to {both!r}, and there are rows that have a {both!r} already", hint
            )
        return renamed

    def _check_names(self, shape: tuple[str, ...]) -> None:
        reserved = next((name for name in shape if name.startswith(RESERVED)), None)
        if reserved is not None:
            raise Malformed(
                Reason.RESERVED_FIELD, f"the name {reserved[:80]!r} is reserved: names that begin with {RESERVED} are ours"
            )
        if len(self._shapes) < _KNOWN_SHAPES:
            self._shapes.add(shape)


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Raises E-COLUMN for a mapping that cannot be: reserved, or one source for two columns."""
    sources = list(mapping.values())
    for target, source in mapping.items():
        if target.startswith(RESERVED):
            raise DistillError(
                Code.COLUMN, f"a column cannot be mapped to {target!r}", f"Names that begin with {RESERVED} are ours."
            )
        if sources.count(source) > 1:
            raise DistillError(Code.COLUMN, f"the column {source!r} is mapped twice", "One source column gives one column.")


def infer(rows: Iterable[dict[str, Any]], mapping: Mapping[str, str]) -> str:
    """The kind that most of these rows fit by their column names. Raises E-KIND when none does, or more than one equally well."""
    target = {source: name for name, source in mapping.items()}
    seen: dict[str, int] = {}
    count = 0
    for row in rows:
        count += 1
        for name in row:
            name = target.get(name, name)
            seen[name] = seen.get(name, 0) + 1
    usual = {name for name, times in seen.items() if 2 * times >= count}
    fitting = [kind for kind, names in REQUIRED_COLUMNS.items() if usual.issuperset(names)]
    # A pair of columns tells more than one: rows with an instruction and a response are sft, whatever `text` they also have.
    telling = [kind for kind in fitting if len(REQUIRED_COLUMNS[kind]) > 1] or fitting
    if len(telling) == 1:
        return telling[0]
    columns = ", ".join(repr(name[:40]) for name in list(seen)[:20])
    if telling:
        raise DistillError(Code.KIND, f"the rows could be {' or '.join(telling)} (columns: {columns})", "Say which: --kind KIND.")
    if turns := sorted(usual & set(_TURNS)):
        raise DistillError(
            Code.KIND,
            f"the rows hold conversations (column {turns[0]!r}), and no column says what is asked and what is answered",
            f"One question and one answer each: distill ingest FILE --id ID --chat {turns[0]}. Longer ones: give each row an "
            "instruction (what comes before the last answer) and a response (that answer), and ingest it with --kind sft; the "
            'page "Import your data" has the few lines of Python.',
        )
    need = "; ".join(f"{kind} needs {' and '.join(names)}" for kind, names in REQUIRED_COLUMNS.items())
    raise DistillError(Code.KIND, f"the rows fit no kind (columns: {columns})", f"{need}. Rename columns: {_likely(usual)}.")


def _likely(columns: set[str]) -> str:
    """The `--map` that these columns most likely want; an example where nothing is like it."""
    for kind, names in REQUIRED_COLUMNS.items():
        given = {name: next((c for c in (name, *_OTHER_NAMES[name]) if c in columns), None) for name in names}
        if all(given.values()):
            maps = (f"--map {name}={column}" for name, column in given.items() if name != column)
            return f"distill ingest FILE --id ID --kind {kind} {' '.join(maps)}"
    return "distill ingest FILE --id ID --kind sft --map instruction=YOURS --map response=YOURS, with the names of your columns"


def _not_text(name: str, value: Any, shape: tuple[str, ...]) -> Malformed:
    if value is Malformed:
        has = ", ".join(repr(other[:40]) for other in shape[:12]) or "nothing"
        return Malformed(Reason.MISSING_FIELD, f"has no {name!r} (it has {has})")
    return Malformed(Reason.WRONG_TYPE, f"{name!r} is {_described(value)}, not text")


def _described(value: Any) -> str:
    names = {dict: "an object", list: "an array", bool: "a boolean", int: "a number", float: "a number", str: "text"}
    return names.get(type(value), "null")


def _check_dialogue(row: dict[str, Any]) -> None:
    """A pair without a prompt has to begin with the same dialogue."""
    chosen, rejected = row["chosen"], row["rejected"]
    low, high = 0, min(len(chosen), len(rejected))
    while low < high:  # the longest common prefix, by bisection
        middle = (low + high + 1) // 2
        if chosen[low:middle] == rejected[low:middle]:
            low = middle
        else:
            high = middle - 1
    if not _SPEAKER.search(chosen, 0, low):
        if "prompt" in row:
            raise Malformed(Reason.WRONG_TYPE, f"'prompt' is {_described(row['prompt'])}, not text")
        raise Malformed(Reason.MISSING_FIELD, "has no 'prompt', and 'chosen' and 'rejected' do not begin with one dialogue")
