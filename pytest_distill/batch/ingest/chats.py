"""What `--chat COLUMN` takes: one question and one answer, as a list of turns. A longer chat is for its owner to cut."""

from __future__ import annotations

from typing import Any

from pytest_distill.batch.ingest.records import Malformed
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError

KIND = "sft"
_PAIR = ("instruction", "response")
_KEYS = (("role", "content"), ("from", "value"))  # as in OpenAI's messages, and in ShareGPT's conversations
_SPEAKERS = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant"}
_TAKEN = (("user", "assistant"), ("system", "user", "assistant"))


def with_pair(row: dict[str, Any], column: str) -> dict[str, Any]:
    """The row, its turns included, with `instruction` (what the system and the user say) and `response` (the assistant).

    Raises Malformed for anything but one user's and one assistant's turn, after a system's or none; E-COLUMN where the row has
    one of the two columns already.
    """
    taken = next((name for name in _PAIR if name in row), None)
    if taken is not None:
        raise DistillError(
            Code.COLUMN,
            f"there are rows with a column {taken!r} beside the chat in {column!r}",
            f"Leave --chat out, or map the column away: --map old_{taken}={taken}.",
        )
    if column not in row:
        raise Malformed(Reason.MISSING_FIELD, f"has no {column!r}")
    turns = row[column]
    if not isinstance(turns, list) or not turns:
        raise Malformed(Reason.WRONG_TYPE, f"{column!r} is no list of turns")
    said = [_turn(turn, f"turn {number} of {column!r}") for number, turn in enumerate(turns, 1)]
    speakers = tuple(speaker for speaker, _ in said)
    if speakers not in _TAKEN:
        shown = ", ".join(speakers[:6]) + (f" and {len(speakers) - 6:,} more" if len(speakers) > 6 else "")
        raise Malformed(Reason.WRONG_TYPE, f"{column!r} is not one question and one answer (it is {shown})")
    *before, (_, answer) = said
    return {**row, "instruction": "\n\n".join(text for _, text in before), "response": answer}


def _turn(turn: Any, place: str) -> tuple[str, str]:
    """Who speaks, and what. What else a turn holds would be lost on the way: a call of a tool, a picture, a weight."""
    keys = next((keys for keys in _KEYS if isinstance(turn, dict) and all(key in turn for key in keys)), None)
    if keys is None:
        raise Malformed(Reason.WRONG_TYPE, f"{place} has neither 'role' and 'content' nor 'from' and 'value'")
    more = next((name for name, value in turn.items() if name not in keys and value is not None), None)
    if more is not None:
        raise Malformed(Reason.WRONG_TYPE, f"{place} has {more[:40]!r} besides {keys[0]!r} and {keys[1]!r}")
    speaker, text = (turn[key] for key in keys)
    if not isinstance(speaker, str) or speaker not in _SPEAKERS:
        raise Malformed(Reason.WRONG_TYPE, f"{place} is said by {str(speaker)[:40]!r}, none of {', '.join(_SPEAKERS)}")
    if not isinstance(text, str):
        raise Malformed(Reason.WRONG_TYPE, f"{keys[1]!r} of {place} is not text")
    return _SPEAKERS[speaker], text
