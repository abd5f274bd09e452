"""What the stage 1 gates judge, taken from the stored candidates: plain functions from frames to figures.

Nothing here is shared with the pipeline, and no figure is read from its summary: a filter must not be its own detector.
A column that a batch lacks counts as null in every row, so that missing evidence shows as missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl
from pydantic import ValidationError

from pytest_distill import Code, DistillError, measure
from pytest_distill.contracts.base import Contract, first_problem
from pytest_distill.contracts.stage1 import PIPELINE, QC_SUMMARY, SESSION, QcSummary, SessionManifest
from pytest_distill.errors import one_line
from pytest_distill.gates.measures.leakage import TOKENS
from pytest_distill.gates.measures.tokens import count_tokens
from pytest_distill.measuring.folding import collapsed

if TYPE_CHECKING:
    from pytest_distill.contracts.manifest import Manifest
    from pytest_distill.gating.columns import JudgedBatch
    from pytest_distill.gating.parents import Parent
    from pytest_distill.policy.model import Tokenizer

TOLERANCE = 1e-6
NESTED = ("instruction_critique", "pair_critique", "metadata")
_CRITIQUE = pl.Struct(
    {
        "is_good": pl.Boolean,
        "predicted_label": pl.String,
        "logp_a": pl.Float64,
        "logp_b": pl.Float64,
        "margin": pl.Float64,
        "confident": pl.Boolean,
        "confidence_threshold": pl.Float64,
    }
)
_METADATA = pl.Struct(
    {
        "git_commit": pl.String,
        "loader_version": pl.String,
        "model_name": pl.String,
        "model_revision": pl.String,
        "template_disabled": pl.Boolean,
        "add_special_tokens": pl.Boolean,
        "tokenizer_hash": pl.String,
        "generation": pl.Struct({"seed": pl.Int64, "max_new_tokens": pl.Int64}),
    }
)
_COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "id": pl.String, "index": pl.Int64, "candidate_status": pl.String, "instruction": pl.String, "instruction_prompt": pl.String,
    "instruction_completion": pl.String, "instruction_critique": pl.String, "prompt": pl.String, "completion": pl.String,
    "response": pl.String, "pair_critique": pl.String, "raw_tokens": pl.Int64, "clean_tokens": pl.Int64,
    "hit_token_limit": pl.Boolean, "trim_rule": pl.String, "metadata": pl.String,
}  # fmt: skip
# Each critic: its name, its column, and what it was given to judge.
CRITICS = (("instruction", "instruction_critique", ("instruction",)), ("pair", "pair_critique", ("instruction", "response")))


@dataclass(frozen=True)
class Run:
    """The candidates of a batch as columns with types, its session, and the texts that a model was given or has written."""

    frame: pl.DataFrame
    session: SessionManifest

    @property
    def answered(self) -> pl.DataFrame:
        return self.frame.filter(pl.col("completion").is_not_null())

    @property
    def kept(self) -> pl.DataFrame:
        return self.frame.filter(pl.col("candidate_status") == "kept")


def run_of(batch: JudgedBatch) -> Run:
    """Raises E-EVIDENCE where candidates or session are missing, E-MANIFEST where the session is no session manifest."""
    raw = batch.candidates()
    if not raw.height:
        raise DistillError(Code.EVIDENCE, f"{batch.id} stores no candidates", "Without them no figure can be taken again.")
    columns = [
        pl.col(name).cast(kind) if name in raw.columns else pl.lit(None, dtype=kind).alias(name)
        for name, kind in _COLUMNS.items()
    ]
    frame = raw.select(columns).with_columns(
        pl.col("instruction_critique", "pair_critique").str.json_decode(_CRITIQUE), pl.col("metadata").str.json_decode(_METADATA)
    )
    return Run(frame, SessionManifest.from_bytes(attached(batch, SESSION), name=SESSION))


def summary_of(batch: JudgedBatch) -> QcSummary:
    return QcSummary.from_bytes(attached(batch, QC_SUMMARY), name=QC_SUMMARY)


def attached(batch: JudgedBatch, name: str) -> bytes:
    data = batch.attachment(name)
    if data is None:
        raise DistillError(Code.EVIDENCE, f"{batch.id} has no {name}", "The generation run writes it into the batch.")
    return data


@measure(version=1)
def row_record(record: pl.Series) -> pl.Series:
    """Each row as the JSON text it was."""
    return record


# -- records ---------------------------------------------------------------------------------------------------------------


def parsed(raw: pl.DataFrame) -> list[dict[str, Any]]:
    """Candidates as the JSON objects they were."""
    rows = raw.to_dicts()
    for row in rows:
        for name in NESTED:
            if isinstance(row.get(name), str):
                row[name] = orjson.loads(row[name])
    return rows


def faults(records: Sequence[dict[str, Any]], model: type[Contract]) -> list[str]:
    """For every record that is none of the model, why, with its id."""
    found = []
    for record in records:
        try:
            model.model_validate_json(orjson.dumps(record))
        except ValidationError as error:
            found.append(f"{record.get('id')}: {first_problem(error)}")
    return found


def lines(data: bytes) -> list[Any]:
    """The values of a JSONL file; a line that is no JSON is the bytes it was."""
    found: list[Any] = []
    for line in data.splitlines():
        try:
            found.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            found.append(line)
    return found


def differing(first: Sequence[Any], second: Sequence[Any]) -> int:
    """Positions at which two lists are not the same, counting what one has more than the other."""
    return sum(bool(a != b) for a, b in zip(first, second, strict=False)) + abs(len(first) - len(second))


def gaps(frame: pl.DataFrame) -> int:
    """Places of the run's plan that no candidate stands for, or more than one: what was taken out, or put in twice."""
    index = frame["index"]
    if index.null_count():
        return index.null_count()
    span = frame.select(pl.col("index").max() - pl.col("index").min() + 1).item()
    return int(span) - index.n_unique() + frame.height - index.n_unique()


