"""`python -m pytest_distill.contracts.export_schemas`: the JSON Schema of every file that we write, into schemas/ beside this."""

from __future__ import annotations

from pathlib import Path

from pytest_distill import storage
from pytest_distill.contracts.attestation import Envelope, Seal, Verdict
from pytest_distill.contracts.audit import AuditReport, BaselineEntry
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.bulk import GoldSet, PolicyChange
from pytest_distill.contracts.calibration import Calibration
from pytest_distill.contracts.diversity import DiversityCalibration
from pytest_distill.contracts.domain import Domain, DomainClassifier
from pytest_distill.contracts.evidence import (
    EvidenceRecord,
    ModelLedgerEntry,
    Playbook,
    PreferenceSample,
    QuarantineEntry,
    RagSample,
    ScoredRun,
    SftSample,
    Skip,
    StageState,
    StreamState,
)
from pytest_distill.contracts.fidelity import Fidelity, FidelityCalibration, FidelityPair, FidelityScore
from pytest_distill.contracts.grading import ScorerOutput, ScoringPlan, ScoringSummary, ScoringUnit
from pytest_distill.contracts.inspection import Inspection
from pytest_distill.contracts.ledger import LedgerEntry
from pytest_distill.contracts.manifest import Created, Manifest
from pytest_distill.contracts.preprocess import PreprocessRun, PreprocessSummary, ResumeState, SourceRead, StoredUnit
from pytest_distill.contracts.receipts import DriftReport, RunSummary, StageReceipt
from pytest_distill.contracts.replay import ReplayRun, ReplayStudy
from pytest_distill.contracts.run import RunRecord, RunTimes
from pytest_distill.contracts.stage1 import Candidate, QcSummary, SessionManifest, SftRecord
from pytest_distill.contracts.stage1_run import Plan, ShardManifest, Unit
from pytest_distill.contracts.tokens import TokenizeRun, TokensManifest, TokenUnit
from pytest_distill.contracts.verifier import Agreement

FOLDER = Path(__file__).parent / "schemas"

# File name of the schema -> the model of the file it describes.
FORMATS: dict[str, type[Contract]] = {
    "manifest": Manifest,  # batches/<id>/manifest.json
    "created": Created,  # batches/<id>/created.json
    "evidence": RunRecord,  # evidence.json and evidence.public.json of a run
    "fidelity": Fidelity,  # the column `fidelity` of a batch of `distill fidelity check`
    "fidelity_pair": FidelityPair,  # what its verifier is given, and a labelled line of `distill fidelity calibrate`
    "fidelity_score": FidelityScore,  # what its verifier answers
    "fidelity_calibration": FidelityCalibration,  # what `distill fidelity calibrate --out FILE` writes
    "run": RunTimes,  # run.json of a run
    "verdict": Verdict,  # verdict.json of a run
    "seal": Seal,  # seal.json of a run
    "seal.dsse": Envelope,  # seal.dsse.json of an export
    "inspection": Inspection,  # .distill/inspections/<id>.json
    "agreement": Agreement,  # .distill/verifiers/<id>.json
    "ledger": LedgerEntry,  # one line of ledger.jsonl
    "policy_change": PolicyChange,  # policy/<version>.json
    "gold": GoldSet,  # gold/gold.json
    "diversity_calibration": DiversityCalibration,  # what `distill diversity calibrate` writes
    "domain": Domain,  # a value of the column `domain` of a derived batch
    "domain_classifier": DomainClassifier,  # classifier.json beside classifier.pt
    "state_stage": ResumeState,  # state_stage_{N}.json of a preprocessing run
    "preprocess_run": PreprocessRun,  # its run.json
    "preprocess_unit": StoredUnit,  # a line of its index_stage_{N}.jsonl
    "preprocess_source": SourceRead,  # another line of it
    "preprocess": PreprocessSummary,  # preprocess.json of the batch it made
    "receipt": StageReceipt,  # .distill/receipts/<run>/<stage>.json
    "run_summary": RunSummary,  # .distill/receipts/<run>/summary.json
    "evidence_record": EvidenceRecord,  # one line of evidence/YYYY/MM/DD/<stream>.jsonl
    "scored_run": ScoredRun,  # one line of scored-runs/YYYY/MM/DD/<stream>.jsonl
    "rag_sample": RagSample,  # one row of a batch of export-rag
    "sft_sample": SftSample,  # one row of a batch of export-sft
    "preference_sample": PreferenceSample,  # one row of a batch of export-preference
    "playbook": Playbook,  # one row of a batch of playbooks
    "model_ledger_entry": ModelLedgerEntry,  # one line of scored-runs/model-ledger.jsonl
    "export_quarantine": QuarantineEntry,  # a record that an exporter turned away, in candidates-*.parquet
    "evidence_skip": Skip,  # one line of evidence/skips/<stream>.jsonl
    "stream_state": StreamState,  # .distill/evidence/<stream>.json
    "stage_state": StageState,  # .distill/evidence/<stage>.state.json
    "drift": DriftReport,  # .distill/receipts/<run>/drift.json
    "audit": AuditReport,  # what `distill audit --json` prints
    "audit_baseline": BaselineEntry,  # one line of .distill/audit-baseline.jsonl
    "replay_run": ReplayRun,  # one line of streams/replay_runs.jsonl
    "replay_study": ReplayStudy,  # what `distill replay study --out FILE` writes
    "sft": SftRecord,  # one row of a stage 1 batch, one line of its dataset.jsonl
    "candidate": Candidate,  # one row of its candidates-*.parquet
    "tokens": TokensManifest,  # manifest.json of a shard set, tokens_manifest.json of a tokens batch
    "tokenize_run": TokenizeRun,  # run.json while tokenising is under way
    "token_unit": TokenUnit,  # one line of units.jsonl beside it
    "qc_summary": QcSummary,  # its qc_summary.json
    "session_manifest": SessionManifest,  # its session_manifest.json
    "stage1_shard": ShardManifest,  # its shard-NNNNN.json
    "stage1_plan": Plan,  # plan.json of a shard that is being made
    "stage1_unit": Unit,  # its unit-NNNNNN.json
    "scorer_output": ScorerOutput,  # a value of the column `scores`
    "scoring_plan": ScoringPlan,  # plan.json of a scoring that is under way
    "scoring_unit": ScoringUnit,  # its unit-NNNNNN.json
    "scoring": ScoringSummary,  # scoring.json of the batch it made
    "calibration": Calibration,  # what `distill calibrate` writes
}


def schema(name: str) -> bytes:
    """The JSON Schema (draft 2020-12) of one format, as canonical bytes."""
    value = FORMATS[name].model_json_schema(mode="validation", by_alias=True)
    return storage.canonical_json({"$schema": "https://json-schema.org/draft/2020-12/schema", **value})


def main() -> None:
    for name in FORMATS:
        storage.write_bytes(FOLDER / f"{name}.schema.json", schema(name))


if __name__ == "__main__":
    main()
