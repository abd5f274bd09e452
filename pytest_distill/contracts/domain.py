"""Domains of texts: their sixteen names, what a row is stamped with, and the record beside a trained classifier."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import Field, model_validator

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import BatchId, Sha256
from pytest_distill.contracts.rows import NonBlank

WEIGHTS: Final = "classifier.pt"
RECORD: Final = "classifier.json"

DomainName = Literal[
    "code", "math", "science", "instruction", "prose", "conversation", "reference", "legal",
    "medical", "finance", "news", "creative", "qa", "academic", "technical", "other",
]  # fmt: skip
DOMAINS: Final[tuple[DomainName, ...]] = get_args(DomainName)  # the id of a domain is its place
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class Domain(Contract):
    """What a row is stamped with, in its column `domain`."""

    id: int = Field(ge=0, le=15)
    name: DomainName
    confidence: Share

    @model_validator(mode="after")
    def named(self) -> Domain:
        if DOMAINS[self.id] != self.name:
            raise ValueError(f"domain {self.id} is {DOMAINS[self.id]}, not {self.name}")
        return self


class DomainBackbone(Contract):
    """The frozen model. `sha256` is over its config.json, tokenizer.json and weights; `layer` counts from 1."""

    name: NonBlank
    family: Literal["causal", "encoder"]
    sha256: Sha256
    layers: int = Field(ge=1)
    hidden_dim: int = Field(ge=1)
    layer: int = Field(ge=1)
    max_tokens: int = Field(ge=1)

    @model_validator(mode="after")
    def there(self) -> DomainBackbone:
        if self.layer > self.layers:
            raise ValueError(f"layer {self.layer} of a model of {self.layers}")
        return self


class DomainTraining(Contract):
    """How the head was fitted. Rows of one family (a group, or near duplicates) lie in one part only."""

    epochs: int = Field(ge=1)
    lr: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    seed: int = Field(ge=0)
    held_out: float = Field(gt=0, lt=1)
    near_duplicates: float = Field(gt=0, le=1)
    label: NonBlank
    group: NonBlank | None = None
    rows: Count
    rows_train: Count
    rows_calibration: Count
    rows_held_out: Count
    families: Count

    @model_validator(mode="after")
    def adds_up(self) -> DomainTraining:
        if self.rows != self.rows_train + self.rows_calibration + self.rows_held_out:
            raise ValueError("the parts do not add up to the rows")
        return self


class DomainScore(Contract):
    """One domain on the held-out rows. `rows` are those labelled with it."""

    domain: DomainName
    precision: Share
    recall: Share
    f1: Share
    rows: int = Field(ge=1)


class DomainMetrics(Contract):
    """On the held-out rows. `majority_f1` is what always naming the commonest domain would give; ece the calibration error."""

    macro_f1: Share
    accuracy: Share
    majority_f1: Share
    ece_uncalibrated: Share
    ece: Share
    domains: tuple[DomainScore, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def mean(self) -> DomainMetrics:
        if abs(self.macro_f1 - sum(d.f1 for d in self.domains) / len(self.domains)) > 1e-6:
            raise ValueError("macro_f1 is not the mean of the domains' f1")
        return self


class DomainData(Contract):
    """A batch that the head was trained on."""

    batch: BatchId
    sha256: Sha256
    rows: Count


class DomainClassifier(Contract):
    """`classifier.json`, beside the weights in `classifier.pt` (safetensors: tensors and nothing else).

    `trained` are the domains that had rows: no other is predicted. Probabilities are softmax(logits / temperature) over them.
    """

    schema_version: Literal[1] = 1
    domains: tuple[DomainName, ...] = DOMAINS
    trained: tuple[DomainName, ...] = Field(min_length=2)
    weights_sha256: Sha256
    temperature: float = Field(gt=0)
    backbone: DomainBackbone
    training: DomainTraining
    metrics: DomainMetrics
    data: tuple[DomainData, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def known(self) -> DomainClassifier:
        if self.domains != DOMAINS:
            raise ValueError("the sixteen domains have their order")
        if tuple(sorted(set(self.trained), key=DOMAINS.index)) != self.trained:
            raise ValueError("trained domains stand once, in the order of their ids")
        if tuple(d.domain for d in self.metrics.domains) != self.trained:
            raise ValueError("metrics are of the trained domains")
        return self
