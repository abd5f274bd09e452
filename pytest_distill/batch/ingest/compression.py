"""Opening an input file: plain, gzip or Zstandard, as a buffered stream of bytes that counts and hashes what it reads.

Truncated and damaged files are errors, never an early end. A decompression bomb is refused by its ratio; nothing here holds
more than a bounded piece of the output.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

Compression = Literal["none", "gzip", "zstd"]
SUFFIXES: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}
MAGIC: dict[Compression, bytes] = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}

# Text compresses 3 to 30 times. A file beyond both bounds is a bomb, or so repetitive that nothing could be learned from it.
MAX_RATIO = 250
RATIO_FREE_BYTES = 256 << 20
_BUFFER = 1 << 20
_GZIP_INPUT = 64 << 10
# Three bytes of Zstandard can stand for 128 KiB, and its decoder gives all output of an input at once: so small inputs.
_ZSTD_INPUT = 1 << 10


class Input(io.RawIOBase):
    """The file's own bytes. `sha256` and `consumed` are of what was read so far; `progress` is told of every piece."""

    def __init__(self, path: Path, progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.consumed = 0
        self._file = _open(path)
        self._digest = hashlib.sha256()
        self._progress = progress

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    @property
    def place(self) -> tuple[int, int]:
        """Device and inode: the same for two names of one file."""
        found = os.fstat(self.fileno())
        return found.st_dev, found.st_ino

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            count = self._file.readinto(view) or 0
        except OSError as error:
            raise DistillError(
                Code.SOURCE, f"cannot read {self.path}: {error.strerror or error}", "Is the disk sound?"
            ) from error
        self._digest.update(view[:count])
        self.consumed += count
        if self._progress is not None and count:
            self._progress(count)
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


class _Decoder(Protocol):
    """One member or frame. `unused_data` is what was fed beyond its end."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


class _Gunzip:
    """zlib with bounded output, behind the interface that zstandard's object has."""

    def __init__(self) -> None:
        self._object = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        return self._object.unused_data

    @property
    def pending(self) -> bytes:
        return self._object.unconsumed_tail

    def decompress(self, data: bytes) -> bytes:
        return self._object.decompress(data, _BUFFER)


class _Decompressed(io.RawIOBase):
    """All members of a compressed file, one after the other."""

    def __init__(self, source: Input, compression: Compression) -> None:
        self._source = source
        self._compression = compression
        self._decoder = self._new()
        self._begun = False  # the current member has been fed something
        self._ended = False  # a member has come to its end, be it an empty one
        self._fed = b""
        self._ready = memoryview(b"")
        self._produced = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fills the buffer: fewer bytes come back only at the end."""
        view = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(view):
            if not self._ready:
                piece = self._decode()
                if piece is None:
                    break
                self._ready = memoryview(piece)
                continue
            count = min(len(view) - filled, len(self._ready))
            view[filled : filled + count] = self._ready[:count]
            self._ready = self._ready[count:]
            filled += count
        return filled

    def _decode(self) -> bytes | None:
        """The next piece of output (may be empty), or None at the end of the file."""
        if self._decoder.eof:
            self._fed = self._decoder.unused_data
            self._decoder, self._begun, self._ended = self._new(), False, True
        if not self._begun and self._compression == "gzip":
            self._fed = self._fed.lstrip(b"\0")  # tapes and some tools pad with zeros
        if not self._fed:
            self._fed = self._source.read(_GZIP_INPUT if self._compression == "gzip" else _ZSTD_INPUT)
            if not self._fed:
                if self._begun or not self._ended:
                    raise self._refused("is cut off")
                return None
            if not self._begun:
                return b""
        try:
            output = self._decoder.decompress(self._fed)
        except Exception as error:  # zlib.error, zstandard.ZstdError: the latter is imported only where it is needed
            raise self._refused(f"is damaged ({error})") from error
        self._begun = True
        self._fed = self._decoder.pending if isinstance(self._decoder, _Gunzip) else b""
        self._produced += len(output)
        if self._produced > RATIO_FREE_BYTES and self._produced > MAX_RATIO * self._source.consumed:
            raise self._refused(f"grows more than {MAX_RATIO} times when decompressed, as a decompression bomb does")
        return output

    def _new(self) -> _Decoder:
        if self._compression == "gzip":
            return _Gunzip()
        import zstandard

        decoder: _Decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj()
        return decoder

    def _refused(self, what: str) -> DistillError:
        message = f"{self._source.path.name}: as {self._compression} data it {what}"
        return DistillError(Code.FORMAT, message, "Copy or download it again, or decompress it yourself and look.")


def compression_of(path: Path) -> tuple[Compression, str]:
    """The compression that the name tells, and the name without that suffix."""
    for suffix, compression in SUFFIXES.items():
        if path.name.lower().endswith(suffix):
            return compression, path.name[: -len(suffix)]
    return "none", path.name


@contextmanager
def open_input(path: Path, progress: Callable[[int], None] | None = None) -> Iterator[tuple[Input, io.BufferedReader]]:
    """The file's own bytes, and the buffered, decompressed stream over them.

    Raises E-SOURCE-NOTFOUND when it is no readable file, E-SOURCE-FORMAT when it is not compressed as its name says.
    """
    compression, _ = compression_of(path)
    with Input(path, progress) as source:
        head = os.pread(source.fileno(), 4, 0)
        if not head:
            raise DistillError(Code.SOURCE, f"{path} is empty", "There are no rows to read.")
        for name, magic in MAGIC.items():
            if head.startswith(magic) != (name == compression) and (compression in ("none", name)):
                suffix = next(s for s, c in SUFFIXES.items() if c == name)
                said = f"is named {suffix} and holds no {name} data" if name == compression else f"holds {name} data"
                raise DistillError(Code.FORMAT, f"{path.name} {said}", f"Name it by its content ({suffix} is {name}).")
        raw: io.RawIOBase = source if compression == "none" else _Decompressed(source, compression)
        stream: io.BufferedReader = io.BufferedReader(raw, _BUFFER)
        with stream:
            if not stream.peek(1):
                raise DistillError(Code.SOURCE, f"{path} is empty", "There are no rows to read.")
            yield source, stream


def _open(path: Path) -> io.FileIO:
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise DistillError(Code.SOURCE, f"{path} is {what}", "Name the files to read, one by one or with a shell pattern.")
        return io.FileIO(path, "rb")
    except OSError as error:
        reasons = {
            errno.ENOENT: "there is no such file",
            errno.EACCES: "it may not be read (permissions)",
            errno.ELOOP: "it is a symbolic link to itself",
        }
        what = reasons.get(error.errno or 0, error.strerror or str(error))
        if error.errno == errno.ENOENT and path.is_symlink():
            what = "it is a symbolic link to a file that is not there"
        raise DistillError(Code.SOURCE, f"cannot read {path}: {what}", "Check the path.") from error
