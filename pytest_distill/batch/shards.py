"""Reading sets of token shards, and everything that has to hold of them. Writing them is a pipeline's.

Every check is made from the bytes, whatever wrote them: what is wrong comes back as refusals with their codes, one for each
thing, so that a damaged set is described whole. Nothing is unpickled, and no file outside the folder is opened.
"""

from __future__ import annotations

import ast
import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pytest_distill import storage
from pytest_distill.batch import digest
from pytest_distill.contracts.tokens import (
    INDEX_HEADER,
    INDEX_VERSION,
    MAGIC,
    MANIFEST,
    RUN,
    SPAN,
    STATE,
    UNITS,
    DType,
    ShardEntry,
    TokenizerStamp,
    TokensManifest,
)
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

DTYPES: dict[DType, str] = {"uint32": "<u4", "uint16": "<u2"}
AGAIN = "Make the shard again."
_NPY = b"\x93NUMPY\x01\x00"
_HEADER_START = len(_NPY) + 2
_LONGEST_HEADER = 4096  # NPY 1.0 can say 65,535; a one-dimensional array needs less than 128
_CHUNK = 1 << 22  # tokens looked at in one go


@dataclass(frozen=True)
class Index:
    """Documents of a shard: `starts` and `ends` (exclusive, EOS inside), int64 of shape (documents,)."""

    starts: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]


def load_manifest(folder: Path) -> TokensManifest:
    """Raises E-SHARD-FILES where there is no set, or none that was finished; E-MANIFEST."""
    if (folder / MANIFEST).is_file():
        return TokensManifest.load(folder / MANIFEST)
    if (folder / RUN).is_file():
        hint = "`distill tokenize … --resume` goes on with it."
        raise DistillError(Code.SHARD_FILES, f"{folder} holds a run that was not finished", hint)
    raise DistillError(Code.SHARD_FILES, f"{folder} holds no {MANIFEST}", "Name the folder of a shard set.")


def parse_index(data: bytes, name: str) -> Index:
    """The spans of an .idx. Raises E-INDEX when it is none, or its length is not that of its header."""
    import numpy as np

    if len(data) < INDEX_HEADER or not data.startswith(MAGIC):
        raise DistillError(Code.INDEX, f"{name} is no index: it does not begin with {MAGIC!r}", _reindex(name))
    version, documents, reserved = struct.unpack_from("<QQQ", data, len(MAGIC))
    if version != INDEX_VERSION or reserved != 0:
        raise DistillError(Code.INDEX, f"{name} has the version {version} and {reserved} where 0 belongs", _reindex(name))
    if len(data) != INDEX_HEADER + SPAN * documents:
        what = f"{name} says {documents} documents and has {len(data)} bytes"
        raise DistillError(Code.INDEX, what, _reindex(name))
    spans = np.frombuffer(data, "<u8", offset=INDEX_HEADER).reshape(-1, 2)
    if documents and int(spans.max()) >= 1 << 63:
        raise DistillError(Code.INDEX, f"{name} has a span beyond every shard", _reindex(name))
    wide = spans.astype(np.int64)
    return Index(wide[:, 0], wide[:, 1])


def open_tokens(file: IO[bytes], name: str, size: int) -> tuple[int, int, str]:
    """Where the ids of a .npy begin, how many there are, and their type ('<u4'). `size` is the file's.

    Raises E-SHARD-FORMAT for anything but a whole one-dimensional array of unsigned integers; objects are never loaded.
    """
    import numpy as np

    head = file.read(_HEADER_START)
    length = struct.unpack_from("<H", head, len(_NPY))[0] if head.startswith(_NPY) and len(head) == _HEADER_START else 0
    text = file.read(length) if 0 < length <= _LONGEST_HEADER else b""
    try:
        # Not numpy's own reader: it repairs headers of Python 2, with warnings, and fails on others with whatever comes.
        declared = ast.literal_eval(text.decode("ascii"))
        descr, fortran, shape = (declared[key] for key in ("descr", "fortran_order", "shape"))
        dtype = np.dtype(descr if isinstance(descr, str) else "O")
    except (ValueError, TypeError, LookupError, SyntaxError, MemoryError, RecursionError) as error:
        raise DistillError(Code.SHARD_FORMAT, f"{name} is no .npy array of NPY 1.0", AGAIN) from error
    if dtype.hasobject:
        raise DistillError(Code.SHARD_FORMAT, f"{name} holds pickled objects, which are never loaded", AGAIN)
    plain = isinstance(shape, tuple) and len(shape) == 1 and type(shape[0]) is int and shape[0] >= 0
    if not plain or fortran is not False or len(declared) != 3:
        raise DistillError(Code.SHARD_FORMAT, f"{name} is an array of shape {shape}, not one-dimensional", AGAIN)
    begin = _HEADER_START + length
    if size != begin + shape[0] * dtype.itemsize:
        what = f"{name} says {shape[0]:,} tokens and holds {max(size - begin, 0):,} bytes of them"
        raise DistillError(Code.SHARD_FORMAT, what, AGAIN)
    return begin, int(shape[0]), str(dtype.str)


