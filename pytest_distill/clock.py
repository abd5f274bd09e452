"""The one door for clocks. Times are stored beside what is hashed, never inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

from pytest_distill.errors import Code, DistillError

_pinned: datetime | None = None


def pin(text: str) -> None:
    """Pins the injected clock (`--now`). `text` is ISO 8601 with a zone, such as 2026-01-31T12:00:00Z."""
    global _pinned
    try:
        value = datetime.fromisoformat(text)
    except ValueError as error:
        raise DistillError(Code.USAGE, f"--now {text!r} is no ISO 8601 time", "Example: 2026-01-31T12:00:00Z") from error
    if value.tzinfo is None:
        raise DistillError(Code.USAGE, f"--now {text!r} has no time zone", "Add one, such as a final Z.")
    _pinned = value.astimezone(UTC)


@contextlib.contextmanager
def pinned(text: str) -> Iterator[None]:
    """The clock stands at that time, until the block is left."""
    global _pinned
    before = _pinned
    pin(text)
    try:
        yield
    finally:
        _pinned = before


def now() -> datetime:
    """The run's time in UTC, to the second."""
    return (_pinned or datetime.now(UTC)).replace(microsecond=0)


def timestamp() -> str:
    """`now()` as 2026-01-31T12:00:00Z."""
    return now().strftime("%Y-%m-%dT%H:%M:%SZ")
