"""Stage 1: the stored records, the quality summary and the session manifest of a generation run, and its sentinels.

A stage 1 batch is an sft batch whose `how.pipeline` is `stage1`. Its rows are the kept records (`SftRecord`); its `candidates`
are every candidate, kept or not (`Candidate`), so that all figures can be taken again; attached are `dataset.jsonl` (the rows
once more), `qc_summary.json` and `session_manifest.json`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Final, Literal, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.rows import Critique, NonBlank

PIPELINE: Final = "stage1"
DATASET: Final = "dataset.jsonl"
QC_SUMMARY: Final = "qc_summary.json"
SESSION: Final = "session_manifest.json"

# How a token limit, a median or a threshold is written wherever it is not set: the specification's values.
CONFIDENCE_THRESHOLD: Final = 1.0

GitCommit = Annotated[str, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
Timestamp = Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$")]
TrimRule = Literal["delimiter", "delimiter_fragment", "double_newline", "line_start", "new_question"]
Purpose = Literal["pilot", "scale", "holdout"]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]

# Why a candidate was not kept, in the order in which a candidate meets the stages.
Status = Literal[
    "instruction_invalid",  # no instruction at all (blank, a fragment, a marker)
    "instruction_duplicate",  # asked before in this run
    "instruction_unsure",  # the critic's margin is under the threshold
    "instruction_bad",  # the critic says B
    "response_empty",
    "response_marker",  # a delimiter or an evaluator's marker is left in the answer
    "response_truncated",
    "response_runaway",
    "response_unfit",  # another filter of the run
    "pair_unsure",
    "pair_bad",
    "duplicate",  # the pair says what an earlier one said
    "surplus",  # accepted, and more than were asked for
    "kept",
]
UNJUDGED: Final = ("instruction_invalid", "instruction_duplicate")  # dropped before the critic may have seen them
ANSWERED: Final = (  # a response was generated
    "response_empty", "response_marker", "response_truncated", "response_runaway", "response_unfit",
    "pair_unsure", "pair_bad", "duplicate", "surplus", "kept",
)  # fmt: skip
ACCEPTED: Final = ("duplicate", "surplus", "kept")  # both critics said good, and were confident


class StoredCritique(Critique, Contract):
    """An A/B critic's judgement as it is stored: the rules of `rows.Critique`, and no field besides."""


class Generation(Contract):
    """How one response was sampled. `seed` is the item's own, so that text does not depend on its neighbours in a batch."""

    seed: int
    temperature: float = Field(ge=0)
    top_p: float = Field(gt=0, le=1)
    repetition_penalty: float = Field(gt=0)
    max_new_tokens: int = Field(ge=1)
    do_sample: bool


class Metadata(Contract):
    """Where a record comes from. `tokenizer_hash` is the SHA-256 of tokenizer.json; its tokens are the unit of all counts."""

    git_commit: GitCommit
    timestamp: Timestamp
    loader_version: NonBlank
    model_name: NonBlank
    model_revision: NonBlank
    quantization: str | None = None
    template_disabled: bool
    add_special_tokens: bool
    tokenizer_name: NonBlank
    tokenizer_hash: Sha256
    script_name: NonBlank
    artifact_type: NonBlank
    generation: Generation


class SftRecord(Contract):
    """One kept row. `prompt` is the exact text that was sent; `response` is the beginning of `completion`, stripped."""

    model_config = ConfigDict(strict=True)

    schema_version: Literal[1] = 1
    id: NonBlank
    index: Count  # position in the run's plan, over all shards
    instruction: NonBlank
    response: NonBlank
    prompt: NonBlank
    completion: NonBlank
    instruction_critique: StoredCritique
    pair_critique: StoredCritique
    candidate_status: Literal["kept"] = "kept"
    raw_tokens: Count  # generated, without the end of sequence
    clean_tokens: Count  # of the response, no special tokens
    hit_token_limit: bool  # generation ended for length
    trim_rule: TrimRule | None
    metadata: Metadata

    @model_validator(mode="after")
    def consistent(self) -> SftRecord:
        both_accepted(self.instruction_critique, self.pair_critique)
        return self


