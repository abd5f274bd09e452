"""tiktoken encodings from files of this machine: the published ones by name, and others by a small JSON file.

tiktoken fetches the ranks of its encodings from the network and keeps them in TIKTOKEN_CACHE_DIR. Here they are only read: from a
file that is named after its encoding, as published (`o200k_base.tiktoken`), or from that cache. Pattern and special tokens come
from the library's own table, whose SHA-256 the file has to have.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError


class Encoding(NamedTuple):
    name: str
    pattern: str
    ranks: dict[bytes, int]
    special: dict[str, int]


def published(given: str) -> Encoding | None:
    """The published encoding of this name, or of the file of this name; None where there is none.

    Raises E-TOKENIZER when its ranks are not on this machine or are not those that were published, E-EXTRA-MISSING.
    """
    path = Path(given) if given.endswith(".tiktoken") else None
    try:
        from tiktoken_ext import openai_public
    except ImportError as error:
        if path is None:
            return None
        raise DistillError(
            Code.EXTRA, f"{path.name} needs tiktoken, which is not installed", "pip install 'pytest-distill[tiktoken]'"
        ) from error
    name = path.stem if path else given
    table: dict[str, Callable[[], dict[str, Any]]] = openai_public.ENCODING_CONSTRUCTORS
    if name not in table:
        if path is None:
            return None
        raise _refused(f"tiktoken publishes no encoding {name!r}", f"Published are {', '.join(sorted(table))}.")

    def ranks(url: str, expected_hash: str) -> dict[bytes, int]:
        return read_ranks(path or _cached(url, name), expected_hash)

    def two_files(*_: object, **__: object) -> dict[bytes, int]:
        raise _refused(f"{name} is published in another form", "r50k_base has the same tokens.")

    # The library's functions, unchanged, over a table of names in which reading the ranks is ours.
    names = {**vars(openai_public), "load_tiktoken_bpe": ranks, "data_gym_to_mergeable_bpe_ranks": two_files}
    names |= {key: types.FunctionType(function.__code__, names, key) for key, function in table.items()}
    made = names[name]()
    return Encoding(name, made["pat_str"], made["mergeable_ranks"], made["special_tokens"])


def own(path: Path, declared: dict[str, Any]) -> Encoding:
    """An encoding of one's own: {"name", "pattern", "special_tokens": {text: id}, "ranks": file beside}. Raises E-TOKENIZER."""
    name, pattern, special, ranks = (declared[key] for key in ("name", "pattern", "special_tokens", "ranks"))
    whole = isinstance(special, dict) and all(type(number) is int and number >= 0 for number in special.values())
    if not whole or not all(isinstance(value, str) and value for value in (name, pattern, ranks)) or Path(ranks).name != ranks:
        raise _refused(f"{path.name} declares no encoding", "It needs name, pattern, ranks (a file beside it), special_tokens.")
    try:
        import tiktoken  # noqa: F401
    except ImportError as error:
        raise DistillError(
            Code.EXTRA, f"{path.name} needs tiktoken, which is not installed", "pip install 'pytest-distill[tiktoken]'"
        ) from error
    found = read_ranks(path.parent / ranks, None)
    if set(found.values()) & set(special.values()):
        raise _refused(f"{path.name}: a special token has the id of an ordinary one", "Give it one of its own.")
    return Encoding(name, pattern, found, special)


def read_ranks(path: Path, expected: str | None) -> dict[bytes, int]:
    """Token -> rank from lines of base64 and a number. Raises E-TOKENIZER."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refused(f"{path} cannot be read: {error.strerror}", "Check the path.") from error
    if expected is not None and storage.sha256_bytes(data) != expected:
        raise _refused(f"{path.name} is not the file that was published under that name", "Download it again.")
    ranks: dict[bytes, int] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            token, rank = line.split()
            ranks[base64.b64decode(token, validate=True)] = int(rank)
        except (ValueError, binascii.Error) as error:
            raise _refused(f"{path.name}, line {number}: no token and rank", "Is it a .tiktoken file?") from error
    if len(set(ranks.values())) != len(ranks) or not ranks or min(ranks.values()) < 0:
        raise _refused(f"{path.name}: its ranks are not one number for each token", "Is it a .tiktoken file?")
    return ranks


def _cached(url: str, name: str) -> Path:
    """Where tiktoken keeps what it fetched from an address. Raises E-TOKENIZER when it is not there."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    path = Path(folder, hashlib.sha1(url.encode(), usedforsecurity=False).hexdigest()) if folder else None
    if path is None or not path.is_file():
        file = url.rpartition("/")[2]
        raise _refused(
            f"the ranks of {name} are not in TIKTOKEN_CACHE_DIR",
            f"Download {url} and name the file, called {name}.tiktoken{'' if file.startswith(name) else f' (not {file})'}.",
        )
    return path


def _refused(message: str, hint: str) -> DistillError:
    return DistillError(Code.TOKENIZER, message, hint)
