"""`distill.toml` as a model. Every table has defaults, so an empty file is a valid, strict policy."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    field_validator,
    model_validator,
)

from pytest_distill import storage
from pytest_distill.contracts.manifest import Purpose
from pytest_distill.errors import Code, DistillError

Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
# The model that bounds on a cosine were fitted with, all-MiniLM-L6-v2, by its model.safetensors; and which bounds these are.
FITTED_WITH: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FITTED: Final = {"contamination.meaning": "min_score", "stage1.holdout-meaning": "min_cosine"}


class Table(BaseModel):
    """One table of the policy. Unknown keys are errors: a misspelt limit must not silently mean its default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _as_path_text(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class PinnedFile(Table):
    """A file the policy names, relative to the workspace. Its bytes, not its name, enter digests (see `pin`)."""

    path: Text
    _resolved: Path | None = PrivateAttr(default=None)
    _sha256: str = PrivateAttr(default="")

    def pin(self, root: Path) -> None:
        """Resolves and hashes the file. Raises E-POLICY when it is not there."""
        resolved = (root / self.path).expanduser()
        if not resolved.is_file():
            raise DistillError(Code.POLICY, f"distill.toml names {self.path}, which is no file", f"Looked at {resolved}.")
        object.__setattr__(self, "_resolved", resolved)
        object.__setattr__(self, "_sha256", storage.sha256_file(resolved))

    @property
    def resolved(self) -> Path:
        assert self._resolved is not None, "policy files are pinned when the policy is loaded"
        return self._resolved

    @property
    def sha256(self) -> str:
        return self._sha256


File = Annotated[PinnedFile, BeforeValidator(_as_path_text)]


class Tokenizer(Table):
    """`path`: a tokenizer.json of the model that will be trained. Unset: the counting tokenizer that ships with us."""

    path: File | None = None


class Language(Table):
    allowed: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")], ...] = ("en",)
    min_confidence: float = Field(default=0.65, ge=0, le=1)


class Benchmark(Table):
    """A forbidden benchmark: JSONL, JSON, CSV or Parquet (also .gz/.zst), and which fields of it must not leak."""

    name: Text
    path: File
    fields: tuple[Text, ...] = Field(min_length=1)


class Contamination(Table):
    """Benchmarks that must not leak, and whether rows are compared with them by meaning too. That needs the extra [embed]."""

    benchmarks: tuple[Benchmark, ...] = ()
    semantic: bool = False

    @model_validator(mode="after")
    def something_to_compare_with(self) -> Contamination:
        if self.semantic and not self.benchmarks:
            raise ValueError("semantic is true and no benchmark is named: name one in [[contamination.benchmarks]]")
        return self


class Duplicates(Table):
    """Jaccard similarity of word 5-grams from which two rows are near duplicates."""

    similarity: float = Field(default=0.8, gt=0, le=1)


class Leakage(Table):
    """More literal markers that must never appear in an answer, such as your own few-shot delimiter."""

    markers: tuple[Text, ...] = ()


class Privacy(Table):
    """More patterns (RE2 syntax, linear time) by name; and values that are known to be harmless, such as example.com."""

    patterns: dict[Text, Text] = {}
    allow: tuple[Text, ...] = ()

    @field_validator("patterns")
    @classmethod
    def linear(cls, patterns: dict[str, str]) -> dict[str, str]:
        """RE2 runs in linear time whatever the pattern; what it cannot run (look-around, back-references) is refused here."""
        if patterns:
            import re2

            quiet = re2.Options()
            quiet.log_errors = False
            for name, pattern in patterns.items():
                try:
                    re2.compile(pattern, quiet)
                except re2.error as error:
                    reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else error.args[0]
                    raise ValueError(f"RE2 refuses the pattern {name!r}: {reason}") from error
        return patterns


class RecordSchema(Table):
    """A JSON Schema (draft 2020-12) that every row has to satisfy."""

    path: File | None = None


class Embedding(Table):
    """`weights`: model.safetensors in the folder of a sentence-transformers model. Unset: the one that [embed] installs.

    `precision` is what vectors of whole batches are computed in (density, gold match); pairs of texts are decided in float32.
    """

    weights: File | None = None
    precision: Literal["float32", "bfloat16"] = "float32"


class Meaning(Table):
    """What a comparison with benchmarks by meaning depends on: the benchmarks and the model."""

    contamination: Contamination
    embedding: Embedding


DiagnosticName = Literal["repetition", "symbols", "special_characters", "personal_data", "perplexity", "toxicity"]


class Diagnostics(Table):
    """From where on a figure that preprocessing wrote beside a row is a reason to reject it; `perplexity` is the z-score."""

    max: dict[DiagnosticName, float] = {}


class Diversity(Table):
    """Whether rows are judged for density by meaning (the extra [embed]), and from which cosine on two rows are neighbours.

    The radius is calibrated (`distill diversity calibrate`) or a number that somebody stands for; there is no default.
    """

    check: bool = False
    calibration: File | None = None
    radius: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def calibrated(self) -> Diversity:
        if self.calibration is not None and self.radius is not None:
            raise ValueError("calibration and radius are two answers to one question: keep one")
        if self.check and self.calibration is None and self.radius is None:
            raise ValueError("check needs a calibration (distill diversity calibrate) or a radius: there is no default")
        return self


class GoldMatch(Table):
    """Whether generated rows are compared with the gold set by meaning too. Needs the extra [embed]."""

    semantic: bool = False


class Holdout(Table):
    """Whether hold-outs are compared with their training batches by meaning too. Needs the extra [embed]."""

    semantic: bool = False


class InspectionTable(Table):
    """The sampling inspection of generated bulk, and in mode "always" of every batch. `distill inspect` draws the rows.

    aql and limiting_quality   shares of defects: lots up to the first should be accepted, from the second on refused
    alpha, beta                the risks that they are not
    rows                       at least so many rows of every batch; 0 asks for none
    min_kappa, min_shared_rows what the agreement of an automated verifier with people has to reach before it may stand alone
    """

    mode: Literal["bulk", "always"] = "bulk"
    aql: float = Field(default=0.01, gt=0, lt=1)
    limiting_quality: float = Field(default=0.1, gt=0, lt=1)
    alpha: float = Field(default=0.05, gt=0, lt=1)
    beta: float = Field(default=0.1, gt=0, lt=1)
    rows: int = Field(default=0, ge=0)
    min_kappa: float = Field(default=0.7, ge=0.7, le=1)
    min_shared_rows: int = Field(default=30, ge=30)

    @model_validator(mode="after")
    def apart(self) -> InspectionTable:
        if self.aql >= self.limiting_quality:
            raise ValueError("aql has to lie below limiting_quality")
        return self


class Grading(Table):
    """`calibration`: a file of `distill calibrate`, that judges scores; `fidelity`: one of `distill fidelity calibrate`."""

    calibration: File | None = None
    fidelity: File | None = None


class Card(Table):
    """What the dataset card and the Croissant metadata of an export say that no batch can know."""

    license: Text | None = None
    creator: Text | None = None
    url: Text | None = None


class Bulk(Table):
    """The bulk contract: who answers for it, from how many generated items on it holds, and up to which share of all tokens a
    frontier model's are a small assist (MED); beyond, the batch is HIGH."""

    owner: Text | None = None
    max_items: int = Field(default=50, ge=0, le=50)
    max_assist_share: float = Field(default=0.1, ge=0, le=1)


class KnownModel(Table):
    """A model and its tier. A frontier model has the purposes it may be used for. `price` is of a million tokens, read or
    written; the ceilings are those of one run."""

    name: Text
    tier: Literal["local", "frontier"]
    purposes: tuple[Purpose, ...] = ()
    price: float = Field(default=0.0, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)


class BudgetTable(Table):
    """What one run may spend on models, all sessions of it together (minutes: one session). A command can only ask for less."""

    max_calls: int | None = Field(default=None, ge=0)
    max_tokens: int | None = Field(default=None, ge=0)
    max_cost: float | None = Field(default=None, ge=0)
    max_minutes: float | None = Field(default=None, gt=0)


class Gold(Table):
    """What a gold set has to hold before it can be frozen: rows, and shares of them whose `case` is one of the three."""

    min_rows: int = Field(default=10, ge=1)
    min_refusal_share: float = Field(default=0.1, ge=0, le=1)
    min_ambiguity_share: float = Field(default=0.1, ge=0, le=1)
    min_rare_share: float = Field(default=0.1, ge=0, le=1)


class Retention(Table):
    """For how many years gate results and everything else stay; the audit trail stays forever. A policy can only add years."""

    gate_results_years: int = Field(default=5, ge=5)
    everything_years: int = Field(default=2, ge=2)


class Drift(Table):
    """A figure of a stage that moves by more than this share of its value in the run before is a warning."""

    warn_percent: float = Field(default=20.0, gt=0)


class Safety(Table):
    """Where safety hangs on the rows (values of a column `domain`), and settings of generation that bulk may not change."""

    domains: tuple[Text, ...] = ()
    parameters: dict[Text, bool | int | float | str] = {}


class WaiverEntry(Table):
    """An exception that people want: shown in verdict, seal and report, in force through the day it expires."""

    gate: Text
    reason: Text
    who: Text
    expires: dt.date


class Required(Table):
    """Gate ids that must exist and pass, whatever the gates folder holds."""

    gates: tuple[Text, ...] = ()


LimitSetting = float | int | str | bool | tuple[str, ...]


class Policy(Table):
    schema_version: Literal[1] = 1
    tokenizer: Tokenizer = Tokenizer()
    language: Language = Language()
    contamination: Contamination = Contamination()
    duplicates: Duplicates = Duplicates()
    leakage: Leakage = Leakage()
    privacy: Privacy = Privacy()
    record_schema: RecordSchema = RecordSchema()
    embedding: Embedding = Embedding()
    holdout: Holdout = Holdout()
    diagnostics: Diagnostics = Diagnostics()
    diversity: Diversity = Diversity()
    gold_match: GoldMatch = GoldMatch()
    inspection: InspectionTable = InspectionTable()
    grading: Grading = Grading()
    card: Card = Card()
    drift: Drift = Drift()
    bulk: Bulk = Bulk()
    models: tuple[KnownModel, ...] = ()
    budget: BudgetTable = BudgetTable()
    gold: Gold = Gold()
    safety: Safety = Safety()
    retention: Retention = Retention()
    required: Required = Required()
    gates: dict[Text, dict[Text, LimitSetting]] = {}
    waivers: tuple[WaiverEntry, ...] = ()
    _sha256: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def unique(self) -> Policy:
        waived = [w.gate for w in self.waivers]
        if len(set(waived)) != len(waived):
            raise ValueError("two waivers name one gate")
        models = [m.name for m in self.models]
        if len(set(models)) != len(models):
            raise ValueError("two models have one name")
        names = [b.name for b in self.contamination.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError("two benchmarks have one name")
        return self

    @property
    def sha256(self) -> str:
        """Digest of distill.toml's bytes and of every file it names."""
        return self._sha256

    @property
    def meaning(self) -> Meaning:
        """Two tables as one, for `@measure(config="meaning")`."""
        return Meaning(contamination=self.contamination, embedding=self.embedding)

    def table(self, name: str) -> Table:
        """One table by name, as `@measure(config=…)` asks for it."""
        found = getattr(self, name, None)
        if not isinstance(found, Table):
            raise DistillError(Code.POLICY, f"the policy has no table [{name}]")
        return found

    def table_digest(self, name: str) -> str:
        """Digest of a table's values, files by content. Part of the key of every measure that is given the table."""
        return storage.sha256_bytes(storage.canonical_json(by_content(self.table(name))))

    def pin(self, root: Path, data: bytes) -> None:
        """Resolves and hashes every file the policy names and fixes the policy's digest."""
        files = list(pinned_files(self))
        for file in files:
            file.pin(root)
        if self.record_schema.path is not None:  # a schema that cannot be used is known now, not when the gate runs
            from pytest_distill.policy.record_schema import load_validator

            load_validator(self.record_schema.path.resolved.read_bytes(), self.record_schema.path.path)
        if self.grading.calibration is not None:  # and so is a calibration that is none
            from pytest_distill.contracts.calibration import Calibration

            try:
                Calibration.load(self.grading.calibration.resolved)
            except DistillError as error:
                raise DistillError(Code.CALIBRATION, error.message, "`distill calibrate` makes one.") from error
        if self.grading.fidelity is not None:
            from pytest_distill.contracts.fidelity import FidelityCalibration

            try:
                FidelityCalibration.load(self.grading.fidelity.resolved)
            except DistillError as error:
                raise DistillError(Code.FIDELITY, error.message, "`distill fidelity calibrate` makes one.") from error
        self._own_bounds()
        parts = [storage.sha256_bytes(data), *(f"{file.path}:{file.sha256}" for file in files)]
        object.__setattr__(self, "_sha256", storage.sha256_bytes("\n".join(parts).encode()))

    def _own_bounds(self) -> None:
        """Raises E-POLICY where a bound that was fitted with one model would judge the cosines of another."""
        weights = self.embedding.weights
        if weights is None or weights.sha256 == FITTED_WITH:
            return
        asked = {"contamination.meaning": self.contamination.semantic, "stage1.holdout-meaning": self.holdout.semantic}
        for gate, limit in FITTED.items():
            if asked[gate] and limit not in self.gates.get(gate, {}):
                raise DistillError(
                    Code.POLICY,
                    f"{gate}: {limit} was fitted with all-MiniLM-L6-v2, and [embedding] weights names another model",
                    f'Measure on pairs of your own, and say [gates."{gate}"] {limit} = … for this model.',
                )


def pinned_files(value: Any) -> list[PinnedFile]:
    """Every file below a table, in declaration order."""
    if isinstance(value, PinnedFile):
        return [value]
    if isinstance(value, BaseModel):
        return [file for name in type(value).model_fields for file in pinned_files(getattr(value, name))]
    if isinstance(value, tuple):
        return [file for item in value for file in pinned_files(item)]
    if isinstance(value, dict):
        return [file for item in value.values() for file in pinned_files(item)]
    return []


def by_content(value: Any) -> Any:
    """JSON values of a table, with each file replaced by the digest of its bytes."""
    if isinstance(value, PinnedFile):
        return {"sha256": value.sha256}
    if isinstance(value, BaseModel):
        return {name: by_content(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, (tuple, list)):
        return [by_content(item) for item in value]
    if isinstance(value, dict):
        return {key: by_content(item) for key, item in value.items()}
    if isinstance(value, dt.date):
        return value.isoformat()
    return value
