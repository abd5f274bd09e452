"""The shard set in an export of a tokens batch: `tokens/`, a whole set as `distill shards verify` accepts it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pytest_distill import storage
from pytest_distill.batch import digest, shards
from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.tokens import ATTACHED, EXPORTED, MANIFEST, STATE
from pytest_distill.errors import Code, DistillError


class Exported(NamedTuple):
    """The files of the set as an export names them, and how many documents it has."""

    files: tuple[str, ...]
    documents: int


def write_tokens(batch: Batch, rejected: int, folder: Path) -> None:
    """Copies the attached shards of a tokens batch into an export. Every byte is checked against the manifest that lists it.

    Raises E-UNSEALED when documents were rejected, because they cannot be cut out of shards; E-BATCH-CORRUPT.
    """
    if rejected:
        raise DistillError(
            Code.UNSEALED,
            f"{rejected} documents of {batch.id} were rejected, and their tokens are in its shards",
            "Make the shards again without them.",
        )
    for attachment in batch.manifest.attachments:
        data = batch.attachment(attachment.path)
        assert data is not None  # it is listed
        name = MANIFEST if attachment.path == ATTACHED else attachment.path
        storage.write_bytes(folder / EXPORTED / name, data)
    digest.write_sums(folder / EXPORTED)


def exported_tokens(folder: Path) -> Exported | None:
    """The set in an export, checked byte for byte; None where there is none. Raises what `shards.verify` raises."""
    place = folder / EXPORTED
    if not place.is_dir():
        return None
    manifest = shards.verify(place)
    names = (MANIFEST, digest.SUMS, *manifest.files, *((STATE,) if (place / STATE).is_file() else ()))
    return Exported(tuple(f"{EXPORTED}/{name}" for name in names), manifest.total_documents)


__all__ = ["EXPORTED", "Exported", "exported_tokens", "write_tokens"]
