"""The documents of a shard set, mapped from disk, once everything about the set has been verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_distill.batch import shards
from pytest_distill.contracts.tokens import EXPORTED, TokensManifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.seal import SEAL
from pytest_distill.release.verify import verify

if TYPE_CHECKING:
    import torch


class TokenDocuments:
    """Every document of a set: `dataset[i]` is its ids, EOS at the end, as an int64 tensor of shape (tokens,).

    Works as a map-style `torch.utils.data.Dataset`, with any number of loader workers: a copy in another process maps the files
    again. `manifest` is the set's.
    """

    def __init__(self, folder: Path | str, *, key: Path | str | None = None, allow_unsealed: bool = False) -> None:
        """Opens an export of a tokens batch, or, with `allow_unsealed`, a bare shard set that nobody judged.

        Every byte is read once and checked: sums, seal and evidence of the export (with `key`, the signer's public key, who made
        it too), then checksums, indexes and documents of the shards. Raises E-UNSEALED for a set without a seal, E-VERIFY for an
        export that does not verify, E-KEY, and what `distill shards verify` finds.
        """
        place = Path(folder)
        if (place / SEAL).is_file():
            verify(place, Path(key) if key is not None else None)
            place = place / EXPORTED
            if not place.is_dir():
                raise DistillError(Code.VERIFY, f"{folder} is no export of tokens", "Export a batch of kind tokens.")
        elif not allow_unsealed or key is not None:
            raise DistillError(
                Code.UNSEALED,
                f"{folder} holds no {SEAL}: no gate has let it pass",
                "Train on an export of a sealed tokens batch; allow_unsealed=True is for trying things out.",
            )
        self.folder = place
        self.manifest: TokensManifest = shards.verify(place)
        counts = [entry.num_documents for entry in self.manifest.shards]
        self._first = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        self._open()

    def _open(self) -> None:
        manifest = self.manifest
        self._ids = [shards.memory_map(self.folder / entry.path, entry, manifest.dtype) for entry in manifest.shards]
        self._spans = [
            shards.parse_index((self.folder / entry.index_path).read_bytes(), entry.index_path) for entry in manifest.shards
        ]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_ids", "_spans")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    def __len__(self) -> int:
        return self.manifest.total_documents

    def __getitem__(self, index: int) -> torch.Tensor:
        """Raises IndexError beyond the last document."""
        import torch

        return torch.from_numpy(self.ids(index).astype(np.int64))

    def __iter__(self) -> Iterator[torch.Tensor]:
        return (self[index] for index in range(len(self)))

    def ids(self, index: int) -> npt.NDArray[Any]:
        """The ids of a document as they lie on disk (uint32 or uint16, read-only), EOS at the end; -1 is the last."""
        index = index + len(self) if index < 0 else index
        if not 0 <= index < len(self):
            raise IndexError(f"document {index} of {len(self)}")
        shard = int(np.searchsorted(self._first, index, side="right")) - 1
        spans, at = self._spans[shard], index - int(self._first[shard])
        return self._ids[shard][spans.starts[at] : spans.ends[at]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of every document, EOS included."""
        return np.concatenate([spans.ends - spans.starts for spans in self._spans])
