"""Embeddings of rows, and the radius within which two of them are neighbours."""

from __future__ import annotations

import numpy as np
import polars as pl

from pytest_distill import measure
from pytest_distill.contracts.diversity import DiversityCalibration
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring import embedding
from pytest_distill.policy.model import Diversity, Embedding


@measure(version=1, config="embedding")
def meaning_vector(full_text: pl.Series, config: Embedding) -> pl.Series:
    """The unit vector of prompt and answer, an array of float32. Needs the extra [embed]."""
    vectors = embedding.embed(full_text.to_list(), embedding.folder_of(config), dtype=embedding.dtype_of(config))
    return pl.Series(vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))


def radius(table: Diversity, model: Embedding) -> float:
    """The calibrated radius, or the policy's own. Raises E-CALIBRATION for one of another model or precision."""
    if table.calibration is None:
        if table.radius is None:
            raise DistillError(Code.CALIBRATION, "no radius was calibrated", "distill diversity calibrate")
        return table.radius
    found = DiversityCalibration.load(table.calibration.resolved)
    if found.model_sha256 != embedding.digest(embedding.folder_of(model), model.precision):
        raise DistillError(
            Code.CALIBRATION,
            f"{table.calibration.path} was calibrated for another embedding model or precision",
            "Calibrate it again: distill diversity calibrate.",
        )
    return found.radius


def vectors(column: pl.Series) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """(rows, dimensions) in float32."""
    return np.ascontiguousarray(column.to_numpy(), dtype=np.float32)
