"""Text that was decoded wrongly or carries characters that no reader sees."""

from __future__ import annotations

import polars as pl
import re2

from pytest_distill import measure
from pytest_distill.measuring.candidates import examined, first_match, first_of

# NUL and the other control characters but tab, line feed and carriage return; C1 controls (cp1252 read as latin-1);
# the replacement character; the byte order mark; noncharacters of every plane; overrides of the writing direction.
_PLANES = "".join(rf"\x{{{plane:X}FFFE}}\x{{{plane:X}FFFF}}" for plane in range(17)).replace(r"\x{0FFF", r"\x{FFF")
FORBIDDEN = rf"[\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{{9F}}\x{{FFFD}}\x{{FEFF}}\x{{FDD0}}-\x{{FDEF}}\x{{202D}}\x{{202E}}{_PLANES}]"

# Fair in some text only: embeddings and isolates of the writing direction beside letters that are written from right to
# left, tag characters in the flags of England, Scotland and Wales. (Joiners of Persian, Hindi and emoji are always fair.)
_DIRECTION = r"[\x{202A}-\x{202C}\x{2066}-\x{2069}]"
_TAG = r"[\x{E0000}-\x{E007F}]"
_RIGHT_TO_LEFT = re2.compile(r"[\p{Hebrew}\p{Arabic}\p{Syriac}\p{Thaana}\p{Nko}]")
_FLAG = re2.compile(r"\x{1F3F4}[\x{E0061}-\x{E007A}\x{E0030}-\x{E0039}]+\x{E007F}")
_HIDDEN = re2.compile(rf"{_DIRECTION}|{_TAG}")

# UTF-8 read as cp1252 (or latin-1): a lead byte shown as a letter, its continuation bytes shown as these.
_CP1252 = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_NEXT = rf"[\x{{80}}-\x{{BF}}{_CP1252}]"
_GARBLED = rf"[Â-ß]{_NEXT}|[à-ï]{_NEXT}{{2}}|[ð-ô]{_NEXT}{{3}}|â€"
_SEQUENCES = re2.compile(rf"(?:{_GARBLED})+")


@measure(version=1)
def encoding_fault(whole_text: pl.Series) -> pl.Series:
    """The first control character, replacement character, noncharacter, hidden character or garbled sequence; null if none.

    Garbled means that the sequence, encoded back to cp1252 and decoded as UTF-8, gives one plausible character of a Latin
    alphabet, of punctuation or an emoji, or at least three of another script in a row: genuine text does not do that.
    """
    forbidden = first_match(whole_text, FORBIDDEN)
    hidden = examined(_hidden, whole_text.str.contains(rf"{_DIRECTION}|{_TAG}"), whole_text)
    garbled = examined(_garbled, whole_text.str.contains(_GARBLED), whole_text)
    return first_of(forbidden, hidden, garbled)


def _hidden(text: str) -> str | None:
    without_flags = _FLAG.sub("", text)
    found = _HIDDEN.search(without_flags)
    if found is None:
        return None
    piece = str(found.group())
    return None if ord(piece) < 0xE0000 and _RIGHT_TO_LEFT.search(text) else piece


def _garbled(text: str) -> str | None:
    for found in _SEQUENCES.finditer(text):
        piece = str(found.group())
        if _plausible(piece, before=text[: found.start()][-1:]):
            return piece
    return None


def _plausible(piece: str, *, before: str) -> bool:
    if piece.startswith("â€"):  # the quotes and dashes of English; their last byte is often lost on the way
        return True
    decoded = _reversed(piece)
    if decoded is None:
        return False
    if len(decoded) >= 3:
        return True
    # A capital that ends a word in capitals, before a quote or a space, is genuine: "MANHÃ»", "NÃO ", „MENÜ“.
    if before.isupper() and not piece[1].isalnum() and len(piece) == 2:
        return False
    return any("\u00a0" <= c <= "\u017f" or "\u2010" <= c <= "\u27bf" or c >= "\U0001f000" for c in decoded)


def _reversed(piece: str) -> str | None:
    data = bytearray()
    for character in piece:
        code = ord(character)
        data += character.encode("cp1252") if character in _CP1252 else bytes([code])
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
