"""Tokenizers whose tokens of a text are those of its pieces, so that every distinct piece has to be encoded only once."""

from __future__ import annotations

from typing import Any

# Pre-tokenizers that always begin a new piece where `kernels.pieces` cuts, whatever comes before or after: ours, and those of
# the GPT-2, GPT-4/Llama 3 and Qwen families. A cut is never inside one of their matches, and no look-ahead reaches over one.
PATTERNS = frozenset(
    (
        r" ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+",
        r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    )
)
_CUT_CHARACTERS = frozenset(" .,;:!?)\n\r\t")


def is_separable(declared: dict[str, Any]) -> bool:
    """Whether the tokens of a text are exactly those of its pieces: byte-level BPE over one of the known pre-tokenizers.

    `declared` is the content of a tokenizer.json. No normaliser, no dropout, and no added token that strips its neighbours or
    could reach over a cut.
    """
    model, before = declared.get("model") or {}, declared.get("pre_tokenizer") or {}
    if model.get("type") != "BPE" or model.get("dropout") or declared.get("normalizer") is not None:
        return False
    for token in declared.get("added_tokens") or ():
        if token.get("lstrip") or token.get("rstrip") or token.get("single_word") or set(token["content"]) & _CUT_CHARACTERS:
            return False
    steps = before.get("pretokenizers") if before.get("type") == "Sequence" else [before]
    match steps:
        case [{"type": "ByteLevel", "use_regex": True, "add_prefix_space": False}]:
            return True
        case [
            {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "use_regex": False, "add_prefix_space": False},
        ]:
            return pattern in PATTERNS
    return False
