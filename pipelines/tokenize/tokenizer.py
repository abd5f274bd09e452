"""The tokenizer contract: one face over Hugging Face tokenizers and tiktoken. What is stamped is derived when one is loaded.

    tokenizer = load("models/qwen")            # a folder or a tokenizer.json
    tokenizer = load("o200k_base.tiktoken")    # the file that OpenAI publishes under that name
    tokenizer = load("Qwen/Qwen2.5-0.5B")      # from the Hugging Face cache of this machine
    tokenizer = load(None)                     # the small one that ships with the project

Nothing is downloaded. Special tokens that are written in a text are text: only the writer of shards places EOS.
"""

from __future__ import annotations

import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pytest_distill import storage
from pytest_distill.contracts.tokens import TokenizerStamp
from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.separable import is_separable
from pytest_distill.pipelines.tokenize.pieces import PieceEncoder

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HuggingFace

Ids = npt.NDArray[np.uint32]
Counts = npt.NDArray[np.int64]
SHIPPED = "pytest-distill/tokenizer"
HASH_LENGTH = 16
# Names by which a tokenizer.json without a tokenizer_config.json tells its end of text, if exactly one of them is special in it.
_ENDS = ("<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>", "</s>", "<eos>", "<|eos|>", "[EOS]")
_CONFIGS = ("tokenizer_config.json", "special_tokens_map.json")


