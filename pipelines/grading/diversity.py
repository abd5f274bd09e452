"""The radius within which two texts count as neighbours: from labelled pairs, or from a batch whose density is fine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pytest_distill import clock, storage
from pytest_distill.contracts.diversity import DiversityCalibration
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import embedding
from pytest_distill.measuring.density import nearest
from pytest_distill.measuring.embedding import Dtype

FOLDS: Final = 5
DRAWS: Final = 500  # of the bootstrap
COVERED: Final = (0.025, 0.975)
MIN_PAIRS: Final = 10  # of each label
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def from_pairs(file: Path, model: Path, *, dtype: Dtype = "float32", seed: int = 0) -> DiversityCalibration:
    """From JSON lines {"a", "b", "duplicate"}. Raises E-SOURCE-NOTFOUND, E-SOURCE-FORMAT, E-CALIBRATION for too few pairs."""
    data = _read(file)
    pairs = _pairs(data, file.name)
    duplicate = np.array([pair["duplicate"] for pair in pairs])
    if min(int(duplicate.sum()), int((~duplicate).sum())) < MIN_PAIRS:
        raise DistillError(
            Code.CALIBRATION,
            f"{file.name} has {int(duplicate.sum())} duplicates and {int((~duplicate).sum())} pairs that are none",
            f"At least {MIN_PAIRS} of each.",
        )
    vectors = embedding.embed([pair[side] for side in ("a", "b") for pair in pairs], model, dtype=dtype)
    cosines = np.asarray(np.sum(vectors[: len(pairs)] * vectors[len(pairs) :], axis=1, dtype=np.float64))
    radius = best(cosines, duplicate)
    rng = np.random.default_rng(seed)
    draws = [rng.integers(0, len(pairs), len(pairs)) for _ in range(DRAWS)]
    low, high = np.quantile([best(cosines[d], duplicate[d]) for d in draws if 0 < duplicate[d].sum() < len(d)], COVERED)
    said = held_out(cosines, duplicate, rng)
    right = int((said & duplicate).sum())
    return DiversityCalibration(
        method="pairs",
        radius=_rounded(radius),
        low=_rounded(min(low, radius)),
        high=_rounded(max(high, radius)),
        count=len(pairs),
        duplicates=int(duplicate.sum()),
        precision=right / int(said.sum()) if said.any() else 0.0,
        recall=right / int(duplicate.sum()),
        f1=2 * right / int(said.sum() + duplicate.sum()),
        seed=seed,
        data_sha256=storage.sha256_bytes(data),
        model_sha256=embedding.digest(model, dtype),
        created_at=clock.timestamp(),
    )


def from_reference(
    texts: Sequence[str], data_sha256: str, model: Path, *, quantile: float, dtype: Dtype = "float32", seed: int = 0
) -> DiversityCalibration:
    """The cosine to their nearest other row that `quantile` of the rows stay below, with a bootstrap interval."""
    if len(texts) < 2 * MIN_PAIRS:
        raise DistillError(Code.CALIBRATION, f"{len(texts)} rows are no reference", f"At least {2 * MIN_PAIRS}.")
    cosines = nearest(embedding.embed(texts, model, dtype=dtype)).astype(np.float64)
    rng = np.random.default_rng(seed)
    radius = float(np.quantile(cosines, quantile))
    low, high = np.quantile([np.quantile(rng.choice(cosines, len(cosines)), quantile) for _ in range(DRAWS)], COVERED)
    return DiversityCalibration(
        method="reference",
        radius=_rounded(radius),
        low=_rounded(min(low, radius)),
        high=_rounded(max(high, radius)),
        count=len(texts),
        quantile=quantile,
        seed=seed,
        data_sha256=data_sha256,
        model_sha256=embedding.digest(model, dtype),
        created_at=clock.timestamp(),
    )


def best(cosines: Floats, duplicate: Bools) -> float:
    """The bound (>=) of the best F1: halfway between the last cosine that counts and the next one below it."""
    order = np.argsort(-cosines, kind="stable")
    ranked, found = cosines[order], np.cumsum(duplicate[order])
    scores = 2 * found / (np.arange(1, len(ranked) + 1) + duplicate.sum())
    scores[:-1][ranked[:-1] == ranked[1:]] = -1.0  # a bound cannot part equal cosines
    at = int(scores.argmax())
    return float((ranked[at] + ranked[at + 1]) / 2 if at + 1 < len(ranked) else ranked[at])


def held_out(cosines: Floats, duplicate: Bools, rng: np.random.Generator) -> Bools:
    """What is said of each pair by the bound that the other folds give."""
    folds = np.empty(len(cosines), np.int64)
    for label in (False, True):  # each fold has its share of both
        places = rng.permutation(np.flatnonzero(duplicate == label))
        folds[places] = np.arange(len(places)) % FOLDS
    said = np.zeros(len(cosines), np.bool_)
    for fold in range(FOLDS):
        here = folds == fold
        said[here] = cosines[here] >= best(cosines[~here], duplicate[~here])
    return said


def _rounded(value: float) -> float:
    return round(max(-1.0, min(1.0, float(value))), 6)


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise DistillError(Code.SOURCE, f"{file} cannot be read: {error.strerror}") from error


def _pairs(data: bytes, name: str) -> list[dict[str, Any]]:
    import orjson

    pairs = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            pair = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DistillError(Code.FORMAT, f"{name} line {number} is no JSON", "One JSON object a line.") from error
        if not (
            isinstance(pair, dict)
            and set(pair) == {"a", "b", "duplicate"}
            and all(isinstance(pair[side], str) and pair[side].strip() for side in ("a", "b"))
            and isinstance(pair["duplicate"], bool)
        ):
            raise DistillError(Code.FORMAT, f"{name} line {number} is no pair", 'Like {"a": "…", "b": "…", "duplicate": true}.')
        pairs.append(pair)
    return pairs