def memory_map(path: Path, entry: ShardEntry, dtype: DType) -> npt.NDArray[Any]:
    """The ids of a shard, mapped read-only. Raises E-SHARD-FORMAT, E-SHARD-FILES."""
    import numpy as np

    with _opened(path) as file:
        begin, tokens, found = open_tokens(file, path.name, path.stat().st_size)
    _of_manifest(path.name, tokens, found, entry, dtype)
    return np.memmap(path, dtype=found, mode="r", offset=begin, shape=(tokens,))


def _opened(path: Path) -> IO[bytes]:
    try:
        return path.open("rb")
    except OSError as error:
        raise DistillError(Code.SHARD_FILES, f"{path.name} cannot be read: {error.strerror}", AGAIN) from error


def _of_manifest(name: str, tokens: int, found: str, entry: ShardEntry, dtype: DType) -> None:
    if found != DTYPES[dtype]:
        raise DistillError(Code.SHARD_FORMAT, f"{name} holds ids of type {found}, the manifest says {dtype}", AGAIN)
    if tokens != entry.num_tokens:
        raise DistillError(Code.SHARD_FORMAT, f"{name} has {tokens:,} tokens, the manifest says {entry.num_tokens:,}", AGAIN)


def shard_problems(folder: Path, entry: ShardEntry, *, dtype: DType, stamp: TokenizerStamp) -> Iterator[DistillError]:
    """What is wrong with a shard and its index; nothing for one that is whole."""
    array, index = folder / entry.path, folder / entry.index_path
    for path, code in ((array, Code.SHARD_FILES), (index, Code.INDEX_MISSING)):
        if path.is_symlink() or not path.is_file():
            what = "is a symbolic link" if path.is_symlink() else "is missing"
            yield DistillError(code, f"{path.name} {what}", _reindex(path.name) if path == index else AGAIN)
    if array.is_symlink() or not array.is_file():
        return
    if storage.sha256_file(array) != entry.checksum:
        yield DistillError(Code.SHARD_CHECKSUM, f"{array.name} is not what the manifest's checksum says", AGAIN)
        return  # its content has no meaning any more
    try:
        ids = memory_map(array, entry, dtype)
        yield from token_problems(ids, entry.path, stamp)
        if not index.is_symlink() and index.is_file():
            yield from index_problems(index.read_bytes(), ids, entry, stamp.eos_token_id)
    except DistillError as error:
        yield error


def token_problems(ids: npt.NDArray[Any], name: str, stamp: TokenizerStamp) -> Iterator[DistillError]:
    """Ids beyond the vocabulary, a last document without its EOS, documents with nothing before it."""
    import numpy as np

    if not len(ids):
        yield DistillError(Code.SHARD_TOKENS, f"{name} is empty", AGAIN)
        return
    for start in range(0, len(ids), _CHUNK):
        piece = ids[start : start + _CHUNK]
        beyond = piece >= stamp.vocab_size
        if beyond.any():
            at = start + int(beyond.argmax())
            yield DistillError(
                Code.SHARD_TOKENS, f"{name} has the id {int(ids[at])} at {at:,}; the vocabulary is {stamp.vocab_size:,}", AGAIN
            )
            break
    ends = eos_positions(ids, stamp.eos_token_id)
    if not len(ends) or ends[-1] != len(ids) - 1:
        yield DistillError(Code.SHARD_TOKENS, f"{name} does not end with EOS ({stamp.eos_token_id})", AGAIN)
    empty = np.flatnonzero(np.diff(ends, prepend=-1) == 1)
    if len(empty):
        yield DistillError(Code.SHARD_TOKENS, f"{name} has an empty document at {int(ends[empty[0]]):,}", AGAIN)


def index_problems(data: bytes, ids: npt.NDArray[Any], entry: ShardEntry, eos: int) -> Iterator[DistillError]:
    """An index that is none, or whose spans are not the documents of the shard."""
    import numpy as np

    name = entry.index_path
    try:
        index = parse_index(data, name)
    except DistillError as error:
        yield error
        return
    starts, ends = index.starts, index.ends
    if len(starts) != entry.num_documents:
        what = f"{name} has {len(starts):,} documents, the manifest says {entry.num_documents:,}"
        yield DistillError(Code.INDEX, what, _reindex(name))
    if not len(starts):
        return
    if starts[0] != 0:
        yield DistillError(Code.INDEX, f"{name}: the first document starts at {starts[0]}, not 0", _reindex(name))
    if ends[-1] != len(ids):
        yield DistillError(
            Code.INDEX, f"{name}: the last document ends at {ends[-1]:,}, the shard at {len(ids):,}", _reindex(name)
        )
    if (gaps := np.flatnonzero(starts[1:] != ends[:-1])).size:
        yield DistillError(Code.INDEX, f"{name}: document {gaps[0] + 1} does not start where the one before ends", _reindex(name))
    if (empty := np.flatnonzero(ends - starts < 2)).size:
        yield DistillError(Code.INDEX, f"{name}: document {empty[0]} has no token besides EOS", _reindex(name))
    yield from _end_problems(ends, eos_positions(ids, eos), entry)


