"""A batch of kind tokens from a shard set: what makes its shards something that gates judge and exports carry.

Its rows are the documents: one row each, with the id of the source row, the shard, the span in it, and the SHA-256 of its ids.
So everything that works on rows (positions, sampling, reports) works on tokens too. The .npy and .idx files, the set's manifest
and the state of its run are attached, under the batch's digest. While the rows are made, every text is read and encoded once
more and compared with what lies in the shards: a batch cannot vouch for tokens of other texts. No document can be rejected
later on, because it could not be cut out of its shard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_distill import ledger, storage
from pytest_distill.batch import shards
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.batch.write import BatchWriter, Content
from pytest_distill.contracts.manifest import How
from pytest_distill.contracts.tokens import ATTACHED, MANIFEST, STAGE, STATE, TokensManifest
from pytest_distill.engine.engine import Engine
from pytest_distill.engine.local import Threads
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.tokenize.blocks import encoded
from pytest_distill.pipelines.tokenize.sources import Document, Sources
from pytest_distill.pipelines.tokenize.tokenizer import Tokenizer, same
from pytest_distill.policy.workspace import Workspace
from pytest_distill.stages.stopping import Stop


def tokens_batch(
    workspace: Workspace,
    batch_id: str,
    folder: Path,
    sources: Sources,
    tokenizer: Tokenizer,
    *,
    engine: Engine | None = None,
    resume: bool = False,
    stop: Stop | None = None,
    what: str | None = None,
    why: str | None = None,
    command: tuple[str, ...] = (),
) -> Batch:
    """The batch `batch_id` of the set in `folder`, which was made from `sources` with `tokenizer`.

    With `resume`, the batch that a run made before it was killed is that batch, if it is of just this set; what one left that did
    not come to its end is cleared away in any case. `stop` is asked between blocks of documents.

    Raises what `shards.verify` raises for a set that is not whole, E-TOKENIZER-DRIFT, E-SOURCE-NOTFOUND when the sources are not
    those of the set, E-SHARD-TOKENS when the shards do not hold their tokens, E-BATCH-EXISTS; SystemExit when it was told to
    stop. Then nothing was written.
    """
    manifest = shards.verify(folder)
    same(tokenizer.stamp, manifest.stamp, str(folder))
    info = manifest.source_info
    if info.sources != sources.identity:
        raise DistillError(Code.SOURCE, f"{folder} was not made from these sources", "Name those it was made from.")
    facts: dict[str, Any] = {
        "id": batch_id,
        "kind": "tokens",
        "origin": "derived",
        "what": what or f"tokens of {', '.join(source.name for source in info.sources)}: {manifest.dataset} {manifest.version}",
        "why": why or "not stated",
        "how": How(pipeline=STAGE, parameters={"text_field": info.text_field, "shard_tokens": info.shard_tokens}),
        "parents": (info.batch_sha256,) if info.batch_sha256 else (),
        "freeze_sha256": info.freeze_sha256,
    }
    place = workspace.batch_folder(batch_id)
    with storage.locked(workspace.state / STAGE / batch_id):
        batch = _made(place, folder, facts) if resume else None
        if batch is None:
            storage.remove_leftovers(place)
            rows = _rows(folder, manifest, sources, tokenizer, engine or Threads(1), stop or Stop())
            batch = _write(place, folder, manifest, rows, command, facts)
        _record(workspace, batch, manifest)
    return batch


def _made(place: Path, folder: Path, facts: dict[str, Any]) -> Batch | None:
    """The batch that stands at `place`, where it is this one; None where nothing does. Raises E-BATCH-EXISTS for another."""
    if not place.exists():
        return None
    batch = open_batch(place)
    same = {name: getattr(batch.manifest, name) for name in facts} == facts
    if not same or (batch.attachment(ATTACHED), batch.attachment(STATE)) != _described(folder):
        raise DistillError(Code.BATCH_EXISTS, f"there is another batch {batch.id}", "Batches are never edited; take another id.")
    return batch


def _described(folder: Path) -> tuple[bytes, bytes]:
    return (folder / MANIFEST).read_bytes(), (folder / STATE).read_bytes()


def _write(
    place: Path,
    folder: Path,
    manifest: TokensManifest,
    rows: Iterator[tuple[Document, dict[str, Any]]],
    command: tuple[str, ...],
    facts: dict[str, Any],
) -> Batch:
    with BatchWriter(place, planned=manifest.total_documents, command=command, **facts) as writer:
        document, row = next(rows, (None, {}))
        for number, source in enumerate(manifest.source_info.sources):
            writer.begin_source(source.name)
            while document is not None and document.source == number:
                writer.add(row, line=document.line, offset=document.offset)
                document, row = next(rows, (None, {}))
            writer.end_source(sha256=source.sha256, size=source.bytes)
        for name in manifest.files:
            writer.attach(name, _content(folder / name))
        for name, data in zip((ATTACHED, STATE), _described(folder), strict=True):
            writer.attach(name, data)
        return writer.finish()


def _record(workspace: Workspace, batch: Batch, manifest: TokensManifest) -> None:
    """The ledger's line about the batch; once, however often the run was killed."""
    ledger.append_once(
        workspace.ledger,
        "tokenized",
        batch=batch.id,
        what=batch.manifest.what,
        why=batch.manifest.why,
        where=batch.folder.relative_to(workspace.root).as_posix(),
        how=STAGE,
        sha256=batch.sha256,
        parents=batch.manifest.parents,
        documents=manifest.total_documents,
        tokens=manifest.total_tokens,
    )


def _content(path: Path) -> Content:
    """Read when it is written: one shard at a time is in memory."""
    return lambda _: path.read_bytes()


def _rows(
    folder: Path, manifest: TokensManifest, sources: Sources, tokenizer: Tokenizer, engine: Engine, stop: Stop
) -> Iterator[tuple[Document, dict[str, Any]]]:
    """Each document that has tokens, with its row. Raises E-SHARD-TOKENS when a shard holds something else."""
    read: deque[Document] = deque()

    def noted() -> Iterator[Document]:
        for document in sources.documents():
            read.append(document._replace(text=""))  # of what is ahead only the place is kept
            yield document

    stored = _documents(folder, manifest)
    for block in encoded(noted(), tokenizer, engine):
        before = 0
        for end in block.ends.tolist():
            document = read.popleft()
            if end > before:
                row, ids = next(stored, ({}, None))
                if ids is None or not np.array_equal(ids, block.ids[before:end]):
                    what = f"the shards of {folder} do not hold the tokens of {document.row_id} (record {document.done})"
                    raise DistillError(Code.SHARD_TOKENS, what, "Tokenize these sources again.")
                yield document, {"id": document.row_id, **row}
            before = end
        stop.check()
    if next(stored, None) is not None:
        raise DistillError(Code.SHARD_TOKENS, f"the shards of {folder} hold more documents than the sources", "Tokenize again.")


def _documents(folder: Path, manifest: TokensManifest) -> Iterator[tuple[dict[str, Any], npt.NDArray[Any]]]:
    for entry in manifest.shards:
        ids = shards.memory_map(folder / entry.path, entry, manifest.dtype)
        index = shards.parse_index((folder / entry.index_path).read_bytes(), entry.index_path)
        for start, end in zip(index.starts.tolist(), index.ends.tolist(), strict=True):
            document = ids[start:end]
            row = {
                "shard": entry.path,
                "start": start,
                "end": end,
                "tokens": end - start,
                "sha256": storage.sha256_bytes(document.tobytes()),
            }
            yield row, document
