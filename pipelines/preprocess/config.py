"""The bounds of preprocessing, as a TOML file sets them. What it does not say has the value of the data pipeline's contract."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, model_validator

from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.preprocess import Threshold
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Table, Text

PIPELINE = "preprocess"
DEFAULT_VERSION = "preprocess_v1"
WORDS: dict[str, tuple[int, int]] = {"text": (50, 100_000), "sft": (1, 100_000)}
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]


class Languages(Table):
    """`allowed` unset: as the workspace's policy says. A text of fewer than `min_letters` letters has no language to be told."""

    allowed: tuple[Language, ...] | None = Field(default=None, min_length=1)
    min_confidence: float = Field(default=0.65, gt=0, le=1)
    min_letters: int = Field(default=60, ge=1)


class Length(Table):
    """Bounds in words, both included. A word is what lies between white space, or one character of a script without spaces."""

    min_words: int | None = Field(default=None, ge=1)
    max_words: int | None = Field(default=None, ge=1)


class Duplicates(Table):
    """Jaccard similarity of sets of character `shingle`-grams from which two documents are near duplicates."""

    similarity: float = Field(default=0.82, gt=0, le=1)
    shingle: int = Field(default=13, ge=1, le=100)
    permutations: int = Field(default=128, ge=16, le=1024, multiple_of=16)


class Diagnostic(Table):
    """Logged for every row; rows beyond `max` are dropped only where it is promoted."""

    max: float
    promote: bool = False


class Repetition(Diagnostic):
    max: float = Field(default=0.20, ge=0, le=1)


class Symbols(Diagnostic):
    max: float = Field(default=0.30, ge=0, le=1)


class SpecialCharacters(Diagnostic):
    max: float = Field(default=0.05, ge=0, le=1)


class PersonalData(Diagnostic):
    max: float = Field(default=0, ge=0)


class Perplexity(Diagnostic):
    """`max` is a z-score within the row's domain. `sample` is the share of kept rows the model of the corpus learns from."""

    max: float = Field(default=4.0, gt=0)
    sample: float = Field(default=0.25, gt=0, le=1)
    domain_column: Text = "domain"


class Toxicity(Diagnostic):
    """`model`: a folder with a Hugging Face sequence classifier, or a Detoxify checkpoint (.ckpt) with `config` beside it."""

    max: float = Field(default=0.5, ge=0, le=1)
    model: Text | None = None
    config: Text | None = None
    labels: tuple[Text, ...] | None = None


class Diagnostics(Table):
    repetition: Repetition = Repetition()
    symbols: Symbols = Symbols()
    special_characters: SpecialCharacters = SpecialCharacters()
    personal_data: PersonalData = PersonalData()
    perplexity: Perplexity = Perplexity()
    toxicity: Toxicity = Toxicity()


# Diagnostic -> the reason of a row that it rejects where it is promoted.
REASONS: dict[str, Reason] = {
    "repetition": Reason.REPETITION,
    "symbols": Reason.SYMBOLS,
    "special_characters": Reason.SPECIAL_CHARACTERS,
    "personal_data": Reason.PERSONAL_DATA,
    "toxicity": Reason.TOXICITY,
    "perplexity": Reason.PERPLEXITY,
}


class Config(Table):
    """One run's settings. `unit_rows` is how many records are done and stored at a time, and so what a kill can cost."""

    pipeline_version: Text = DEFAULT_VERSION
    kind: Literal["text", "sft"] = "text"
    text_files: Literal["document", "line"] = "document"
    split: Text | None = None
    mapping: dict[Text, Text] = Field(default_factory=dict)
    seed: int = Field(default=0, ge=0, lt=2**63)
    unit_rows: int = Field(default=2048, ge=1, le=65_536)
    language: Languages = Languages()
    length: Length = Length()
    duplicates: Duplicates = Duplicates()
    diagnostics: Diagnostics = Diagnostics()

    @model_validator(mode="after")
    def possible(self) -> Config:
        low, high = self.words
        if low > high:
            raise ValueError(f"no text has at least {low} and at most {high} words")
        if self.diagnostics.toxicity.promote and self.diagnostics.toxicity.model is None:
            raise ValueError("toxicity is promoted and has no model")
        return self

    @property
    def words(self) -> tuple[int, int]:
        low, high = WORDS[self.kind]
        given_low, given_high = self.length.min_words, self.length.max_words
        return (low if given_low is None else given_low), (high if given_high is None else given_high)

    @property
    def allowed(self) -> tuple[str, ...]:
        assert self.language.allowed is not None, "the policy's languages are filled in when the config is loaded"
        return self.language.allowed

    def thresholds(self) -> dict[str, Threshold]:
        """Every value that decides about a row, by its dotted name: what is frozen under one pipeline version."""
        tables = {"language": self.language, "duplicates": self.duplicates, "diagnostics": self.diagnostics}
        low, high = self.words
        found = {name: value for table in tables for name, value in _leaves(table, tables[table]) if not name.endswith("model")}
        return {"kind": self.kind, "length.min_words": low, "length.max_words": high, "seed": self.seed} | found


def load(path: Path | None, *, languages: tuple[str, ...], **overrides: Any) -> Config:
    """The settings of a TOML file (None: the defaults), with command-line `overrides` that are not None.

    `languages` are the policy's, for a file that names none. Raises E-POLICY for what does not parse or cannot be.
    """
    name = path.name if path is not None else "the settings"
    values: dict[str, Any] = {}
    if path is not None:
        try:
            values = tomllib.loads(path.read_bytes().decode("utf-8"))
        except OSError as error:
            raise DistillError(Code.SOURCE, f"cannot read {path}: {error.strerror}", "Check --config.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise DistillError(Code.POLICY, f"{name} is no TOML: {error}", "Mend that line.") from error
    values |= {key: value for key, value in overrides.items() if value is not None}
    try:
        config = Config.model_validate(values)
    except ValidationError as error:
        raise DistillError(Code.POLICY, f"{name}: {first_problem(error)}", "docs/preprocess.md lists every setting.") from error
    if config.language.allowed is None:
        config = config.model_copy(update={"language": config.language.model_copy(update={"allowed": languages})})
    return config


def _leaves(prefix: str, table: Table) -> Iterator[tuple[str, Threshold]]:
    for name in type(table).model_fields:
        value = getattr(table, name)
        if isinstance(value, Table):
            yield from _leaves(f"{prefix}.{name}", value)
        else:
            yield f"{prefix}.{name}", value
