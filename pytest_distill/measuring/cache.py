"""The measure cache: columns on disk, keyed by shard digest and node key, and authenticated.

Every entry carries an HMAC under a key that lies outside the workspace, readable by its owner only. An entry that was
overwritten, moved to another name, or brought from elsewhere does not authenticate and is computed again, so a cache can
make a run faster and never make it wrong.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill import storage

if TYPE_CHECKING:
    import polars as pl

TAG = hashlib.sha256().digest_size


def key_path() -> Path:
    """Where the authentication key lies: XDG_STATE_HOME, or ~/.local/state."""
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "pytest-distill" / "cache.key"


def load_key() -> bytes:
    """The user's cache key, made on first use (mode 0600). Where it cannot be kept, a key for this process only."""
    path = key_path()
    try:
        if not path.is_file():
            storage.create_private(path, secrets.token_bytes(32))
        key = path.read_bytes()
    except OSError:
        return secrets.token_bytes(32)
    return key if len(key) == 32 else secrets.token_bytes(32)


@dataclass
class Cache:
    folder: Path
    key: bytes = field(default_factory=load_key, repr=False)

    def path(self, rows_sha256: str, node_key: str) -> Path:
        return self.folder / rows_sha256[:32] / f"{node_key}.arrow"

    def _tag(self, rows_sha256: str, node_key: str, data: bytes) -> bytes:
        return hmac.digest(self.key, f"{rows_sha256}\n{node_key}\n".encode() + hashlib.sha256(data).digest(), "sha256")

    def load(self, rows_sha256: str, node_key: str, rows: int) -> pl.Series | None:
        """The column, or None when there is no entry that authenticates."""
        import polars as pl

        try:
            stored = self.path(rows_sha256, node_key).read_bytes()
        except OSError:
            return None
        data, tag = stored[:-TAG], stored[-TAG:]
        if not hmac.compare_digest(tag, self._tag(rows_sha256, node_key, data)):
            return None
        series = pl.read_ipc(io.BytesIO(data)).to_series()
        return series if len(series) == rows else None

    def store(self, rows_sha256: str, node_key: str, series: pl.Series) -> None:
        import polars as pl

        buffer = io.BytesIO()
        pl.DataFrame({"value": series}).write_ipc(buffer, compression="lz4")
        data = buffer.getvalue()
        # Not durable on purpose: a torn entry does not authenticate, and an fsync per column would cost more than the column.
        with storage.atomic_file(self.path(rows_sha256, node_key), durable=False) as file:
            file.write(data)
            file.write(self._tag(rows_sha256, node_key, data))