class Candidate(Contract):
    """One candidate, kept or not: everything that was generated for it, and what was said about it.

    What a candidate did not reach is null: a rejected instruction has no prompt and no completion, a response that was dropped
    before the second critic has no pair_critique.
    """

    model_config = ConfigDict(strict=True)

    schema_version: Literal[1] = 1
    id: NonBlank
    index: Count
    candidate_status: Status
    instruction: str
    instruction_prompt: NonBlank  # the exact few-shot text that was continued
    instruction_completion: str  # the raw text in which the instruction was found
    instruction_critique: StoredCritique | None = None
    prompt: NonBlank | None = None
    completion: str | None = None
    response: str | None = None
    pair_critique: StoredCritique | None = None
    raw_tokens: Count | None = None
    clean_tokens: Count | None = None
    hit_token_limit: bool | None = None
    trim_rule: TrimRule | None = None
    metadata: Metadata

    @model_validator(mode="after")
    def consistent(self) -> Candidate:
        status, first, second = self.candidate_status, self.instruction_critique, self.pair_critique
        if status not in UNJUDGED and (first is None or not self.instruction.strip()):
            raise ValueError(f"a candidate that is {status} needs an instruction and its instruction_critique")
        generated = (self.prompt, self.completion, self.response, self.raw_tokens, self.clean_tokens, self.hit_token_limit)
        if status in ANSWERED and None in generated:
            raise ValueError(f"a candidate that is {status} needs prompt, completion, response, counters and hit_token_limit")
        if status not in ANSWERED and (set(generated) != {None} or second is not None):
            raise ValueError(f"a candidate that is {status} has no response and no pair_critique")
        if status in ACCEPTED:
            both_accepted(first, second)
            if not (self.response or "").strip():
                raise ValueError(f"a candidate that is {status} needs a response")
        elif status not in UNJUDGED:
            self._as_the_critics_said(first, second)
        return self

    def _as_the_critics_said(self, first: Critique | None, second: Critique | None) -> None:
        status = self.candidate_status
        if first is not None and status in ANSWERED and not (first.is_good and first.confident):
            raise ValueError("only instructions that are good and confident are answered")
        judged = first if status.startswith("instruction") else second
        if status.endswith(("_unsure", "_bad")):
            if judged is None:
                raise ValueError(f"a candidate that is {status} needs the critic that said so")
            if status.endswith("_unsure") == judged.confident or (status.endswith("_bad") and judged.is_good):
                raise ValueError(f"{status} is not what the critic said")


def both_accepted(first: Critique | None, second: Critique | None) -> None:
    """Raises ValueError unless both critiques are there, good and confident, and not copies of each other."""
    if first is None or second is None:
        raise ValueError("needs both critiques")
    if not (first.is_good and first.confident and second.is_good and second.confident):
        raise ValueError("must be good and confident in both critiques")
    if (first.logp_a, first.logp_b) == (second.logp_a, second.logp_b):
        raise ValueError("instruction_critique and pair_critique are copies of each other")


# The columns of the row shards, and of dataset.jsonl, in this order.
RECORD_FIELDS: Final = tuple(SftRecord.model_fields)


class Thresholds(Contract):
    """What the summary was judged by; the strictness is the specification's: below, below, none, below, at least."""

    max_runaway_share: Share = 0.05
    max_token_limit_share: Share = 0.10
    max_delimiter_leaks: Count = 0
    max_median_tokens: float = Field(default=40, ge=0)
    min_instruction_acceptance: Share = 0.50
    min_pair_acceptance: Share = 0.50
    confidence_threshold: float = Field(default=CONFIDENCE_THRESHOLD, ge=0)


class QcCounts(Contract):
    """`generated` instructions, `responses` of them answered, `kept` rows; the other four over the responses."""

    generated: Count
    responses: Count
    kept: Count
    delimiter_found: Count
    delimiter_missing: Count
    heuristic_cutoff: Count  # cut by a rule other than the delimiter
    hit_token_limit: Count


class Acceptance(Contract):
    """Good and bad are confident judgements, low_confidence those under the threshold, either way."""

    instructions_good: Count
    instructions_bad: Count
    instructions_low_confidence: Count
    pairs_good: Count
    pairs_bad: Count
    pairs_low_confidence: Count


class Histogram(Contract):
    """`counts[i]` values lie in [edges[i], edges[i+1]), the last bin includes its upper edge."""

    edges: tuple[float, ...]
    counts: tuple[Count, ...]

    @model_validator(mode="after")
    def consistent(self) -> Histogram:
        if len(self.edges) != len(self.counts) + 1 or any(a >= b for a, b in pairwise(self.edges)):
            raise ValueError("a histogram has one ascending edge more than it has counts")
        return self


class Distribution(Contract):
    """Figures of `count` values; null where there is no value. `p95` is the nearest rank: the ceil(0.95 n)-th smallest value."""

    count: Count
    median: float | None
    mean: float | None
    p95: float | None
    min: float | None
    max: float | None
    unit: str
    histogram: Histogram


