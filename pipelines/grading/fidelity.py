"""Does a rephrased text still say what the original said: calibrated on labelled pairs, decided for every row of a batch.

A model of meaning puts a cosine on each pair; numbers, denials, names, units, the question and what is left of each clause are
compared exactly beside it (`measuring.fidelity`), because a model of meaning misses just these. A logistic regression weighs
both. Only what it leaves between two thresholds is given to a verifier. Without a verifier, the doubtful does not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import numpy as np

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.fidelity import (
    FIDELITY,
    PIPELINE,
    Fidelity,
    FidelityCalibration,
    FidelityHeldOut,
    FidelityPair,
    FidelityScore,
    Figure,
)
from pytest_distill.contracts.manifest import How
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import embedding
from pytest_distill.measuring.fidelity import decide, differences, figures, score
from pytest_distill.pipelines.grading.derive import Rejection, declared, derived
from pytest_distill.pipelines.models.metering import Session
from pytest_distill.policy.workspace import Workspace

FEWEST: Final = 20  # pairs of each label, in each half
DOUBTFUL: Final = 0.05  # of the pairs fitted on, those just below `high` that are left to the verifier
LET_PASS: Final = 0.08  # of the pairs above `high`, those that may be unfaithful
RIDGE: Final = 0.2  # by cross-validation over the first half of benchmarks/fidelity.py: 0.1 to 0.5 do as well, 1.0 worse
NAMES: Final[tuple[Figure, ...]] = get_args(Figure)

Array = np.ndarray[Any, np.dtype[np.float64]]
Verifier = Callable[[Sequence[FidelityPair]], Sequence[FidelityScore]]


class Compared(NamedTuple):
    """Labelled pairs with what a model and the exact comparison say of them."""

    pairs: Sequence[FidelityPair]
    cosines: Sequence[float]


def compare(pairs: Sequence[FidelityPair], folder: Path) -> list[float]:
    """The cosine of each pair, in float32. Raises E-EXTRA-MISSING, E-MODEL."""
    first = embedding.embed([pair.original for pair in pairs], folder, dtype="float32")
    second = embedding.embed([pair.rephrased for pair in pairs], folder, dtype="float32")
    return [round(float(a @ b), 6) for a, b in zip(first, second, strict=True)]


# ---- calibration


def read_pairs(path: Path) -> list[FidelityPair]:
    """Lines of {"original", "rephrased", "faithful"}. Raises E-SOURCE-NOTFOUND, and E-FIDELITY for a line that is none."""
    from pytest_distill.batch.ingest.formats import read_records

    pairs = []
    for number, record in enumerate(read_records(path), start=1):
        try:
            pair = FidelityPair.model_validate(record)
        except ValueError as error:
            raise DistillError(
                Code.FIDELITY,
                f"{path.name}: record {number} is no labelled pair",
                'Lines of {"original", "rephrased", "faithful"}.',
            ) from error
        if pair.faithful is None:
            raise DistillError(Code.FIDELITY, f"{path.name}: record {number} has no label", "faithful: true or false.")
        pairs.append(pair)
    return pairs


def calibrate(compared: Compared, *, model_sha256: str, data_sha256: str, seed: int) -> FidelityCalibration:
    """Fits on one half of the originals and reports on the other; pairs of one original are never on both sides.

    Raises E-FIDELITY where a half has too few pairs of a label.
    """
    fitting = [fits(pair.original, seed) for pair in compared.pairs]
    halves = [_part(compared, [own is side for own in fitting]) for side in (True, False)]
    for half in halves:
        faithful = sum(pair.faithful is True for pair in half.pairs)
        if min(faithful, len(half.pairs) - faithful) < FEWEST:
            raise DistillError(
                Code.FIDELITY,
                f"of {len(half.pairs)} pairs in one half, {faithful} are faithful",
                f"Each half needs {FEWEST} pairs that are, and {FEWEST} that are not.",
            )
    table = _table(halves[0])
    truth = np.array([pair.faithful is True for pair in halves[0].pairs])
    constant, weights = fitted(table, truth)
    made = FidelityCalibration(
        low=0,
        high=1,
        constant=constant,
        weights=dict(zip(NAMES, weights, strict=True)),
        count=len(halves[0].pairs),
        faithful=sum(pair.faithful is True for pair in halves[0].pairs),
        model_sha256=model_sha256,
        data_sha256=data_sha256,
        seed=seed,
        held_out=FidelityHeldOut(count=1, precision=0, recall=0, f1=0, f1_doubtful_passed=0, f1_decided=0, verify_share=0),
    )
    low, high = _band(np.array(_scores(halves[0], made)), truth)
    made = made.model_copy(update={"low": low, "high": high})
    return made.model_copy(update={"held_out": judged(halves[1], made)})


def _table(compared: Compared) -> Array:
    """A row of figures for each pair, in the order of NAMES."""
    found = [figures(pair.original, pair.rephrased, cosine) for pair, cosine in zip(*compared, strict=True)]
    return np.array([[one[name] for name in NAMES] for one in found])


def _scores(compared: Compared, calibration: FidelityCalibration) -> list[float]:
    return [score(figures(pair.original, pair.rephrased, cosine), calibration) for pair, cosine in zip(*compared, strict=True)]


def fitted(table: Array, truth: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[float, list[float]]:
    """Constant and weights of a ridge logistic regression by Newton's method, rounded to six digits.

    A figure whose weight has the wrong sign (chance, or labels that say nothing of it) is left out, and the rest fitted again.
    """
    signs = np.array([1.0 if name == "cosine" else -1.0 for name in NAMES])
    used = np.ones(len(NAMES), dtype=bool)
    while True:
        found = _regression(table[:, used], truth.astype(np.float64))
        weights = np.zeros(len(NAMES))
        weights[used] = found[1:]
        turned = weights * signs < 0
        if not turned.any():
            return round(float(found[0]), 6), [round(float(weight), 6) for weight in weights]
        used &= ~turned


def _regression(table: Array, truth: Array) -> Array:
    """The constant first, which is not punished."""
    design = np.column_stack([np.ones(len(table)), table])
    ridge = RIDGE * np.eye(design.shape[1])
    ridge[0, 0] = 0.0
    weights: Array = np.zeros(design.shape[1])
    for _ in range(60):
        odds = 1 / (1 + np.exp(-np.clip(design @ weights, -40, 40)))
        curve = (design * (odds * (1 - odds))[:, None]).T @ design + ridge
        step = np.linalg.solve(curve, design.T @ (truth - odds) - ridge @ weights)
        weights = weights + step
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _part(compared: Compared, chosen: Sequence[bool]) -> Compared:
    own = [(pair, cosine) for pair, cosine, taken in zip(*compared, chosen, strict=True) if taken]
    return Compared([pair for pair, _ in own], [cosine for _, cosine in own])


def judged(compared: Compared, calibration: FidelityCalibration) -> FidelityHeldOut:
    """How the calibration does on labelled pairs."""
    decisions = [decide(sure, calibration) for sure in _scores(compared, calibration)]
    truth = [pair.faithful is True for pair in compared.pairs]
    passed = [decision == "pass" for decision in decisions]
    right = sum(map(bool.__and__, passed, truth))
    decided = [place for place, decision in enumerate(decisions) if decision != "verify"]
    return FidelityHeldOut(
        count=len(truth),
        precision=right / max(sum(passed), 1),
        recall=right / max(sum(truth), 1),
        f1=_f1(passed, truth),
        f1_doubtful_passed=_f1([decision != "reject" for decision in decisions], truth),
        f1_decided=_f1([passed[place] for place in decided], [truth[place] for place in decided]),
        verify_share=decisions.count("verify") / len(decisions),
    )


def fits(original: str, seed: int) -> bool:
    """Whether pairs of this original fit the calibration; the others report on it."""
    return int(storage.sha256_bytes(f"{seed}\n{original}".encode())[:8], 16) % 2 == 0


def _f1(said: Sequence[bool], truth: Sequence[bool]) -> float:
    """F1 of what was said to be faithful."""
    right = sum(map(bool.__and__, said, truth))
    return 2 * right / max(sum(said) + sum(truth), 1)


def _band(scores: Array, truth: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[float, float]:
    """Between which scores a verifier is asked.

    `high` has the best F1 of those bounds above which at most LET_PASS of the pairs are unfaithful; without any such bound
    nothing passes. `low` leaves DOUBTFUL of the pairs below it in doubt. Where bounds for F1 alone would pass more, all between
    is in doubt too: what cannot be told apart is not decided.
    """
    order = np.argsort(-scores, kind="stable")
    values = scores[order]
    right = np.cumsum(truth[order])
    count = np.arange(1, len(order) + 1)
    last = np.append(values[1:] < values[:-1], True)  # equal scores are decided alike
    f1 = np.where(last, 2 * right / (count + truth.sum()), 0.0)
    fine = last & (right >= (1 - LET_PASS) * count)
    best = int(np.argmax(f1)) + 1
    passing = int(np.argmax(np.where(fine, f1, 0.0))) + 1 if fine.any() else 0
    doubtful = max(best, passing + round(DOUBTFUL * len(order)))
    high = float(values[passing]) if passing < len(order) else 0.0
    low = float(values[min(doubtful, len(order)) - 1])
    return min(low, high), high


# ---- a batch


def judge_batch(
    workspace: Workspace,
    parent: Batch,
    new_id: str,
    *,
    columns: tuple[str, str],
    calibration: FidelityCalibration,
    folder: Path,
    verifier: Verifier | None = None,
    running: Session | None = None,
    what: str,
    why: str,
    command: Sequence[str] = (),
) -> Batch:
    """A batch with the rows whose rephrasing is faithful and the column `fidelity`; the others are in its quarantine.

    What the verifier's model was asked in the session `running` is in the manifest.

    Raises E-FIDELITY where the calibration is another model's, E-COLUMN for a column that is not there or holds no text.
    """
    model = storage.sha256_file(folder / embedding.WEIGHTS)
    if model != calibration.model_sha256:
        raise DistillError(
            Code.FIDELITY,
            f"the calibration is of the model {calibration.model_sha256[:12]}, not of {model[:12]}",
            "`distill fidelity calibrate` makes one for this model.",
        )
    pairs = _pairs(parent, columns)
    digest = storage.sha256_bytes(calibration.to_bytes())
    found = []
    for pair, cosine in zip(pairs, compare(pairs, folder), strict=True):
        own = figures(pair.original, pair.rephrased, cosine)
        sure = score(own, calibration)
        found.append(
            Fidelity(
                original=columns[0],
                rephrased=columns[1],
                calibration_sha256=digest,
                cosine=cosine,
                score=sure,
                differences=differences(own),
                decision=decide(sure, calibration),
            )
        )
    doubtful = [place for place, one in enumerate(found) if one.decision == "verify"]
    if verifier is not None and doubtful:
        for place, said in zip(doubtful, verifier([pairs[place] for place in doubtful]), strict=True):
            found[place] = found[place].model_copy(update={"verifier": said})
    uses = running.uses() if running is not None else ()
    return derived(
        workspace,
        parent,
        new_id,
        columns={FIDELITY: [one.model_dump(mode="json") for one in found]},
        rejected={place: why_not for place, one in enumerate(found) if (why_not := _rejection(one)) is not None},
        how=How(
            pipeline=PIPELINE, models=uses, parameters={"original": columns[0], "rephrased": columns[1], "calibration": digest}
        ),
        **(declared(workspace, running.task.said, uses) if running is not None else {}),
        what=what,
        why=why,
        command=command,
    )


def _rejection(found: Fidelity) -> Rejection | None:
    said = f"score {found.score:.3f}, cosine {found.cosine:.3f}, differs in: {', '.join(found.differences) or 'nothing'}"
    if found.decision == "reject":
        return Rejection(Reason.INFIDELITY, said)
    if found.decision == "verify" and found.verifier is None:
        return Rejection(Reason.INFIDELITY, f"doubtful and verified by nobody: {said}")
    if found.verifier is not None and not found.verifier.passed:
        return Rejection(Reason.INFIDELITY, f"the verifier says {found.verifier.fidelity_score} of 5: {said}")
    return None


def _pairs(parent: Batch, columns: tuple[str, str]) -> list[FidelityPair]:
    import polars as pl

    if columns[0] == columns[1]:
        raise DistillError(Code.COLUMN, f"{columns[0]} would be compared with itself", "Name two columns.")
    texts = []
    for name in columns:
        if name not in parent.column_names:
            raise DistillError(Code.COLUMN, f"{parent.id} has no column {name}", f"It has {', '.join(parent.column_names)}.")
        column = parent.column(name)
        if column.dtype != pl.String or (column.fill_null("").str.strip_chars() == "").any():
            raise DistillError(Code.COLUMN, f"{parent.id}: {name} does not hold text in every row", "Both columns need it.")
        texts.append(column.to_list())
    return [FidelityPair(original=a, rephrased=b) for a, b in zip(*texts, strict=True)]
