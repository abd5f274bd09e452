"""Any batch, run, verdict, seal and ledger entry, for tests of their formats: one strategy per model, from its annotations."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from strategies import COUNT, NAME, NUMBER, SCALAR, SHA, TEXT, URI, maybe, several

from pytest_distill.contracts import manifest
from pytest_distill.contracts.attestation import (
    Digest,
    Envelope,
    Resource,
    Results,
    Seal,
    Subject,
    Summary,
    Verdict,
    Verifier,
)
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.manifest import Counts, Created, How, Manifest, Shard, Source
from pytest_distill.contracts.run import Bound, Example, Figure, GateRecord, MeasureRecord, Rows, RunRecord, RunTimes, Waiver

bound = st.builds(Bound, op=st.sampled_from(["below", "at_most", "above", "at_least", "equals"]), value=SCALAR)
figure = st.builds(Figure, name=TEXT, value=maybe(SCALAR), bound=maybe(bound), ok=st.booleans(), unit=maybe(TEXT), rows=COUNT)
example = st.builds(Example, row=COUNT, id=TEXT, source=TEXT, line=COUNT, text=TEXT, start=maybe(COUNT), end=maybe(COUNT))
waiver = st.builds(Waiver, gate=TEXT, reason=TEXT, who=TEXT, expires=TEXT)
limits = st.dictionaries(TEXT, maybe(SCALAR | several(TEXT)), max_size=3)
gate = st.builds(
    GateRecord, id=TEXT, title=TEXT, kind=st.sampled_from(["row", "batch"]), severity=st.sampled_from(["block", "warn"]),
    status=st.sampled_from(["passed", "failed", "warned", "waived", "not_applicable", "did_not_run"]), why=several(TEXT),
    figures=several(figure), rows_seen=COUNT, rejected=COUNT, reason_code=maybe(TEXT), examples=several(example),
    origin=st.sampled_from(["standard", "workspace", "policy"]), source=maybe(TEXT), source_sha256=maybe(SHA), limits=limits,
    waiver=maybe(waiver),
)  # fmt: skip
measure = st.builds(MeasureRecord, name=TEXT, version=COUNT, status=st.sampled_from(["ok", "failed"]), error=maybe(TEXT))
record = st.builds(
    RunRecord, run_id=TEXT, batch_id=NAME, batch_sha256=SHA, kind=TEXT,
    verdict=st.sampled_from(["PASSED", "FAILED", "INCOMPLETE"]), findings=several(TEXT), policy_sha256=SHA, gates_sha256=SHA,
    plugins=several(TEXT), plugins_sha256=SHA, required=several(TEXT),
    gates=several(gate), rows=st.builds(Rows, batch=COUNT, quarantined=COUNT, remaining=COUNT), quarantine_sha256=maybe(SHA),
    measures=several(measure),
)  # fmt: skip
times = st.builds(
    RunTimes, started_at=TEXT, finished_at=TEXT, seconds=NUMBER.map(float), scans=COUNT,
    measure_seconds=st.dictionaries(TEXT, NUMBER.map(float), max_size=3), command=several(TEXT),
)  # fmt: skip


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    shards = tuple(
        Shard(path=f"rows-{number}.parquet", rows=rows, sha256=draw(SHA))
        for number, rows in enumerate(draw(st.lists(COUNT, max_size=3)))
    )
    kept, rejected = sum(s.rows for s in shards), draw(COUNT)
    columns = [manifest.Column(name=name, type="json", nulls="absent") for name in draw(st.sets(TEXT, max_size=3))]
    return Manifest(
        id=draw(NAME), kind="sft", origin="derived", what=draw(TEXT), why=draw(TEXT),
        how=How(pipeline=draw(TEXT), parameters=draw(st.dictionaries(TEXT, maybe(SCALAR), max_size=3))),
        seed=draw(maybe(st.integers())),
        counts=Counts(planned=draw(maybe(COUNT)), read=kept + rejected, kept=kept, quarantined=rejected),
        columns=tuple(columns), shards=shards, mapping=draw(st.dictionaries(TEXT, TEXT, max_size=2)),
        sources=(
            Source(
                name=draw(TEXT), sha256=draw(SHA), bytes=1, rows_read=kept + rejected, rows_kept=kept, rows_quarantined=rejected
            ),
        ),
        quarantine=Shard(path="quarantine.parquet", rows=rejected, sha256=draw(SHA)) if rejected else None,
    )  # fmt: skip


def aliased(model: type[Contract], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`st.builds` would guess the fields by their aliases too, as if they were others."""
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


digest = st.builds(Digest, sha256=SHA)
subject = st.builds(Subject, name=st.text(min_size=1, max_size=5), digest=digest)
resource = st.builds(Resource, name=maybe(TEXT), uri=maybe(URI), digest=digest)
results = aliased(
    Results, result=st.sampled_from(["PASSED", "WARNED", "FAILED"]), configuration=several(resource), passed_tests=several(TEXT),
    warned_tests=several(TEXT), failed_tests=several(TEXT),
)  # fmt: skip
verdict = aliased(Verdict, subject=several(subject, 1).map(lambda s: s[:1]), predicate=results)
summary = aliased(
    Summary, verifier=st.builds(Verifier, id=URI), resource_uri=URI, policy=resource, input_attestations=several(resource, 1),
    verified_levels=several(TEXT, 1), waivers=maybe(several(waiver)),
)  # fmt: skip
seal = aliased(Seal, subject=several(subject, 1).map(lambda s: s[:2]), predicate=summary)
envelope = st.builds(Envelope.around, st.binary(max_size=40), st.binary(max_size=40))
entry = st.builds(
    LedgerEntry, seq=st.integers(1, 2**40), at=TEXT, event=st.text(min_size=1, max_size=5), batch=maybe(TEXT),
    facts=st.dictionaries(TEXT, maybe(SCALAR | several(TEXT) | st.dictionaries(TEXT, COUNT, max_size=2)), max_size=3), prev=SHA,
)  # fmt: skip


WRITTEN: dict[str, st.SearchStrategy[Any]] = {
    "manifest": manifests(),
    "created": st.builds(Created, created_at=TEXT, where=TEXT, command=several(TEXT)),
    "evidence": record,
    "run": times,
    "verdict": verdict,
    "seal": seal,
    "seal.dsse": envelope,
    "ledger": entry,
}
