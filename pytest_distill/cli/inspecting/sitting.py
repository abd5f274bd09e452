"""One sitting of an inspection, without a screen: where one is, what was said, undo. A decision is on disk when it returns."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

from pytest_distill import clock
from pytest_distill.contracts.inspection import Decision, Inspection, Judgement
from pytest_distill.policy.sampling_plan import SamplingPlan
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.inspection import record, withdraw

Filter = Literal["all", "open", "good", "bad", "unsure"]
FILTERS: Final[tuple[Filter, ...]] = get_args(Filter)
MOST_SECONDS: Final = 600.0  # a row that lay open over lunch did not take an hour


@dataclass
class Sitting:
    """`rows` are what is shown of each row drawn, in the batch's order; `place` is the position among them."""

    workspace: Workspace
    rows: Sequence[dict[str, Any]]
    inspection: Inspection
    plan: SamplingPlan
    who: str
    place: int = 0
    shown: Filter = "all"
    _said: list[tuple[int, Decision | None]] = field(default_factory=list)  # place, and what stood there before
    _since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.to_open()

    @property
    def row(self) -> dict[str, Any]:
        return self.rows[self.place]

    @property
    def decision(self) -> Decision | None:
        return self._of(self.place)

    def _of(self, place: int) -> Decision | None:
        row = self.rows[place]["row"]
        return next((said for said in self.inspection.decisions if said.row == row), None)

    def matches(self, place: int) -> bool:
        said = self._of(place)
        return self.shown == "all" or (said.judgement if said else "open") == self.shown

    def go(self, place: int) -> None:
        self.place = place
        self._since = time.monotonic()

    def move(self, step: int) -> bool:
        """To the next row in that direction that the filter shows; False where there is none."""
        place = self.place + step
        while 0 <= place < len(self.rows):
            if self.matches(place):
                self.go(place)
                return True
            place += step
        return False

    def to_open(self) -> bool:
        """To the next row that nobody has judged, round the end; False where there is none."""
        for step in range(len(self.rows)):
            place = (self.place + step) % len(self.rows)
            if self._of(place) is None:
                self.go(place)
                return True
        return False

    def next_filter(self) -> None:
        """The next filter; the place moves to the first row that it shows, where it does not show this one."""
        self.shown = FILTERS[(FILTERS.index(self.shown) + 1) % len(FILTERS)]
        if not self.matches(self.place):
            fitting = [place for place in range(len(self.rows)) if self.matches(place)]
            if fitting:
                self.go(fitting[0])

    def decide(self, judgement: Judgement, reason: str = "") -> None:
        """Says it, durably, and goes to the next row that nobody has judged."""
        before = self.decision
        seconds = round(min(time.monotonic() - self._since, MOST_SECONDS), 1)
        said = Decision(
            row=self.row["row"], judgement=judgement, reason=reason, who=self.who, at=clock.timestamp(), seconds=seconds
        )
        self.inspection = record(self.workspace, self.inspection, [said])
        self._said.append((self.place, before))
        self.to_open()

    def undo(self) -> bool:
        """Takes back what was said last in this sitting, durably, and shows that row; False where nothing was."""
        if not self._said:
            return False
        place, before = self._said.pop()
        if before is None:
            self.inspection = withdraw(self.workspace, self.inspection, self.rows[place]["row"], who=self.who)
        else:
            self.inspection = record(self.workspace, self.inspection, [before])
        self.go(place)
        return True

    def progress(self) -> str:
        """One line for people: how far, what was said, what the plan still allows, and how long a row takes."""
        found = self.inspection
        done = len(found.decisions)
        times = [said.seconds for said in found.decisions if said.seconds is not None]
        pace = f" · {sum(times) / len(times):.0f} s a row" if times else ""
        left = self.plan.accept - found.defects
        allowed = f"{left} more {'defect' if left == 1 else 'defects'} allowed" if left >= 0 else "more defects than allowed"
        said = " ".join(f"{found.count(word)} {word}" for word in get_args(Judgement))
        return f"{done} of {len(self.rows)} judged · {said} · {allowed}{pace}"
