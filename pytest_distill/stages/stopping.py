"""SIGINT and SIGTERM during a run: the unit at work is finished and stored, then the command ends with 130 or 143."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Stop:
    """Asked between units: `check` ends the run once a signal came. A second signal does not wait for the unit."""

    def __init__(self) -> None:
        self.signal: int | None = None

    @property
    def requested(self) -> bool:
        return self.signal is not None

    def check(self) -> None:
        """Raises SystemExit with 128 + the signal's number when the run was told to stop."""
        if self.signal is not None:
            raise SystemExit(128 + self.signal)

    def _told(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the shape of a signal handler
        if self.signal is not None:
            raise SystemExit(128 + number)
        self.signal = number


@contextlib.contextmanager
def stopping() -> Iterator[Stop]:
    """Takes the two signals over until it is left, in the main thread only (as Python wants it)."""
    stop = Stop()
    before = {number: signal.signal(number, stop._told) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