def _end_problems(ends: npt.NDArray[np.int64], places: npt.NDArray[np.int64], entry: ShardEntry) -> Iterator[DistillError]:
    """Documents (which end at `ends`) that do not end with an EOS (there is one at each of `places`), or hold one inside."""
    import numpy as np

    name = entry.index_path
    missing, foreign = np.setdiff1d(ends - 1, places), np.setdiff1d(places, ends - 1)
    if missing.size:
        document = int(np.flatnonzero(ends - 1 == missing[0])[0])
        yield DistillError(Code.INDEX, f"{name}: document {document} does not end with EOS in the shard", _reindex(name))
    elif foreign.size:
        yield DistillError(Code.SHARD_TOKENS, f"{entry.path} has an EOS inside a document, at {int(foreign[0]):,}", AGAIN)
    elif len(places) != len(ends) or (places + 1 != ends).any():
        yield DistillError(Code.INDEX, f"{name}: its documents are not in order", _reindex(name))


def eos_positions(ids: npt.NDArray[Any], eos: int) -> npt.NDArray[np.int64]:
    import numpy as np

    found = [np.flatnonzero(ids[start : start + _CHUNK] == eos) + start for start in range(0, len(ids), _CHUNK)]
    return np.concatenate(found) if found else np.empty(0, np.int64)


def problems(folder: Path) -> list[DistillError]:
    """Everything that is wrong with a shard set. Empty: every invariant of the format holds, and every byte is accounted for."""
    try:
        manifest = load_manifest(folder)
    except DistillError as error:
        return [error]
    found: list[DistillError] = []
    for entry in manifest.shards:
        found += shard_problems(folder, entry, dtype=manifest.dtype, stamp=manifest.stamp)
    told = {name for name in manifest.files if any(error.message.startswith(name) for error in found)}
    return found + list(_file_problems(folder, manifest, told))


def _file_problems(folder: Path, manifest: TokensManifest, told: set[str]) -> Iterator[DistillError]:
    """Files beyond those of the set, and bytes that are not those of SHA256SUMS. `told` are files of which something was said."""
    expected = {MANIFEST, digest.SUMS, *manifest.files}
    state = folder / STATE
    if state.is_file():
        expected.add(STATE)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and name not in told:
            yield DistillError(Code.SHARD_FILES, f"{name} is a symbolic link", "A shard set holds plain files only.")
        elif not path.is_dir() and name not in expected:
            what = "belongs to a run that was not finished" if name in (RUN, UNITS) else "does not belong to the set"
            hint = "`distill tokenize … --resume` ends it." if name in (RUN, UNITS) else "Take it out of the folder."
            yield DistillError(Code.SHARD_FILES, f"{name} {what}", hint)
    try:
        sums = digest.read_sums(folder)
        data = (folder / digest.SUMS).read_bytes()
    except (DistillError, OSError):
        hint = "`distill shards reindex` writes a missing one."
        yield DistillError(Code.SHARD_FILES, f"{digest.SUMS} is missing or malformed", hint)
        return
    listed = {name for name in expected if name != digest.SUMS}
    if data != sums_bytes(sums) or set(sums) != listed:
        odd = sorted(set(sums) ^ listed)
        what = f"does not list {odd[0]} as it should" if odd else "is not in its own form"
        yield DistillError(Code.SHARD_FILES, f"{digest.SUMS} {what}", "Make the set again.")
    for name in sorted(listed & set(sums) - told):
        path = folder / name
        if path.is_file() and not path.is_symlink() and storage.sha256_file(path) != sums[name]:
            yield DistillError(Code.SHARD_CHECKSUM, f"{name} is not what {digest.SUMS} says", "Make the set again.")


def sums_bytes(sums: dict[str, str]) -> bytes:
    """SHA256SUMS of these files, as `digest.write_sums` writes it."""
    return "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()


def verify(folder: Path) -> TokensManifest:
    """The manifest of a set in which nothing is wrong. Raises the first problem, with the number of others."""
    found = problems(folder)
    if found:
        more = f" (and {len(found) - 1} more; `distill shards verify` lists them)" if len(found) > 1 else ""
        raise DistillError(found[0].code, f"{folder.name}: {found[0].message}{more}", found[0].hint)
    return load_manifest(folder)


def tokens_of(data: bytes, entry: ShardEntry, dtype: DType) -> npt.NDArray[Any]:
    """The ids of a shard from its bytes. Raises E-SHARD-FORMAT."""
    import numpy as np

    begin, tokens, found = open_tokens(io.BytesIO(data), entry.path, len(data))
    _of_manifest(entry.path, tokens, found, entry, dtype)
    return np.frombuffer(data, dtype=found, offset=begin)


def _reindex(name: str) -> str:
    return f"`distill shards reindex` makes {name} again from the shard."
