"""Training of the domain head on a frozen backbone, and its F1 on rows that were held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from pytest_distill import storage
from pytest_distill.contracts.domain import (
    DOMAINS,
    DomainBackbone,
    DomainClassifier,
    DomainData,
    DomainMetrics,
    DomainName,
    DomainScore,
    DomainTraining,
)
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.domain.families import families, split
from pytest_distill.pipelines.grading.domain.head import (
    Classifier,
    DomainClassifierHead,
    logits,
    probabilities,
    to_bytes,
)
from pytest_distill.pipelines.models.hidden import DEFAULT_LAYER, Backbone, States

BINS: Final = 10  # of the calibration error
TEMPERATURES: Final = np.geomspace(0.05, 20.0, 241)


@dataclass(frozen=True)
class Recipe:
    """How to train. The defaults of layer, epochs and lr are the data pipeline's contract's; it trains on 100,000 rows."""

    layer: int = DEFAULT_LAYER
    epochs: int = 1
    lr: float = 1e-4
    batch_size: int = 32
    seed: int = 0
    held_out: float = 0.2
    near_duplicates: float = 0.5
    max_tokens: int = 256


@dataclass(frozen=True)
class Labelled:
    """Rows to learn from: text, domain, and optionally the group (document, source) that must not be split."""

    texts: Sequence[str]
    labels: Sequence[DomainName]
    groups: Sequence[str] | None
    label_column: str
    group_column: str | None
    data: tuple[DomainData, ...]


def train(rows: Labelled, backbone: Backbone, recipe: Recipe) -> Classifier:
    """The head of the same rows, backbone and recipe is the same bytes on one machine.

    Raises E-DOMAIN for rows that nothing can be learnt from, E-LAYER.
    """
    if len(set(rows.labels)) < 2:
        raise DistillError(Code.DOMAIN, "the rows are of fewer than two domains", f"Domains: {', '.join(DOMAINS)}.")
    found = families(rows.texts, rows.groups, similarity=recipe.near_duplicates)
    parts = np.array(split(rows.labels, found, held_out=recipe.held_out, seed=recipe.seed))
    states = backbone.last_states(rows.texts, recipe.layer, max_tokens=recipe.max_tokens)
    targets = np.array([DOMAINS.index(label) for label in rows.labels])
    ids = sorted(set(targets.tolist()))
    learnt, fitted, held = (parts == name for name in ("train", "calibration", "held_out"))
    with _one_thread():
        head = fit(states[learnt], targets[learnt], recipe)
        temperature = fit_temperature(logits(head, states[fitted]), targets[fitted], ids)
        scores = logits(head, states[held])
    record = DomainClassifier(
        trained=tuple(DOMAINS[i] for i in ids),
        weights_sha256=storage.sha256_bytes(to_bytes(head)),
        temperature=temperature,
        backbone=DomainBackbone(
            name=backbone.name,
            family=backbone.family,
            sha256=backbone.sha256,
            layers=backbone.layers,
            hidden_dim=backbone.hidden_dim,
            layer=recipe.layer,
            max_tokens=recipe.max_tokens,
        ),
        training=DomainTraining(
            epochs=recipe.epochs,
            lr=recipe.lr,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            held_out=recipe.held_out,
            near_duplicates=recipe.near_duplicates,
            label=rows.label_column,
            group=rows.group_column,
            rows=len(targets),
            rows_train=int(learnt.sum()),
            rows_calibration=int(fitted.sum()),
            rows_held_out=int(held.sum()),
            families=len(set(found)),
        ),
        metrics=metrics(scores, targets[held], ids, temperature),
        data=rows.data,
    )
    return Classifier(head, record)


def fit(states: States, targets: npt.NDArray[np.int64], recipe: Recipe) -> DomainClassifierHead:
    """Cross-entropy, AdamW, rows shuffled anew in each epoch by the seed.

    It learns on states of mean 0 and deviation 1 in each dimension and starts from zero; both are folded into weight and bias at
    the end, so the head reads hidden states as they are. Without that a step of 1e-4 means something else in every model.
    """
    mean = torch.from_numpy(states.mean(axis=0, dtype=np.float64).astype(np.float32))
    scale = torch.from_numpy(np.maximum(states.std(axis=0, dtype=np.float64), 1e-6).astype(np.float32))
    inputs, wanted = (torch.from_numpy(states) - mean) / scale, torch.from_numpy(targets)
    head = DomainClassifierHead(states.shape[1])
    torch.nn.init.zeros_(head.head.weight)
    torch.nn.init.zeros_(head.head.bias)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.lr)
    generator = torch.Generator().manual_seed(recipe.seed)
    for _ in range(recipe.epochs):
        for places in torch.randperm(len(wanted), generator=generator).split(recipe.batch_size):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(head(inputs[places].unsqueeze(1)), wanted[places])
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        head.head.weight /= scale
        head.head.bias -= head.head.weight @ mean
    head.eval()
    return head


def fit_temperature(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], ids: list[int]) -> float:
    """The temperature of the smallest mean negative log-likelihood on rows that neither trained nor judge (Guo et al. 2017)."""
    places = np.searchsorted(ids, targets)
    losses = [
        -np.log(np.maximum(probabilities(scores, ids, t)[np.arange(len(places)), places], 1e-12)).mean() for t in TEMPERATURES
    ]
    return float(round(TEMPERATURES[int(np.argmin(losses))], 6))


def metrics(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.int64], ids: list[int], temperature: float) -> DomainMetrics:
    """F1 of each domain, and their mean (macro). A domain that is never named has precision 0."""
    found = probabilities(scores, ids, temperature)
    named = np.array(ids)[found.argmax(axis=1)]
    commonest = Counter(targets.tolist()).most_common(1)[0]
    domains = []
    for domain in ids:
        right = int(((named == domain) & (targets == domain)).sum())
        said, rows = int((named == domain).sum()), int((targets == domain).sum())
        precision, recall = right / said if said else 0.0, right / rows
        f1 = 2 * right / (said + rows)
        domains.append(DomainScore(domain=DOMAINS[domain], precision=precision, recall=recall, f1=f1, rows=rows))
    return DomainMetrics(
        macro_f1=sum(d.f1 for d in domains) / len(domains),
        accuracy=float((named == targets).mean()),
        majority_f1=2 * commonest[1] / (len(targets) + commonest[1]) / len(ids),
        ece_uncalibrated=calibration_error(probabilities(scores, ids, 1.0), np.searchsorted(ids, targets)),
        ece=calibration_error(found, np.searchsorted(ids, targets)),
        domains=tuple(domains),
    )


def calibration_error(found: npt.NDArray[np.float64], places: npt.NDArray[np.intp]) -> float:
    """Expected calibration error: how far confidence and accuracy lie apart, in ten bins of confidence, weighted by rows."""
    confidence, right = found.max(axis=1), found.argmax(axis=1) == places
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    apart = [
        abs(float(confidence[bins == b].mean() - right[bins == b].mean())) * float((bins == b).mean())
        for b in sorted(set(bins.tolist()))
    ]
    return round(min(1.0, sum(apart)), 6)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order, whatever the machine's cores: the bytes of the head hang on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
