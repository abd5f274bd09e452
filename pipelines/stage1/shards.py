"""The private folder of a shard: its plan, its units as they are finished, and its manifest once there are enough of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_distill import storage
from pytest_distill.contracts.stage1_run import PLAN, Plan, ShardManifest, Unit, UnitEntry, shard_manifest_name, unit_name
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace


def run_folder(workspace: Workspace, batch_id: str) -> Path:
    """Where the shards of a run lie. Raises E-USAGE for what is no batch id."""
    return workspace.state / "stage1" / workspace.batch_folder(batch_id).name


class Shard:
    """One of the `shards` shards of a run: units number, number + shards, number + 2 * shards, ..."""

    def __init__(self, run: Path, number: int, shards: int) -> None:
        self.number, self.shards = number, shards
        self.folder = run / f"shard-{number:05d}-of-{shards:05d}"

    def __str__(self) -> str:
        return f"shard {self.number} of {self.shards}"

    @property
    def started(self) -> bool:
        return (self.folder / PLAN).is_file()

    def plan(self) -> Plan:
        """Raises E-SHARD when the shard was never started, or its folder is that of another one."""
        if not self.started:
            raise DistillError(Code.SHARD, f"{self} was never started", f"Run it: --shard {self.number}.")
        plan = Plan.load(self.folder / PLAN)
        if (plan.shard, plan.shards) != (self.number, self.shards):
            raise DistillError(
                Code.SHARD, f"the folder of {self} is that of shard {plan.shard} of {plan.shards}", "Put the right one back."
            )
        return plan

    def start(self, plan: Plan) -> None:
        plan.write(self.folder / PLAN)

    def numbers(self) -> Iterator[int]:
        """The numbers of its units, without end."""
        number = self.number
        while True:
            yield number
            number += self.shards

    def has(self, number: int) -> bool:
        return (self.folder / unit_name(number)).is_file()

    def stored(self) -> Iterator[Unit]:
        """Every unit that is there, whichever run it belongs to."""
        return map(Unit.load, sorted(self.folder.glob("unit-*.json")))

    def unit(self, number: int, plan: Plan) -> Unit:
        """A unit that is finished. Raises E-MANIFEST for a damaged one, E-FREEZE for one that another plan made."""
        unit = Unit.load(self.folder / unit_name(number))
        if unit.plan_sha256 != plan.sha256 or unit.number != number:
            raise DistillError(
                Code.FREEZE, f"{unit_name(number)} of {self} was made by another plan", "Remove the file: it will be made again."
            )
        return unit

    def store(self, unit: Unit) -> None:
        path = self.folder / unit_name(unit.number)
        storage.remove_leftovers(path)  # of a process that was killed while it wrote
        unit.write(path)

    def entry(self, unit: Unit) -> UnitEntry:
        return UnitEntry(
            number=unit.number,
            sha256=storage.sha256_file(self.folder / unit_name(unit.number)),
            candidates=len(unit.prospects),
            accepted=sum(one.outcome == "accepted" for one in unit.prospects),
        )

    def finish(self, plan: Plan, wanted: int, units: tuple[UnitEntry, ...]) -> None:
        manifest = ShardManifest(
            batch=plan.batch, shard=self.number, shards=self.shards, plan_sha256=plan.sha256, wanted=wanted, units=units,
            session_id=plan.session.session_id, session_start=plan.session.session_start,
        )  # fmt: skip
        manifest.write(self.folder / shard_manifest_name(self.number))

    def finished(self) -> ShardManifest:
        """Raises E-SHARD when the shard was not started or has not enough rows yet, or when its manifest is another's."""
        plan, path = self.plan(), self.folder / shard_manifest_name(self.number)
        if not path.is_file():
            raise DistillError(Code.SHARD, f"{self} is not finished", f"Go on with it: --shard {self.number} --resume.")
        manifest = ShardManifest.load(path)
        if manifest.plan_sha256 != plan.sha256 or (manifest.shard, manifest.shards) != (self.number, self.shards):
            raise DistillError(Code.SHARD, f"the manifest of {self} is not of its plan", f"Run it again: --shard {self.number}.")
        return manifest

    def units(self, manifest: ShardManifest, plan: Plan) -> Iterator[Unit]:
        """The units of a finished shard, every byte checked. Raises E-SHARD-CHECKSUM, E-SHARD."""
        for entry, number in zip(manifest.units, self.numbers(), strict=False):
            path = self.folder / unit_name(entry.number)
            if entry.number != number:
                raise DistillError(Code.SHARD, f"{self} has no unit {number}", f"Run it again: --shard {self.number}.")
            if not path.is_file() or storage.sha256_file(path) != entry.sha256:
                raise DistillError(
                    Code.SHARD_CHECKSUM,
                    f"{path.name} of {self} is not what it was when the shard was finished",
                    f"Remove it and run the shard again: --shard {self.number} --resume.",
                )
            yield self.unit(number, plan)
