"""Whether what a batch says of its rephrasings follows from the texts, the stored cosine and the calibration of the policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import polars as pl
from pydantic import ValidationError

from pytest_distill import measure, storage
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.fidelity import FIDELITY, Fidelity, FidelityCalibration
from pytest_distill.measuring.fidelity import decide, differences, figures, score
from pytest_distill.policy.model import Grading

TOLERANCE = 2e-6  # a stored score is rounded


@measure(version=3, config="grading")
def fidelity_fault(record: pl.Series, config: Grading) -> pl.Series:
    """What is wrong with a row's `fidelity`, null where nothing is: decided anew from texts, cosine and calibration."""
    if config.fidelity is None:
        return pl.Series(["the policy names no calibration of fidelity"] * len(record), dtype=pl.String)
    calibration = FidelityCalibration.load(config.fidelity.resolved)
    digest = storage.sha256_bytes(calibration.to_bytes())
    return pl.Series([_fault(row, calibration, digest) for row in _rows(record)], dtype=pl.String)


def _rows(record: pl.Series) -> Iterable[dict[str, Any]]:
    return (orjson.loads(row) for row in record)


def _fault(row: dict[str, Any], calibration: FidelityCalibration, digest: str) -> str | None:
    try:
        stored = Fidelity.model_validate_json(orjson.dumps(row.get(FIDELITY)))
    except ValidationError as error:
        return f"no fidelity: {first_problem(error)}"
    if stored.calibration_sha256 != digest:
        return "decided by another calibration than the policy's"
    if stored.original == stored.rephrased:
        return f"compares the column {stored.original} with itself"
    original, rephrased = row.get(stored.original), row.get(stored.rephrased)
    if not isinstance(original, str) or not isinstance(rephrased, str):
        return f"no text in {stored.original} or {stored.rephrased}"
    return _decided(stored, original, rephrased, calibration)


def _decided(stored: Fidelity, original: str, rephrased: str, calibration: FidelityCalibration) -> str | None:
    """What is wrong with the decision, taken anew."""
    own = figures(original, rephrased, stored.cosine)
    found, sure = differences(own), score(own, calibration)
    if found != stored.differences:
        return f"differs in {', '.join(found) or 'nothing'}, and says {', '.join(stored.differences) or 'nothing'}"
    if abs(sure - stored.score) > TOLERANCE:
        return f"scores {sure:.6f}, and says {stored.score:.6f}"
    decision = decide(sure, calibration)
    if decision != stored.decision:
        return f"is to {decision}, and says {stored.decision}"
    if decision == "reject":
        return f"score {sure:.3f}, cosine {stored.cosine:.3f}, differs in {', '.join(found) or 'nothing'}: not faithful"
    if decision == "verify" and stored.verifier is None:
        return "in doubt, and verified by nobody"
    if stored.verifier is not None and not stored.verifier.passed:
        return f"the verifier says {stored.verifier.fidelity_score} of 5"
    return None