class Tokenizer(ABC):
    """`stamp` is what was derived; `eos` the text of the end-of-document token."""

    stamp: TokenizerStamp
    eos: str

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> tuple[Ids, Counts]:
        """The ids of all texts one after the other, without any special token, and how many each text has."""

    @abstractmethod
    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens shown."""

    def fork(self) -> Tokenizer:
        """One for another thread. What it remembers of texts is its own."""
        return self

    @abstractmethod
    def __reduce__(self) -> tuple[Callable[[], Tokenizer], tuple[()]]:
        """How another process makes the same one: from what it was made of, and never from its inside."""


class HuggingFaceTokenizer(Tokenizer):
    def __init__(self, data: bytes, *, name: str, version: str | None, eos: str | None, folder: Path | None = None) -> None:
        """`data` is a tokenizer.json; its `folder` may say in other files which token ends a document."""
        from tokenizers import Tokenizer as HuggingFace

        try:
            declared = json.loads(data)
            self._inner: HuggingFace = HuggingFace.from_str(data.decode("utf-8"))
        except Exception as error:  # the library raises bare Exception
            raise _refused(f"{name} is no tokenizer.json: {error}", "Name the tokenizer.json of the model.") from error
        self._inner.no_truncation()
        self._inner.no_padding()
        self._inner.encode_special_tokens = True  # in the library's words: encode them as if they were ordinary text
        self.eos = eos or _declared_end(folder) or _only_end(declared, name)
        number = self._inner.token_to_id(self.eos)
        if number is None:
            raise _refused(f"{name} has no token {self.eos!r}", "Name the one that ends a document: --eos TOKEN.")
        content = {key: value for key, value in declared.items() if key not in ("truncation", "padding")}
        self.stamp = TokenizerStamp(
            tokenizer_name=name,
            tokenizer_hash=storage.sha256_bytes(storage.canonical_json(content))[:HASH_LENGTH],
            tokenizer_version=version,
            # Not the number of tokens: vocabularies have gaps, and every id has to lie below.
            vocab_size=max(self._inner.get_vocab(with_added_tokens=True).values()) + 1,
            eos_token_id=number,
        )
        self._made = partial(type(self), data, name=name, version=version, eos=self.eos)
        self._separable = is_separable(declared)
        self._pieces = PieceEncoder(self._whole) if self._separable else None

    def fork(self) -> Tokenizer:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._pieces = PieceEncoder(self._whole) if self._separable else None
        return other

    def __reduce__(self) -> tuple[Callable[[], Tokenizer], tuple[()]]:
        return self._made, ()

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Counts]:
        return self._whole(texts) if self._pieces is None else self._pieces.encode(texts)

    def _whole(self, texts: Sequence[str]) -> tuple[Ids, Counts]:
        found = [encoding.ids for encoding in self._inner.encode_batch_fast(list(texts), add_special_tokens=False)]
        counts = np.fromiter(map(len, found), np.int64, len(found))
        ids = np.fromiter((number for each in found for number in each), np.uint32, int(counts.sum()))
        return ids, counts

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._inner.decode(list(ids), skip_special_tokens=False))


class TiktokenTokenizer(Tokenizer):
    def __init__(self, name: str, pattern: str, ranks: dict[bytes, int], special: dict[str, int], *, eos: str | None) -> None:
        import tiktoken

        self.eos = eos or "<|endoftext|>"
        if self.eos not in special:
            raise _refused(f"{name} has no special token {self.eos!r}", "Name the one that ends a document: --eos TOKEN.")
        self._made = partial(type(self), name, pattern, ranks, special, eos=self.eos)
        self._inner = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)
        digest = hashlib.sha256(storage.canonical_json({"pattern": pattern, "special_tokens": special}))
        for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
            digest.update(b"%d %s\n" % (rank, token.hex().encode()))
        self.stamp = TokenizerStamp(
            tokenizer_name=name,
            tokenizer_hash=digest.hexdigest()[:HASH_LENGTH],
            tokenizer_version=None,
            vocab_size=self._inner.max_token_value + 1,
            eos_token_id=special[self.eos],
        )

    def __reduce__(self) -> tuple[Callable[[], Tokenizer], tuple[()]]:
        return self._made, ()

    def encode(self, texts: Sequence[str]) -> tuple[Ids, Counts]:
        found = [self._inner.encode_to_numpy(text, disallowed_special=()) for text in texts]
        counts = np.fromiter(map(len, found), np.int64, len(found))
        return np.concatenate(found).astype(np.uint32, copy=False) if found else np.empty(0, np.uint32), counts

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._inner.decode(list(ids), errors="replace"))


def load(name: str | None = None, *, eos: str | None = None) -> Tokenizer:
    """The tokenizer that `name` means: a path, a tiktoken encoding, a model of the Hugging Face cache; None: the shipped one.

    `eos` is the text of the token that ends a document, where the tokenizer's own files do not say. Raises E-TOKENIZER, or
    E-EXTRA-MISSING where tiktoken is not installed.
    """
    if name is None:
        data = (resources.files("pytest_distill.fixtures") / "tokenizer.json").read_bytes()
        return HuggingFaceTokenizer(data, name=SHIPPED, version=None, eos=eos)
    path = Path(name)
    if path.is_dir():
        path = path / "tokenizer.json"
        if not path.is_file():
            raise _refused(f"{name} holds no tokenizer.json", "Name a folder that does, or the file of an encoding.")
    if path.suffix == ".tiktoken" or not path.is_file():
        from pytest_distill.pipelines.tokenize.encodings import published

        if (encoding := published(name)) is not None:
            return TiktokenTokenizer(*encoding, eos=eos)
        snapshot = _cached(name)
        if snapshot is None:
            raise _refused(f"there is no tokenizer {name!r} on this machine", "Name its tokenizer.json; nothing is downloaded.")
        path = snapshot / "tokenizer.json"
    data = _read(path)
    if b'"ranks"' in data and (declared := _json(path, data)).keys() == {"name", "pattern", "ranks", "special_tokens"}:
        from pytest_distill.pipelines.tokenize.encodings import own

        return TiktokenTokenizer(*own(path, declared), eos=eos)
    found, version = _name_of(path)
    return HuggingFaceTokenizer(data, name=found, version=version, eos=eos, folder=path.parent)


def same(tokenizer: TokenizerStamp, manifest: TokenizerStamp, where: str) -> None:
    """Raises E-TOKENIZER-DRIFT unless both stamps are equal. `where` says what the second was read from."""
    if differences := tokenizer.differences(manifest):
        raise DistillError(
            Code.TOKENIZER_DRIFT,
            f"the tokenizer is not the one of {where} ({'; '.join(differences)})",
            "Use that tokenizer, or make a new set.",
        )


def _declared_end(folder: Path | None) -> str | None:
    """The eos_token of the files that lie beside a tokenizer.json."""
    for name in _CONFIGS if folder is not None else ():
        path = folder / name  # type: ignore[operator]
        if path.is_file():
            value = _json(path, _read(path)).get("eos_token")
            value = value.get("content") if isinstance(value, dict) else value
            if isinstance(value, str) and value:
                return value
    return None


def _only_end(declared: dict[str, Any], name: str) -> str:
    special = {token["content"] for token in declared.get("added_tokens") or () if token.get("special")}
    ends = [end for end in _ENDS if end in special]
    if len(ends) != 1:
        what = f"could end documents with {' or '.join(ends)}" if ends else "does not say which token ends a document"
        raise _refused(f"{name} {what}", "Name it: --eos TOKEN.")
    return ends[0]


def _name_of(path: Path) -> tuple[str, str | None]:
    """Name and revision: of a model in the Hugging Face cache its own, else the folder's name (of another file, its stem)."""
    path = path.absolute()
    parts = path.parts
    if len(parts) > 4 and parts[-3] == "snapshots" and parts[-4].startswith("models--"):
        return parts[-4].removeprefix("models--").replace("--", "/"), parts[-2]
    return (path.parent.name or path.stem) if path.name == "tokenizer.json" else path.stem, None


def _cached(name: str) -> Path | None:
    """The snapshot of a model in the Hugging Face cache: where its `main` points to."""
    home = os.environ.get("HF_HUB_CACHE") or Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface") / "hub"
    model = Path(home) / f"models--{name.replace('/', '--')}"
    try:
        revision = (model / "refs" / "main").read_text("utf-8").strip()
    except (OSError, ValueError):
        return None
    snapshot = model / "snapshots" / revision
    return snapshot if (snapshot / "tokenizer.json").is_file() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}", "Check the path.") from error


def _json(path: Path, data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as error:
        raise _refused(f"{path.name} is no JSON: {error}", "Mend it.") from error
    return value if isinstance(value, dict) else {}


def _refused(message: str, hint: str) -> DistillError:
    return DistillError(Code.TOKENIZER, message, hint)
