"""Drift: how a run differs from an earlier one. What stands in the outputs is compared, not what a run happened to add."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_distill.contracts.receipts import (
    Delta,
    DriftReport,
    Flag,
    RunSummary,
    StageDrift,
    StageLine,
    match,
    pct_change,
    worst,
)


def compare(prior: RunSummary, now: RunSummary, *, warn_percent: float) -> DriftReport:
    """`warn_percent`: a figure that moves by more than this share of its prior value is a warning (`[drift]` of the policy)."""
    before = {line.stage: line for line in prior.stages}
    after = {line.stage: line for line in now.stages}
    stages = tuple(_stage(name, before.get(name), after.get(name)) for name in {**before, **after})
    flags = tuple(
        flag for stage in stages for flag in _flags(stage, before.get(stage.stage), after.get(stage.stage), warn_percent)
    )
    return DriftReport(
        run_id=now.run_id,
        prior_run_id=prior.run_id,
        warn_percent=warn_percent,
        severity=worst(flags),
        run_hash_match=prior.run_hash == now.run_hash,
        stages=stages,
        flags=flags,
    )


def _stage(name: str, before: StageLine | None, after: StageLine | None) -> StageDrift:
    # A stage that did not complete left nothing that could be held against a later run.
    old = before if before and before.completed else None
    new = after if after and after.completed else None
    prior_in, prior_out = (old.input_hash, old.output_hash) if old else (None, None)
    now_in, now_out = (new.input_hash, new.output_hash) if new else (None, None)
    inputs, outputs = match(prior_in, now_in), match(prior_out, now_out)
    return StageDrift(
        stage=name,
        prior_input_hash=prior_in,
        input_hash=now_in,
        prior_output_hash=prior_out,
        output_hash=now_out,
        input_hash_match=inputs,
        output_hash_match=outputs,
        deterministic_violation=inputs is True and outputs is False,
        deltas=tuple(_deltas(old, new)) if old and new else (),
    )


def _deltas(before: StageLine, after: StageLine) -> Iterator[Delta]:
    old, new = figures(before), figures(after)
    for name in {**old, **new}:
        prior, now = old.get(name, 0), new.get(name, 0)
        yield Delta(name=name, prior=prior, now=now, pct_change=pct_change(prior, now))


def figures(line: StageLine) -> dict[str, int]:
    """What is compared of a stage: rows read and skipped, and what stands in its outputs.

    A stage that does not say what stands is compared by what became of its records in that run.
    """
    counts = line.record_counts.model_dump(by_alias=True)
    if line.materialised:
        return {"in": counts["in"], "skipped": counts["skipped"], **line.materialised}
    return counts


def _flags(stage: StageDrift, before: StageLine | None, after: StageLine | None, warn_percent: float) -> Iterator[Flag]:
    name = stage.stage
    if after is None:
        yield Flag(severity="warn", stage=name, kind="stage_missing", message="the earlier run had this stage, this one does not")
        return
    if before is None:
        yield Flag(severity="warn", stage=name, kind="stage_new", message="the earlier run did not have this stage")
    if not after.completed:
        yield Flag(severity="warn", stage=name, kind="incomplete", message="the stage did not come to its end")
    if stage.deterministic_violation:
        outputs = f"{_short(stage.prior_output_hash)} and then {_short(stage.output_hash)}"
        message = f"the same input {_short(stage.input_hash)} gave {outputs}"
        yield Flag(severity="alert", stage=name, kind="deterministic_violation", message=message)
    for delta in stage.deltas:
        if delta.pct_change is None and delta.now:
            yield Flag(severity="warn", stage=name, kind="from_zero", message=f"{delta.name} went from 0 to {delta.now:,}")
        elif delta.pct_change is not None and 100 * abs(delta.now - delta.prior) > warn_percent * delta.prior:
            message = f"{delta.name} went from {delta.prior:,} to {delta.now:,} ({delta.pct_change:+g}%)"
            yield Flag(severity="warn", stage=name, kind="swing", message=message)
    for kind in sorted(_classes(after) - (_classes(before) if before else set())):
        first = next(error for error in after.errors if error.partition(":")[0] == kind)
        yield Flag(severity="warn", stage=name, kind="new_error_class", message=first)


def _classes(line: StageLine) -> set[str]:
    return {error.partition(":")[0] for error in line.errors}


def _short(digest: str | None) -> str:
    return f"{(digest or '')[:12]}…"
