"""Labelled, scored batches to a calibration on disk: reading labels, who gave them, and what the result holds for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import orjson

from pytest_distill import clock, storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.calibration import Calibration, CalibrationDigests, digests_of
from pytest_distill.contracts.grading import DIMENSIONS, EQUAL_WEIGHTS, SCORES, SCORING, Scorer, ScoringSummary
from pytest_distill.contracts.manifest import Created
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.calibrate import Labelled, calibrate
from pytest_distill.pipelines.grading.reply import complete_output

_LABELS = {1: 1, 0: 0, "good": 1, "bad": 0}  # true is 1 to Python too


class Label(NamedTuple):
    """What a person said of a row. Rows of one group are judged together, such as the two answers of a pair."""

    good: int
    group: str | None


class Settings(NamedTuple):
    """How to fit: the share that is held out, folds, resamples, the precision that `high` is for."""

    holdout: float = 0.3
    folds: int = 5
    bootstraps: int = 200
    precision: float = 0.9
    seed: int = 0


def scorer_of(batch: Batch) -> Scorer:
    """Who scored a batch, as its `scoring.json` says. Raises E-CALIBRATION where there is none."""
    data = batch.attachment(SCORING)
    if data is None:
        raise DistillError(
            Code.CALIBRATION, f"{batch.id} has no {SCORING}, so nobody knows who scored it", "`distill score` makes it."
        )
    return ScoringSummary.from_bytes(data, name=f"{batch.id}/{SCORING}").scorer


def labels_of(path: Path, labelled_by: str, scorer: Scorer) -> dict[str, Label]:
    """Lines of `{"id": …, "label": true|false|1|0|"good"|"bad", "group": …, "by": …}`; `group` and `by` may be left out.

    Raises E-SOURCE-NOTFOUND, E-SOURCE-FORMAT, and E-CALIBRATION for a label that the scorer itself gave.
    """
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DistillError(Code.SOURCE, f"{path} cannot be read: {error.strerror}", "One JSON object a line.") from error
    found: dict[str, Label] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _row(line, f"{path.name}:{number}")
        by = str(row.get("by") or labelled_by)
        if by.strip().casefold() == scorer.model.strip().casefold():
            raise DistillError(
                Code.CALIBRATION,
                f"{path.name}:{number}: the label is by {by}, which gave the scores too",
                "Take labels of people.",
            )
        if row["id"] in found:
            raise DistillError(Code.FORMAT, f"{path.name}:{number}: {row['id']!r} has a label already", "One label a row.")
        group = row.get("group")
        found[row["id"]] = Label(_LABELS[row["label"]], None if group is None else str(group))
    return found


def _row(line: bytes, place: str) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DistillError(Code.FORMAT, f"{place} is no JSON", "One JSON object a line.") from error
    label = row.get("label") if isinstance(row, dict) else None
    if (
        not isinstance(row, dict)
        or not isinstance(row.get("id"), str)
        or not isinstance(label, (bool, int, str))
        or label not in _LABELS
    ):
        raise DistillError(Code.FORMAT, f"{place} is no label", 'Example: {"id": "rows.jsonl:1", "label": "good"}.')
    return row


def labelled(batches: Sequence[Batch], labels: Mapping[str, Label], columns: Sequence[str]) -> Labelled:
    """The scores of every labelled row. Rows without a group are in that of their texts, so that copies stay together.

    Raises E-COLUMN, E-CALIBRATION for labels of rows that no batch has, E-SCORE-… for a score that is none.
    """
    scores, good, groups = [], [], []
    missing = set(labels)
    for batch in batches:
        for row in batch.frame(["id", SCORES, *columns]).to_dicts():
            key = str(row["id"])
            if key not in missing:
                continue
            missing.remove(key)
            output = complete_output(row[SCORES], weights=EQUAL_WEIGHTS)
            scores.append([output.scores[name] / highest for name, highest in DIMENSIONS.items()])
            good.append(labels[key].good)
            texts = storage.sha256_bytes(storage.canonical_json([row[name] for name in columns]))
            groups.append(f"group {labels[key].group}" if labels[key].group is not None else f"texts {texts}")
    if missing:
        raise DistillError(
            Code.CALIBRATION,
            f"{len(missing):,} labels are of rows that are not scored, such as {min(missing)!r}",
            "Score them, or leave their labels out.",
        )
    numbers = {name: number for number, name in enumerate(sorted(set(groups)))}
    return Labelled(
        np.array(scores, dtype=np.float64).reshape(len(good), len(DIMENSIONS)),
        np.array(good, dtype=np.int64),
        np.array([numbers[name] for name in groups], dtype=np.int64),
    )


def fitted(
    batches: Sequence[Batch], labels_file: Path, *, columns: Sequence[str], labelled_by: str, settings: Settings
) -> Calibration:
    """The calibration of the scorer of `batches`, which has to be one. Raises E-CALIBRATION."""
    scorers = [scorer_of(batch) for batch in batches]
    if other := next((batch.id for batch, scorer in zip(batches, scorers, strict=True) if scorer != scorers[0]), None):
        raise DistillError(Code.CALIBRATION, f"{other} has another scorer than {batches[0].id}", "Calibrate each scorer alone.")
    labels = labels_of(labels_file, labelled_by, scorers[0])
    rows = labelled(batches, labels, columns)
    if not len(rows.good):
        raise DistillError(Code.CALIBRATION, f"{labels_file.name} labels no row", "Label rows of the batch by their ids.")
    found = calibrate(rows, **settings._asdict())
    scorer = scorers[0]
    held = digests_of(scorer)
    data = storage.canonical_json([sorted(batch.sha256 for batch in batches), storage.sha256_file(labels_file)])
    names = tuple(DIMENSIONS)
    return Calibration(
        weights=dict(zip(names, found.weights, strict=True)),
        thresholds=found.thresholds,
        count=found.count,
        labelled_by=labelled_by,
        scorer_model=scorer.model,
        scorer_version=scorer.version,
        digests=CalibrationDigests(
            data=storage.sha256_bytes(data), model=str(held["model"]), rubric=scorer.rubric_sha256, tokenizer=held["tokenizer"]
        ),
        weight_intervals=dict(zip(names, found.weight_intervals, strict=True)),
        threshold_intervals={"low": found.threshold_intervals[0], "high": found.threshold_intervals[1]},
        held_out=found.held_out,
        precision=settings.precision,
        seed=settings.seed,
    )


def write(calibration: Calibration, path: Path, command: Sequence[str]) -> None:
    """The artifact, and when it was made beside it. Raises E-EXPORT-EXISTS: policies pin its bytes."""
    if path.exists():
        raise DistillError(Code.EXPORT_EXISTS, f"{path} is there already", "A calibration is never edited; take another name.")
    created = Created(created_at=clock.timestamp(), where=str(path), command=tuple(command))
    created.write(path.with_name(f"{path.name}.created.json"))
    calibration.write(path)