class Margins(Contract):
    instruction: Distribution  # of every instruction that was judged
    pair: Distribution


class Rates(Contract):
    """Null where the denominator is 0. Acceptance is of everything generated, judged or not."""

    instruction_acceptance: Share | None
    pair_acceptance: Share | None
    token_limit: Share | None  # of all responses
    runaway: Share | None  # of kept rows
    delimiter_leaks: Count  # kept rows


class QcSummary(Contract):
    """`qc_summary.json`, computed from the candidates by the run. Gates take every figure again and compare."""

    schema_version: Literal[1] = 1
    counts: QcCounts
    acceptance: Acceptance
    token_stats: Distribution  # clean_tokens of kept rows
    margins: Margins
    thresholds: Thresholds
    rates: Rates
    thresholds_passed: bool
    failed_reasons: tuple[str, ...] = ()

    @model_validator(mode="after")
    def consistent(self) -> QcSummary:
        if self.thresholds_passed == bool(self.failed_reasons):
            raise ValueError("thresholds_passed must mean that there is no failed reason")
        return self


class SentinelTask(NamedTuple):
    """What a base model is given bare, and what it has to do: not to follow an instruction, or to complete a sentence."""

    name: str
    prompt: str
    expected: Literal["not_followed", "completed"]


SENTINEL_TOKENS: Final = 30
SENTINELS: Final = (
    SentinelTask("pig_latin", "Translate this sentence into Pig Latin: hello world", "not_followed"),
    SentinelTask("three_primes", "List three prime numbers greater than ten.", "not_followed"),
    SentinelTask("json_keys", 'Return a JSON object with the keys "name" and "age".', "not_followed"),
    SentinelTask("seasons", "Describe the four seasons.", "not_followed"),
    SentinelTask("completion", "Water freezes at", "completed"),
)


class Sentinel(Contract):
    """One sentinel: greedy, at most 30 tokens, the output whole. In the production shape it is reported, nothing is expected."""

    name: Literal["pig_latin", "three_primes", "json_keys", "seasons", "completion"]
    shape: Literal["bare", "production"]
    prompt: NonBlank  # exactly what was sent
    output: str
    output_tokens: Annotated[int, Field(ge=0, le=SENTINEL_TOKENS)]
    finish_reason: Literal["length", "stop"]
    expected: Literal["not_followed", "completed", "reported"]
    passed: bool | None  # null in the production shape

    @model_validator(mode="after")
    def consistent(self) -> Sentinel:
        if (self.shape == "production") != (self.expected == "reported"):
            raise ValueError("exactly the production shape is only reported")
        if (self.expected == "reported") != (self.passed is None):
            raise ValueError("passed is null exactly where the sentinel is only reported")
        if self.finish_reason == "length" and self.output_tokens != SENTINEL_TOKENS:
            raise ValueError(f"an output that ended for length has {SENTINEL_TOKENS} tokens")
        return self


class Guards(Contract):
    """What the loader's guards saw. `inputs_checked` counts every text that a model was given: generation and critics."""

    template_found: bool  # the checkpoint shipped a chat template
    template_cleared: bool  # and the loader cleared it
    delta_check: int  # tokens with special tokens minus tokens without, summed over the inputs
    template_ids_seen: Count  # ids of template tokens in inputs
    inputs_checked: Count


class Environment(Contract):
    hostname: str
    python: str
    torch: str | None = None
    transformers: str | None = None
    vllm: str | None = None
    accelerator: str | None = None
    gpu: str | None = None
    gpu_memory_gb: float | None = None


class Budgets(Contract):
    gpu_hours_estimate: float | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)


class Artifact(Contract):
    path: NonBlank
    type: NonBlank
    sha256: Sha256
    timestamp: Timestamp


class SessionManifest(Contract):
    """`session_manifest.json`. It is hashed with the batch: times and host in it are facts about the run, pinned at its start."""

    schema_version: Literal[1] = 1
    session_id: NonBlank
    session_start: Timestamp
    purpose: Purpose
    git_commit: GitCommit
    git_branch: str | None = None
    git_dirty: bool
    environment: Environment
    planned_artifacts: tuple[str, ...] = (DATASET, QC_SUMMARY, SESSION)
    artifacts_generated: tuple[Artifact, ...] = ()  # every file of the batch but this one and the manifest; the writer fills it
    loader_version: NonBlank
    guards: Guards
    sentinels: tuple[Sentinel, ...]
    budgets: Budgets = Budgets()
    timeouts: dict[str, float] = {}
    notes: str = ""
