"""Does a rephrased text still say what the original said: calibrated on labelled pairs, decided for every row of a batch.

A model of meaning puts a cosine on each pair; numbers, denials, names, units and length are compared exactly beside it
(`measuring.fidelity`), because a model of meaning misses just these. Only what lies between the two thresholds, or differs in
something that a good rephrasing may change too, is given to a verifier. Without a verifier, the doubtful does not pass.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, get_args

import numpy as np

from pytest_distill import storage
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.fidelity import (
    FIDELITY,
    PIPELINE,
    Difference,
    Fidelity,
    FidelityCalibration,
    FidelityHeldOut,
    FidelityPair,
    FidelityScore,
)
from pytest_distill.contracts.manifest import How
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import embedding
from pytest_distill.measuring.fidelity import decide, differences, length
from pytest_distill.pipelines.grading.derive import Rejection, derived
from pytest_distill.policy.workspace import Workspace

FEWEST: Final = 20  # pairs of each label, in each half
TELLING: Final = 5.0  # a difference rejects where it is this much commoner in the unfaithful pairs than in the faithful ones
MISSED: Final = 0.02  # of the faithful pairs, those that `low` may reject
LET_PASS: Final = 0.05  # of the pairs above `high`, those that may be unfaithful
SHORTEST: Final = tuple(round(0.5 + 0.025 * step, 3) for step in range(20))

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
    shortest = max(SHORTEST, key=lambda bound: _f1(_exact(halves[0], bound), halves[0]))
    rejecting = _telling(halves[0], shortest)
    low, high = _band(halves[0], shortest, rejecting)
    made = FidelityCalibration(
        low=low,
        high=high,
        shortest=shortest,
        rejecting=rejecting,
        count=len(halves[0].pairs),
        faithful=sum(pair.faithful is True for pair in halves[0].pairs),
        model_sha256=model_sha256,
        data_sha256=data_sha256,
        seed=seed,
        held_out=FidelityHeldOut(count=1, precision=0, recall=0, f1=0, f1_doubtful_passed=0, f1_decided=0, verify_share=0),
    )
    return made.model_copy(update={"held_out": judged(halves[1], made)})


def _part(compared: Compared, chosen: Sequence[bool]) -> Compared:
    own = [(pair, cosine) for pair, cosine, taken in zip(*compared, chosen, strict=True) if taken]
    return Compared([pair for pair, _ in own], [cosine for _, cosine in own])


def judged(compared: Compared, calibration: FidelityCalibration) -> FidelityHeldOut:
    """How the calibration does on labelled pairs."""
    decisions = [
        decide(cosine, differences(pair.original, pair.rephrased, shortest=calibration.shortest), calibration)
        for pair, cosine in zip(*compared, strict=True)
    ]
    truth = [pair.faithful is True for pair in compared.pairs]
    passed = [decision == "pass" for decision in decisions]
    right = sum(map(bool.__and__, passed, truth))
    decided = [place for place, decision in enumerate(decisions) if decision != "verify"]
    return FidelityHeldOut(
        count=len(truth),
        precision=right / max(sum(passed), 1),
        recall=right / max(sum(truth), 1),
        f1=_score(passed, truth),
        f1_doubtful_passed=_score([decision != "reject" for decision in decisions], truth),
        f1_decided=_score([passed[place] for place in decided], [truth[place] for place in decided]),
        verify_share=decisions.count("verify") / len(decisions),
    )


def fits(original: str, seed: int) -> bool:
    """Whether pairs of this original fit the calibration; the others report on it."""
    return int(storage.sha256_bytes(f"{seed}\n{original}".encode())[:8], 16) % 2 == 0


def _score(said: Sequence[bool], truth: Sequence[bool]) -> float:
    """F1 of what was said to be faithful."""
    right = sum(map(bool.__and__, said, truth))
    return 2 * right / max(sum(said) + sum(truth), 1)


def _f1(said: Sequence[bool], compared: Compared) -> float:
    return _score(said, [pair.faithful is True for pair in compared.pairs])


def _exact(compared: Compared, shortest: float) -> list[bool]:
    return [not differences(pair.original, pair.rephrased, shortest=shortest) for pair in compared.pairs]


def _telling(compared: Compared, shortest: float) -> tuple[Difference, ...]:
    """The differences that reject by themselves."""
    found = [differences(pair.original, pair.rephrased, shortest=shortest) for pair in compared.pairs]
    truth = [pair.faithful is True for pair in compared.pairs]

    def share(name: str, of: bool) -> float:
        own = [name in one for one, faithful in zip(found, truth, strict=True) if faithful is of]
        return sum(own) / max(len(own), 1)

    names: tuple[Difference, ...] = get_args(Difference)
    return tuple(sorted(name for name in names if share(name, of=False) > TELLING * share(name, of=True)))


def _band(compared: Compared, shortest: float, rejecting: Sequence[Difference]) -> tuple[float, float]:
    """The cosines between which a verifier is asked, from the pairs that no difference rejects."""
    left = [
        (cosine, pair.faithful is True)
        for pair, cosine in zip(*compared, strict=True)
        if not set(differences(pair.original, pair.rephrased, shortest=shortest)) & set(rejecting)
    ]
    values = np.array([cosine for cosine, _ in left])
    truth = np.array([faithful for _, faithful in left])
    if not truth.any():
        raise DistillError(Code.FIDELITY, "no faithful pair is free of differences", "Are the labels the right way round?")
    low = float(np.quantile(values[truth], MISSED))
    order = np.argsort(-values, kind="stable")
    wrong = np.cumsum(~truth[order]) / np.arange(1, len(order) + 1)
    fine = np.flatnonzero(wrong <= LET_PASS)
    high = float(values[order[fine[-1]]]) if len(fine) else 1.0
    return round(min(low, high), 6), round(max(low, high), 6)


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
    what: str,
    why: str,
    command: Sequence[str] = (),
) -> Batch:
    """A batch with the rows whose rephrasing is faithful and the column `fidelity`; the others are in its quarantine.

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
        own = differences(pair.original, pair.rephrased, shortest=calibration.shortest)
        found.append(
            Fidelity(
                original=columns[0],
                rephrased=columns[1],
                calibration_sha256=digest,
                cosine=cosine,
                length=round(length(pair.original, pair.rephrased), 4),
                differences=own,
                decision=decide(cosine, own, calibration),
            )
        )
    doubtful = [place for place, one in enumerate(found) if one.decision == "verify"]
    if verifier is not None and doubtful:
        for place, said in zip(doubtful, verifier([pairs[place] for place in doubtful]), strict=True):
            found[place] = found[place].model_copy(update={"verifier": said})
    return derived(
        workspace,
        parent,
        new_id,
        columns={FIDELITY: [one.model_dump(mode="json") for one in found]},
        rejected={place: why_not for place, one in enumerate(found) if (why_not := _rejection(one)) is not None},
        how=How(pipeline=PIPELINE, parameters={"original": columns[0], "rephrased": columns[1], "calibration": digest}),
        what=what,
        why=why,
        command=command,
    )


def _rejection(found: Fidelity) -> Rejection | None:
    said = f"cosine {found.cosine:.3f}, differs in: {', '.join(found.differences) or 'nothing'}"
    if found.decision == "reject":
        return Rejection(Reason.INFIDELITY, said)
    if found.decision == "verify" and found.verifier is None:
        return Rejection(Reason.INFIDELITY, f"doubtful and verified by nobody: {said}")
    if found.verifier is not None and not found.verifier.passed:
        return Rejection(Reason.INFIDELITY, f"the verifier says {found.verifier.fidelity_score} of 5: {said}")
    return None


def _pairs(parent: Batch, columns: tuple[str, str]) -> list[FidelityPair]:
    import polars as pl

    texts = []
    for name in columns:
        if name not in parent.column_names:
            raise DistillError(Code.COLUMN, f"{parent.id} has no column {name}", f"It has {', '.join(parent.column_names)}.")
        column = parent.column(name)
        if column.dtype != pl.String or (column.fill_null("").str.strip_chars() == "").any():
            raise DistillError(Code.COLUMN, f"{parent.id}: {name} does not hold text in every row", "Both columns need it.")
        texts.append(column.to_list())
    return [FidelityPair(original=a, rephrased=b) for a, b in zip(*texts, strict=True)]
