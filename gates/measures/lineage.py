"""The batches behind a batch, and whether they may be built upon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_distill.gating.parents import Parent


SCORED = "grading.scored"


def unknown(ancestors: Sequence[Parent]) -> int:
    """How many cannot be looked at. Whether their rows were generated cannot be told either."""
    return sum(ancestor.batch is None for ancestor in ancestors)


def unsealed(ancestors: Sequence[Parent]) -> int:
    """Generated batches without a seal. Files that were ingested are often mended before they are judged, so they need none.

    That a batch has no scores yet is no fault of an ancestor: it is scored by deriving from it, and what leaves is judged.
    """
    return sum(
        ancestor.batch is not None
        and ancestor.batch.manifest.origin == "generated"
        and ancestor.unsealed is not None
        and ancestor.against != (SCORED,)
        for ancestor in ancestors
    )
