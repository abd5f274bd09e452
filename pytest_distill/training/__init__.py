"""Training on what was released: datasets for PyTorch over token shards, which refuse whatever does not verify.

    from pytest_distill.training import PackedTokens, TokenDocuments

    windows = PackedTokens("export", length=2048)      # an export of a tokens batch, verified when it is opened
    loader = torch.utils.data.DataLoader(windows, batch_size=8, shuffle=True)
    for batch in loader:                               # input_ids, labels, position_ids, document_ids: int64 (8, 2048)
        ...

torch is imported when an item is read, numpy does the rest.
"""

from __future__ import annotations

from pytest_distill.training.documents import TokenDocuments
from pytest_distill.training.packing import IGNORED, PackedTokens

__all__ = ["IGNORED", "PackedTokens", "TokenDocuments"]