# -- critics ---------------------------------------------------------------------------------------------------------------


def critic(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """One critic's figures beside the row's own columns: `frame` plus is_good, logp_a and so on."""
    return frame.unnest(column)


def accepted_share(frame: pl.DataFrame, column: str, threshold: float) -> float | None:
    """Share of all candidates in `frame` that are good and confident by their log-probabilities, unjudged ones included."""
    judged = critic(frame, column)
    good = (pl.col("logp_a") > pl.col("logp_b")) & (pl.col("logp_a") - pl.col("logp_b") >= threshold)
    share = judged.select(good.fill_null(value=False).mean()).item()
    return None if share is None else float(share)


def unjudged(frame: pl.DataFrame, column: str, statuses: tuple[str, ...]) -> int:
    """Candidates of those statuses without the whole of a critique."""
    judged = critic(frame.filter(pl.col("candidate_status").is_in(statuses)), column)
    return judged.filter(pl.any_horizontal(pl.col(*(f.name for f in _CRITIQUE.fields)).is_null())).height


def inconsistent(frame: pl.DataFrame, column: str, threshold: float) -> int:
    """Critiques whose parts contradict each other, or that no model can have given.

    A label is the likelier one, a margin the difference, confident means at or over the declared threshold; both
    log-probabilities are finite and at most 0, and those of two different tokens sum to a probability of at most 1.
    """
    a, b, margin = pl.col("logp_a"), pl.col("logp_b"), pl.col("margin")
    fine = (
        (pl.col("is_good") == (a > b))
        & (pl.col("predicted_label") == pl.when(a > b).then(pl.lit("A")).otherwise(pl.lit("B")))
        & ((margin - (a - b).abs()).abs() <= TOLERANCE)
        & (pl.col("confident") == (margin >= pl.col("confidence_threshold")))
        & (pl.col("confidence_threshold") == threshold)
        & a.is_finite() & b.is_finite() & (a <= 0) & (b <= 0) & (a.exp() + b.exp() <= 1 + TOLERANCE)
    )  # fmt: skip
    judged = critic(frame.filter(pl.col(column).is_not_null()), column)
    return judged.filter(~fine.fill_null(value=False)).height


def not_accepted(kept: pl.DataFrame, threshold: float) -> int:
    """Kept candidates that are not good and confident by both critics' log-probabilities."""
    good = pl.lit(value=True)
    for column in ("instruction_critique", "pair_critique"):
        part = pl.col(column).struct.field
        good = good & (part("logp_a") - part("logp_b") >= threshold) & (part("logp_a") > part("logp_b"))
    return kept.filter(~good.fill_null(value=False)).height


def copied(frame: pl.DataFrame) -> int:
    """Candidates whose two critiques are the same log-probabilities: two questions never get one answer to the sixth place."""
    first, second = pl.col("instruction_critique").struct.field, pl.col("pair_critique").struct.field
    same = ((first("logp_a") - second("logp_a")).abs() <= TOLERANCE) & ((first("logp_b") - second("logp_b")).abs() <= TOLERANCE)
    return frame.filter(same.fill_null(value=False)).height


def repeated_share(frame: pl.DataFrame, column: str, inputs: tuple[str, ...]) -> float:
    """Share of different inputs whose pair of log-probabilities another input has too; 0 where nothing was judged."""
    judged = critic(frame.filter(pl.col(column).is_not_null()), column).select(*inputs, "logp_a", "logp_b").unique()
    judged = judged.unique(list(inputs), keep="first")
    return float(judged.select(pl.struct("logp_a", "logp_b").is_duplicated().mean()).item() or 0.0) if judged.height else 0.0


def likeness(frame: pl.DataFrame) -> float:
    """Correlation of the two critics' margins (signed, A over B): 1 for copies that were shifted or scaled. 0 if untold."""

    def signed(column: str) -> pl.Expr:
        part = pl.col(column).struct.field
        return part("logp_a") - part("logp_b")

    both = frame.select(a=signed("instruction_critique"), b=signed("pair_critique")).drop_nulls()
    value = both.select(pl.corr("a", "b")).item() if both.height >= 10 else None
    return float(value) if value is not None and value == value else 0.0


# -- texts and counters ----------------------------------------------------------------------------------------------------


def template_tokens(frame: pl.DataFrame) -> int:
    """Candidates with a control token of a chat template in anything that a model was given or has written."""
    texts = ("instruction", "instruction_prompt", "instruction_completion", "prompt", "completion", "response")
    held = pl.any_horizontal(pl.col(name).str.contains(TOKENS) for name in texts)
    return frame.filter(held.fill_null(value=False)).height


def foreign_responses(answered: pl.DataFrame) -> int:
    """Responses that are not the beginning of their completion, or whose prompt does not hold their instruction."""
    text = pl.col("completion").str.strip_chars()
    own = text.str.starts_with(pl.col("response").str.strip_chars()) & pl.col("prompt").str.contains(
        pl.col("instruction"), literal=True
    )
    return answered.filter(~own.fill_null(value=False)).height


def miscounted(answered: pl.DataFrame) -> int:
    """Responses whose counters cannot be those of their texts.

    A token is at least a byte and at most a word with its white space; a response is no longer than what was generated; a
    generation that ended for length used its whole budget.
    """
    words = r"\S+"
    fine = pl.lit(value=True)
    for tokens, text in (("raw_tokens", "completion"), ("clean_tokens", "response")):
        least, most = pl.col(text).str.count_matches(words), pl.col(text).str.len_bytes()
        fine = fine & (pl.col(tokens) >= least) & (pl.col(tokens) <= most + 1)
    budget = pl.col("metadata").struct.field("generation").struct.field("max_new_tokens")
    fine = fine & (pl.col("raw_tokens") <= budget) & (~pl.col("hit_token_limit") | (pl.col("raw_tokens") == budget))
    return answered.filter(~fine.fill_null(value=False)).height


def recounted(answered: pl.DataFrame, table: Tokenizer) -> int | None:
    """Responses whose clean_tokens are not what the run's own tokenizer gives. None where the policy does not name that one.

    The tokenizer is known by its digest, `metadata.tokenizer_hash`. raw_tokens stay bounded (see `miscounted`): what a model
    generates need not be how a tokenizer would cut the same text.
    """
    hashes = answered.select(pl.col("metadata").struct.field("tokenizer_hash")).to_series().unique().to_list()
    if table.path is None or hashes != [table.path.sha256]:
        return None
    counted = count_tokens(answered["response"].fill_null(""), table)
    return int((answered["clean_tokens"] != counted).fill_null(value=True).sum())


def token_limit_share(answered: pl.DataFrame) -> float | None:
    """Share of all responses that ended for length: marked so, or with their whole budget used."""
    budget = pl.col("metadata").struct.field("generation").struct.field("max_new_tokens")
    hit = pl.col("hit_token_limit").fill_null(value=True) | (pl.col("raw_tokens") >= budget).fill_null(value=True)
    share = answered.select(hit.mean()).item()
    return None if share is None else float(share)


# -- session ---------------------------------------------------------------------------------------------------------------


def named(what: str, found: Sequence[str]) -> str:
    """The name of a figure, with the first of what was found."""
    return f"{what} ({one_line(found[0])[:160]})" if found else what


def artifacts(session: SessionManifest, manifest: Manifest) -> tuple[int, int]:
    """Files of the batch that the session lacks (besides itself), and artifacts it lists that are not the files."""
    files = {file.path: file.sha256 for file in manifest.files if file.path != SESSION}
    listed = {artifact.path: artifact.sha256 for artifact in session.artifacts_generated}
    return len(files.keys() - listed.keys()), sum(files.get(path) != sha256 for path, sha256 in listed.items())


def unguarded(frame: pl.DataFrame) -> int:
    """Candidates whose provenance does not say: no template, no special tokens."""
    part = pl.col("metadata").struct.field
    fine = part("template_disabled") & ~part("add_special_tokens")
    return frame.filter(~fine.fill_null(value=False)).height


def strangers(run: Run) -> int:
    """Candidates of another commit or loader than the session's, or of another tokenizer or model than the first candidate's."""
    part = pl.col("metadata").struct.field
    fine = (part("git_commit") == run.session.git_commit) & (part("loader_version") == run.session.loader_version)
    for name in ("tokenizer_hash", "model_name", "model_revision"):
        fine = fine & (part(name) == part(name).first())
    return run.frame.filter(~fine.fill_null(value=False)).height


def sealed_pilots(parents: Sequence[Parent]) -> int:
    """Parents that are stage 1 pilots with a seal that holds."""
    return sum(parent.unsealed is None and _purpose(parent) == "pilot" for parent in parents)


def _purpose(parent: Parent) -> str | None:
    data = parent.batch.attachment(SESSION) if parent.batch and parent.batch.manifest.how.pipeline == PIPELINE else None
    return SessionManifest.from_bytes(data, name=SESSION).purpose if data is not None else None


# -- other batches ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Training:
    """The instructions of the named batches; `batches` were read, `missing` were not."""

    instructions: pl.Series
    batches: int
    missing: int


def training_instructions(parents: Sequence[Parent]) -> Training:
    read = [parent.batch.column("instruction") for parent in parents if parent.batch and parent.batch.kind == "sft"]
    instructions = pl.concat(read) if read else pl.Series("instruction", [], dtype=pl.String)
    return Training(instructions, len(read), len(parents) - len(read))


def overlaps(instructions: pl.Series, training: pl.Series, similarity: float) -> tuple[int, int]:
    """How many instructions are in the training data too: (word for word, nearly so or word for word).

    Nearly: the Jaccard similarity of their sets of word 3-grams reaches `similarity`; texts under three words are compared as a
    whole. Exact, by a join over shared 3-grams.
    """
    ours, theirs = _shingles(instructions), _shingles(training)
    exact = collapsed(instructions).is_in(collapsed(training).unique().implode())
    sizes = theirs.group_by("row").len("theirs")
    shared = ours.join(theirs, on="shingle", suffix="_theirs").group_by("row", "row_theirs").len("shared")
    scored = shared.join(ours.group_by("row").len("ours"), on="row").join(sizes, left_on="row_theirs", right_on="row")
    jaccard = pl.col("shared") / (pl.col("ours") + pl.col("theirs") - pl.col("shared"))
    near = set(scored.filter(jaccard >= similarity)["row"].to_list()) | set(exact.arg_true().to_list())
    return int(exact.sum()), len(near)


def _shingles(texts: pl.Series) -> pl.DataFrame:
    """Each text's set of word 3-grams, as row and hash."""
    words = collapsed(texts).str.extract_all(r"[\p{L}\p{N}]+").alias("words")
    frame = pl.DataFrame({"words": words}).with_row_index("row").explode("words").drop_nulls()
    following = [pl.col("words").shift(-n).over("row") for n in range(3)]
    whole = pl.len().over("row") < 3
    frame = frame.with_columns(shingle=pl.concat_str(following, separator=" "), short=whole)
    short = frame.filter("short").group_by("row").agg(shingle=pl.col("words").str.join(" "))
    return pl.concat([frame.filter(~pl.col("short")).select("row", "shingle").drop_nulls(), short]).unique()
