"""Every refusal of the project: one code, one line, one way out.

A `DistillError` is what a user may see: `ERROR [E-CODE]: what happened. What to do.` on stderr and a non-zero exit.
Anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

from enum import Enum


class Code(str, Enum):
    """The codes a user can meet; the value is what is printed. Add, never rename: people grep for them."""

    # workspace and policy
    WORKSPACE = "E-WORKSPACE"  # no workspace, or not where it was said to be
    POLICY = "E-POLICY"  # distill.toml does not parse, or names what does not exist
    POLICY_CHANGE = "E-POLICY-CHANGE"  # a frozen policy that was edited without a record, or a change that cannot be one
    USAGE = "E-USAGE"  # options that contradict each other
    EXTRA = "E-EXTRA-MISSING"  # an optional dependency is needed and not installed
    # reading and batches
    SOURCE = "E-SOURCE-NOTFOUND"  # no input file, or nothing readable in it
    FORMAT = "E-SOURCE-FORMAT"  # a file that is not what it claims to be, as a whole
    COLUMN = "E-COLUMN"  # a column is missing, reserved, mapped twice, or of a type we cannot keep
    KIND = "E-KIND"  # the rows do not fit the kind, or the kind cannot be told
    BATCH_NOTFOUND = "E-BATCH-NOTFOUND"
    BATCH_EXISTS = "E-BATCH-EXISTS"
    BATCH_CORRUPT = "E-BATCH-CORRUPT"  # bytes on disk differ from the batch's own sums, or the file list does
    MANIFEST = "E-MANIFEST"  # a manifest (or another of our formats) that is malformed or of an unknown version
    MANIFEST_COMMIT = "E-MANIFEST-COMMIT"  # an atomic write or rename failed
    IO = "E-IO"  # the system refused to read or list something: permissions, a broken disk, a folder where a file belongs
    # runs that can be resumed
    RESUME = "E-RESUME-CURSOR-MISMATCH"  # the state of a run does not fit its inputs or its files
    INDEX_MISSING = "E-INDEX-MISSING"  # the index of a run's units, or of a shard, is not there
    SHARD_CHECKSUM = "E-SHARD-CHECKSUM"  # a shard, or a unit of a run, has other bytes than when it was written
    WORKER = "E-WORKER"  # a worker process died
    ENGINE = "E-ENGINE"  # a Ray cluster that cannot be started or reached, or runs other code than this process
    FREEZE = "E-FREEZE"  # a frozen value was changed under the same pipeline version
    # gating
    MEASURE = "E-MEASURE"  # a measure failed, or returned something that is no column of its rows
    MEASURE_NAME = "E-MEASURE-NAME"  # one name for two measures, or for a measure and a column
    GATE = "E-GATE"  # a gate that is declared wrongly: no literal id, id used twice, unknown limit
    MASK = "E-MASK"  # a quarantine mask of the wrong length, type, or with nulls
    EVIDENCE = "E-EVIDENCE"  # a gate that left none, or a figure that is no number
    NOT_RUN = "E-GATE-NOT-RUN"  # a required gate did not run
    TAINT = "E-RUN-TAINTED"  # something interfered with the run
    # release
    UNSEALED = "E-UNSEALED"  # no passing verdict for exactly these bytes
    SEAL_STALE = "E-SEAL-STALE"  # policy, gates or plugins changed after the verdict
    SEAL_INVALID = "E-SEAL-INVALID"  # seal malformed, forged, or of another batch
    EXPORT_EXISTS = "E-EXPORT-EXISTS"
    VERIFY = "E-VERIFY"  # an export that does not verify
    VERIFIER = "E-VERIFIER"  # an automated verifier that cannot be one, or whose agreement with people cannot be measured
    KEY = "E-KEY"  # a signing or verifying key that cannot be used
    LEDGER = "E-LEDGER"  # the chain is broken
    GOLD = "E-GOLD"  # a gold set that cannot be one, or was changed since it was frozen
    FRONTIER = "E-FRONTIER"  # a frontier model for bulk, or for a purpose that the policy does not allow it
    COST_CLASS = "E-COST-CLASS"  # a cost class without its justification or authorization, or below what a run uses
    ESCALATION = "E-ESCALATION"  # a step that an escalation is not ready for, or a run that an open one stops
    REPRODUCE = "E-REPRODUCE"  # a batch that cannot be made again, or comes out otherwise
    INCIDENT = "E-INCIDENT"  # an open incident that blocks, or a step that an incident is not ready for
    RETENTION = "E-RETENTION"  # something that has to be kept longer
    # stages
    STALE = "E-STALE"  # a stage whose input is missing, changed, or older than what it was made from
    # tokenised shards
    TOKENIZER = "E-TOKENIZER"  # no tokenizer there, or none that says which token ends a document
    TOKENIZER_DRIFT = "E-TOKENIZER-DRIFT"  # what the tokenizer derives to differs from an existing manifest
    SHARD_FORMAT = "E-SHARD-FORMAT"  # a .npy that is no one-dimensional array of the manifest's type and length
    SHARD_TOKENS = "E-SHARD-TOKENS"  # ids beyond the vocabulary, documents that do not end with EOS or hold one inside
    SHARD_FILES = "E-SHARD-FILES"  # a file of a shard set is missing, or one lies there that does not belong to it
    INDEX = "E-INDEX"  # an .idx that does not describe its shard
    # models and generation
    MODEL = "E-MODEL"  # no model there, or one that only code or pickles could load
    TEMPLATE = "E-TEMPLATE"  # a chat template was set again, or its tokens are in an input
    SPECIAL_TOKENS = "E-SPECIAL-TOKENS"  # the tokenizer adds tokens that the prompt does not hold
    SENTINEL = "E-SENTINEL"  # the model does not behave as a base model does
    LABEL = "E-LABEL"  # a critic's label is not one token, or its log-probability is unknown
    SERVER = "E-SERVER"  # a model server that cannot be reached, or answers what we cannot use
    YIELD = "E-YIELD"  # a run that gives too few rows to go on, or a union of shards with too few
    SHARD = "E-SHARD"  # a shard of a run that is missing, unfinished or another run's
    BUDGET = "E-BUDGET"  # a budget or a time limit is used up; the run can be resumed
    RUN_EXISTS = "E-RUN-EXISTS"  # a run of that name was started before
    BUSY = "E-BUSY"  # another process holds the lock
    PROMPT = "E-PROMPT"  # a text that would break out of its place in a prompt
    # grading: a scorer's reply that is no score, each way of it
    SCORE_JSON = "E-SCORE-JSON"  # no JSON object, or one with a key twice
    SCORE_PROSE = "E-SCORE-PROSE"  # text around the JSON
    SCORE_SEVERAL = "E-SCORE-SEVERAL"  # more than one JSON object
    SCORE_MISSING = "E-SCORE-MISSING"  # a field is missing
    SCORE_EXTRA = "E-SCORE-EXTRA"  # a field that the contract does not know
    SCORE_TYPE = "E-SCORE-TYPE"  # a field of another type: a text for a number, a fraction for a domain
    SCORE_RANGE = "E-SCORE-RANGE"  # a number outside its range
    SCORE_NAN = "E-SCORE-NAN"  # NaN, Infinity, or a number that overflows to it
    SCORE_AGGREGATED = "E-SCORE-AGGREGATED"  # a stored mean that is not the mean of its scores
    SCORE_MODEL = "E-SCORE-MODEL"  # a reply that names another model, or version, than the one that ran
    SCORE_LENGTH = "E-SCORE-LENGTH"  # a reply that was cut off by its budget of tokens
    SCORE_REFUSED = "E-SCORE-REFUSED"  # the judge would not answer
    CALIBRATION = "E-CALIBRATION"  # scores without a calibration, or a calibration that is none or not theirs
    FIDELITY = "E-FIDELITY"  # no calibration for just this model, pairs that calibrate nothing, a verifier's reply that is none
    # grading: domains
    LAYER = "E-LAYER"  # a layer that the model has not
    DOMAIN = "E-DOMAIN"  # labelled rows that nothing can be learnt from, a text without a domain, a damaged classifier
    BACKBONE = "E-BACKBONE"  # a model that is not the one a classifier was trained on
    # pull requests
    GIT = "E-GIT"  # the repository lacks a commit, or git refuses
    COMMENT = "E-COMMENT"  # the summary of a pull request could not be posted


class DistillError(Exception):
    """A refusal with a code. `message` says what happened and where; `hint` says what to do next."""

    def __init__(self, code: Code, message: str, hint: str = "") -> None:
        super().__init__(code, message, hint)
        self.code = code
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.message.rstrip('.')}. {self.hint}" if self.hint else self.message
        return f"[{self.code.value}]: {one_line(text)}"

    def line(self) -> str:
        """The single line printed on stderr."""
        return f"ERROR {self}"


def refused_by_system(error: OSError) -> DistillError:
    """What the system refused where no other code says more: no defect of ours, so a line and no traceback."""
    what = " -> ".join(str(name) for name in (error.filename, error.filename2) if name is not None)
    said = error.strerror or str(error) or type(error).__name__
    return DistillError(Code.IO, f"{what}: {said}" if what else said, "Check that path, its permissions and the disk.")


def one_line(text: str) -> str:
    """`text` with every control character made visible, so that data can never move the cursor or forge a line."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
