"""A shard from its first unit to its last: made in order of number, stored as they come, stopped between them."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from pytest_distill.contracts.manifest import Usage
from pytest_distill.contracts.stage1_run import Plan, Unit, UnitEntry
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.metering import RESUME, Limits, Meter
from pytest_distill.pipelines.stage1.deciding import Tally
from pytest_distill.pipelines.stage1.makers import Makers, worker_died
from pytest_distill.pipelines.stage1.shards import Shard
from pytest_distill.stages.stopping import Stop

# A run is hopeless when, this many units in, it takes more than that many candidates for a row.
PATIENCE: Final = 4
MOST_PER_ROW: Final = 20

Watch = Callable[["Shard", Tally], None]


@dataclass
class Making:
    """The work on shards: what is shared by those that are made at the same time, each on a device of its own.

    `meter` counts the model; what other processes make is added to it here, where `elsewhere` says that they do.
    """

    stop: Stop
    limits: Limits
    watch: Watch
    meter: Meter
    elsewhere: bool
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _spent: Usage = field(default_factory=Usage)
    _largest: Usage = field(default_factory=Usage)
    _ended: BaseException | None = None

    def make(self, shard: Shard, plan: Plan, makers: Makers, wanted: int) -> None:
        """Makes units until `wanted` new pairs are accepted, and writes the shard's manifest.

        Raises SystemExit when a signal came, E-BUDGET, E-YIELD, and what making a unit raises. Units that are finished by then
        are stored.
        """
        tally, entries = Tally(wanted, plan.recipe.similarity), []
        try:
            with contextlib.closing(self._units(shard, plan, makers, tally)) as units:
                for unit in units:
                    tally.add(unit.prospects)
                    entries.append(shard.entry(unit))
                    with self._lock:
                        self.watch(shard, tally)
                    _refuse_hopeless(shard, tally, entries)
        except BaseException as error:
            self._ended = self._ended or error  # the other shards' work ends too
            raise
        shard.finish(plan, wanted, tuple(entries))

    def _units(self, shard: Shard, plan: Plan, makers: Makers, tally: Tally) -> Generator[Unit, None, None]:
        """The shard's units in order, while there are not enough pairs: from disk, or made, some of them ahead of their turn."""
        pending: dict[int, Future[bytes]] = {}
        try:
            for number in shard.numbers():
                if tally.enough():
                    return
                if not shard.has(number):
                    self._order(shard, number, makers, pending)
                    self._store(shard, pending.pop(number))
                unit = shard.unit(number, plan)
                self._note(unit)
                yield unit
        finally:
            self._drain(shard, pending)

    def _order(self, shard: Shard, number: int, makers: Makers, pending: dict[int, Future[bytes]]) -> None:
        """Has unit `number` made, and those that follow while makers are free."""
        ahead = (n for n in range(number, number + shard.shards * 10_000, shard.shards) if not shard.has(n))
        for wanted in islice(ahead, makers.width):
            if wanted not in pending:
                if pending and self.limits.bounded and not self._largest.calls:
                    return  # how much a unit takes is not known yet, and what is ordered will be made
                self._check(len(pending))
                pending[wanted] = makers.submit(wanted)

    def _check(self, ordered: int) -> None:
        """Raises E-BUDGET when one more unit, besides those that are `ordered`, may not fit any more."""
        self.stop.check()
        if self._ended is not None:
            raise self._ended
        with self._lock:
            spent = self._spent
            for _ in range(ordered):
                spent = spent.plus(self._largest)
            why = self.limits.exceeded(spent, self._largest)
        if why is not None:
            raise DistillError(Code.BUDGET, f"stopped: {why}", RESUME)

    def _store(self, shard: Shard, future: Future[bytes]) -> None:
        try:
            data = future.result()
        except BrokenExecutor as error:
            self.stop.check()
            raise worker_died() from error
        self._keep(shard, data)

    def _keep(self, shard: Shard, data: bytes) -> None:
        unit = Unit.from_bytes(data, name="a unit")
        shard.store(unit)
        if self.elsewhere:
            self.meter.add(unit.calls, unit.tokens_read, unit.tokens_written, 0.0)

    def _drain(self, shard: Shard, pending: dict[int, Future[bytes]]) -> None:
        """Stores what was ordered ahead and is at work already; what was not begun is not begun any more."""
        for future in pending.values():
            if not future.cancel() and future.exception() is None:
                self._keep(shard, future.result())

    def _note(self, unit: Unit) -> None:
        used = self.meter.usage(unit.calls, unit.tokens_read, unit.tokens_written)
        with self._lock:
            self._spent = self._spent.plus(used)
            self._largest = max(self._largest, used, key=lambda use: use.tokens_read + use.tokens_written)


def wanted_of(plan: Plan, spare: int) -> int:
    """How many new pairs a shard makes: its part of the run's rows, and `spare` for duplicates of other shards."""
    return math.ceil(plan.count / plan.shards) + spare


def _refuse_hopeless(shard: Shard, tally: Tally, entries: list[UnitEntry]) -> None:
    if len(entries) < PATIENCE or tally.enough():
        return
    # The first: hardly any are accepted. The second: many are, and they say the same.
    if tally.candidates > MOST_PER_ROW * max(1, tally.kept) or tally.candidates > MOST_PER_ROW * max(PATIENCE, tally.wanted):
        raise DistillError(
            Code.YIELD,
            f"{shard} has {tally.kept} rows after {len(entries)} units with {tally.words()}: that leads nowhere",
            "Look at its units: do the instructions make sense, do the critics tell good from bad? Then start a new run.",
        )
