"""Quarantine: rejected rows, each with who rejected it, why, and where it came from. And the one list of reasons."""

from __future__ import annotations

from enum import Enum

import pyarrow as pa


class Reason(str, Enum):
    """Every reason code of ingest and the standard suite. Workspace gates declare their own in `@gate(rejects=…)`."""

    # ingest: the row could not be read, or is no row of its kind
    MALFORMED_JSON = "malformed_json"
    INVALID_UTF8 = "invalid_utf8"
    BYTE_ORDER_MARK = "byte_order_mark"
    DUPLICATE_KEY = "duplicate_key"
    NON_FINITE_NUMBER = "non_finite_number"
    LONE_SURROGATE = "lone_surrogate"
    TOO_DEEP = "too_deep"
    TOO_LONG = "too_long"
    NOT_AN_OBJECT = "not_an_object"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    RESERVED_FIELD = "reserved_field"
    WRONG_FIELD_COUNT = "wrong_field_count"
    MALFORMED_CSV = "malformed_csv"
    # the standard suite
    SCHEMA = "schema"
    DUPLICATE_ID = "duplicate_id"
    BLANK = "blank"
    PSEUDO_EMPTY = "pseudo_empty"
    ENCODING = "encoding"
    DELIMITER_LEAK = "delimiter_leak"
    TEMPLATE_LEAK = "template_leak"
    PLACEHOLDER = "placeholder"
    TRUNCATED = "truncated"
    RUNAWAY = "runaway"
    REFUSAL = "refusal"
    LENGTH = "length_out_of_bounds"
    REPETITION = "repetition"
    SYMBOLS = "symbols"
    SPECIAL_CHARACTERS = "special_characters"
    PERPLEXITY = "perplexity"
    TOXICITY = "toxicity"
    LANGUAGE = "language"
    DUPLICATE_EXACT = "duplicate_exact"
    DUPLICATE_NEAR = "duplicate_near"
    CONTAMINATION = "contamination"
    PERSONAL_DATA = "personal_data"
    SECRET = "secret"  # noqa: S105 - a reason, not a password
    CODE_SYNTAX = "code_syntax"
    CODE_LINT = "code_lint"
    SAME_PAIR = "same_pair"
    INFIDELITY = "infidelity"
    # the exporters of evidence: eleven with DUPLICATE_ID
    MISSING_PROVENANCE = "missing_provenance"
    MISSING_SOURCE_RUN_ID = "missing_source_run_id"
    EMPTY_CONTENT = "empty_content"
    SCHEMA_VIOLATION = "schema_violation"
    UNSAFE_SFT_CATEGORY = "unsafe_sft_category"
    UNSAFE_RAG_CATEGORY = "unsafe_rag_category"
    INVALID_PREFERENCE_PAIRING = "invalid_preference_pairing"
    HALLUCINATED_FILE_PATH = "hallucinated_file_path"
    SELF_PAIRING = "self_pairing"
    CATEGORY_DISALLOWED = "category_disallowed"
    # grading
    UNSCORED = "unscored"  # the message begins with the code of the last attempt's refusal
    SCORE_FAULT = "score_fault"
    LOW_QUALITY = "low_quality"


EXPORT_REASONS = (
    Reason.MISSING_PROVENANCE,
    Reason.MISSING_SOURCE_RUN_ID,
    Reason.EMPTY_CONTENT,
    Reason.SCHEMA_VIOLATION,
    Reason.UNSAFE_SFT_CATEGORY,
    Reason.UNSAFE_RAG_CATEGORY,
    Reason.INVALID_PREFERENCE_PAIRING,
    Reason.HALLUCINATED_FILE_PATH,
    Reason.DUPLICATE_ID,
    Reason.SELF_PAIRING,
    Reason.CATEGORY_DISALLOWED,
)


# quarantine.parquet of a batch (rejected at ingest) and of a run (rejected by gates) share this shape.
QUARANTINE_SCHEMA = pa.schema(
    [
        pa.field("by", pa.string(), nullable=False),  # stage or gate id
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.int64()),  # position in the batch, null when the row never entered it
        pa.field("id", pa.string()),  # the row's id, null when it could not be read
        pa.field("source", pa.string(), nullable=False),
        pa.field("line", pa.int64(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("message", pa.string(), nullable=False),
        pa.field("original", pa.binary()),  # original bytes (whole when <= 1 MiB), null for rows kept in the batch
        pa.field("original_sha256", pa.string()),
    ]
)
