"""The head itself, and its two files: weights and record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors import torch as tensors
from torch import nn

from pytest_distill import storage
from pytest_distill.contracts.domain import DOMAINS, RECORD, WEIGHTS, Domain, DomainClassifier
from pytest_distill.errors import Code, DistillError

DIGITS: Final = 4  # of a confidence: what rounding in the backbone moves lies below


class DomainClassifierHead(nn.Module):
    """Linear classifier on LLM hidden states."""

    def __init__(self, hidden_dim: int, num_domains: int = len(DOMAINS)) -> None:
        super().__init__()
        self.head = nn.Linear(hidden_dim, num_domains)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """(batch, seq_len, hidden_dim) to logits (batch, num_domains), from the last position.

        Where rows are padded, the last position has to be the last token's: `pipelines.models.hidden.last_token` takes it.
        """
        logits: torch.Tensor = self.head(hidden_states[:, -1, :])
        return logits


@dataclass(frozen=True)
class Classifier:
    """A trained head with its record."""

    head: DomainClassifierHead
    record: DomainClassifier

    def probabilities(self, states: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """(texts, hidden_dim) to (texts, trained domains), calibrated."""
        return probabilities(logits(self.head, states), trained(self.record), self.record.temperature)

    def domains(self, states: npt.NDArray[np.float32]) -> list[Domain]:
        """The likeliest domain of each text."""
        ids = trained(self.record)
        found = self.probabilities(states)
        best = found.argmax(axis=1)
        return [
            Domain(id=ids[place], name=DOMAINS[ids[place]], confidence=round(float(row[place]), DIGITS))
            for row, place in zip(found, best.tolist(), strict=True)
        ]


def trained(record: DomainClassifier) -> list[int]:
    return [DOMAINS.index(name) for name in record.trained]


def logits(head: DomainClassifierHead, states: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    with torch.inference_mode():
        found: npt.NDArray[np.float64] = head(torch.from_numpy(states).unsqueeze(1)).double().numpy()
    return found


def probabilities(logits: npt.NDArray[np.float64], ids: list[int], temperature: float) -> npt.NDArray[np.float64]:
    """Softmax over the columns `ids` at a temperature."""
    scaled = logits[:, ids] / temperature
    scaled = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    found: npt.NDArray[np.float64] = scaled / scaled.sum(axis=1, keepdims=True)
    return found


def to_bytes(head: DomainClassifierHead) -> bytes:
    """The weights as safetensors: the same weights are the same bytes, and reading them runs nothing."""
    return bytes(tensors.save({name: value.detach().contiguous() for name, value in head.state_dict().items()}))


def write(folder: Path, classifier: Classifier) -> None:
    """Both files into a new folder, whole or not at all. Raises E-USAGE where there is something already."""
    if folder.exists():
        raise DistillError(Code.USAGE, f"{folder} exists", "Name a new folder.")
    with storage.atomic_folder(folder) as staging:
        storage.write_bytes(staging / WEIGHTS, to_bytes(classifier.head))
        classifier.record.write(staging / RECORD)


def load(folder: Path) -> Classifier:
    """Reads both files. Raises E-MANIFEST, and E-DOMAIN for weights that are not those of the record, or are no safetensors."""
    record = DomainClassifier.load(folder / RECORD)
    try:
        data = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise DistillError(Code.DOMAIN, f"{folder} has no {WEIGHTS}", "Train it again: distill domain train.") from error
    if storage.sha256_bytes(data) != record.weights_sha256:
        raise DistillError(
            Code.DOMAIN, f"{WEIGHTS} is not what {RECORD} was written for", "Train it again: distill domain train."
        )
    head = DomainClassifierHead(record.backbone.hidden_dim)
    try:
        head.load_state_dict(tensors.load(data))
    except (SafetensorError, RuntimeError) as error:
        raise DistillError(Code.DOMAIN, f"{WEIGHTS} holds no head of this size: {error}", "Train it again.") from error
    return Classifier(head.eval(), record)
