"""Whole sets of shards: indexes made again from their shards, and sets joined to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pytest_distill import clock, storage
from pytest_distill.batch import digest, shards
from pytest_distill.contracts.tokens import MANIFEST, ShardEntry, SourceInfo, TokensManifest, freeze, stem
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.tokenize.tokenizer import same
from pytest_distill.pipelines.tokenize.writer import index_bytes

_PIECE = 1 << 20


def reindex(folder: Path) -> list[str]:
    """Writes every .idx that is missing or wrong again, from the EOS in its shard; and a missing SHA256SUMS. Returns their names.

    Raises E-SHARD-CHECKSUM, E-SHARD-FORMAT or E-SHARD-TOKENS when a shard itself is damaged; what is left to say after that is
    for `verify`.
    """
    manifest = shards.load_manifest(folder)
    written = []
    for entry in manifest.shards:
        path = folder / entry.index_path
        if not (folder / entry.path).is_file() or storage.sha256_file(folder / entry.path) != entry.checksum:
            raise DistillError(Code.SHARD_CHECKSUM, f"{entry.path} is not what the manifest's checksum says", shards.AGAIN)
        ids = shards.memory_map(folder / entry.path, entry, manifest.dtype)
        for problem in shards.token_problems(ids, entry.path, manifest.stamp):
            raise problem
        made = index_bytes(shards.eos_positions(ids, manifest.eos_token_id) + 1)
        if not path.is_file() or path.is_symlink() or path.read_bytes() != made:
            storage.write_bytes(path, made)
            written.append(path.name)
    if not (folder / digest.SUMS).exists():
        digest.write_sums(folder)
        written.append(digest.SUMS)
    return written


def merge(folders: Sequence[Path], out: Path, *, dataset: str, version: str) -> TokensManifest:
    """Joins whole sets to the new set `out`: their shards as they are, numbered on in the order of the folders.

    Raises E-TOKENIZER-DRIFT when their tokenizers differ, E-USAGE when the type of their ids does or a set is named twice, and
    what `shards.verify` raises for a set that is not whole. `out` appears whole or not at all.
    """
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise DistillError(Code.USAGE, "a set is named twice", "Its documents would be in the joined set twice.")
    if out.exists():
        raise DistillError(Code.SHARD_FILES, f"{out} is there already", "Name another folder.")
    sets = [shards.verify(folder) for folder in folders]
    first = sets[0]
    for folder, other in zip(folders[1:], sets[1:], strict=True):
        same(other.stamp, first.stamp, str(folders[0]))
        for name in ("dtype", "pipeline_version"):
            if getattr(other, name) != getattr(first, name):
                what = f"{folder} has the {name} {getattr(other, name)}, {folders[0]} has {getattr(first, name)}"
                raise DistillError(Code.USAGE, what, "Tokenize one of them again.")
    entries: list[ShardEntry] = []
    with storage.atomic_folder(out) as staging:
        for folder, each in zip(folders, sets, strict=True):
            for entry in each.shards:
                name = stem(dataset, version, len(entries))
                moved = entry.model_copy(update={"path": f"{name}.npy", "index_path": f"{name}.idx"})
                _copy(folder / entry.path, staging / moved.path)
                _copy(folder / entry.index_path, staging / moved.index_path)
                entries.append(moved)
        manifest = _joined(folders, sets, tuple(entries), dataset, version)
        manifest.write(staging / MANIFEST)
        digest.write_sums(staging)
        shards.verify(staging)
    return manifest


def _joined(
    folders: Sequence[Path], sets: Sequence[TokensManifest], entries: tuple[ShardEntry, ...], dataset: str, version: str
) -> TokensManifest:
    first = sets[0]
    infos = [each.source_info for each in sets]
    dropped: Counter[str] = Counter()
    for info in infos:
        dropped.update(info.documents_dropped)
    fields = sorted({info.text_field for info in infos})
    batches = {(info.batch_id, info.batch_sha256) for info in infos}
    batch_id, batch_sha256 = batches.pop() if len(batches) == 1 else (None, None)
    shard_tokens = max(info.shard_tokens for info in infos)
    frozen = freeze(
        first.stamp,
        pipeline_version=first.pipeline_version,
        dtype=first.dtype,
        shard_tokens=shard_tokens,
        text_field=",".join(fields),
        parts=tuple(info.freeze_sha256 for info in infos),
    )
    return first.model_copy(
        update={
            "dataset": dataset,
            "version": version,
            "created_at": clock.timestamp(),
            "total_tokens": sum(entry.num_tokens for entry in entries),
            "total_documents": sum(entry.num_documents for entry in entries),
            "num_shards": len(entries),
            "shards": entries,
            "source_info": SourceInfo(
                sources=tuple(source for info in infos for source in info.sources),
                batch_id=batch_id,
                batch_sha256=batch_sha256,
                text_field=",".join(fields),
                shard_tokens=shard_tokens,
                freeze_sha256=frozen.sha256,
                documents_read=sum(info.documents_read for info in infos),
                documents_dropped=dict(sorted(dropped.items())),
                merged=tuple(storage.sha256_file(folder / MANIFEST) for folder in folders),
            ),
        }
    )


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as data, storage.atomic_file(target) as file:
        while piece := data.read(_PIECE):
            file.write(piece)
