"""Tables over all code points: what is a space, a letter, the end of a sentence. Kernels look characters up in them."""

from __future__ import annotations

import functools
import unicodedata

import numpy as np
from numpy.typing import NDArray

SPACE = 1  # str.isspace
ALPHA = 2  # str.isalpha
ALNUM = 4  # str.isalnum
WORD = 8  # letters, numbers, and the marks that belong to them (categories L, N, M)
SOLO = 16  # characters of scripts that write no spaces between words: each counts as a word of its own
BREAK = 32  # ends a line for str.splitlines
PUNCTUATION = 64
TERMINAL = 128  # may end a sentence

# A word made of nothing but these is no word for Gopher's counts. The set is datatrove's, so that decisions coincide.
_PUNCTUATION = (
    "0-8 B-1F 21-2F 3A-40 5B-60 7B-9F AB B4 BB 2013-2014 2019 201C-201E 2026 2236 2501 25BA 3001-3002 3008-300D 3010-3011"
    " FF01 FF05 FF08-FF09 FF0C FF0E FF11 FF1A-FF1B FF1F FF5E"
)
# The Unicode property Sentence_Terminal with the marks FineWeb added; unicodedata does not carry that property.
_TERMINAL = (
    "21 2E 3F 589 61D-61F 6D4 700-702 7F9 837 839 83D-83E 964-965 104A-104B 1362 1367-1368 166E 1735-1736 17D4-17D6 17D9-17DA"
    " 1803 1809 1944-1945 1AA8-1AAB 1B5A-1B5B 1B5E-1B5F 1B7D-1B7E 1C3B-1C3C 1C7E-1C7F 203C-203D 2047-2049 2E2E 2E3C 2E53-2E54"
    " 3002 A4FF A60E-A60F A6F3 A6F7 A876-A877 A8CE-A8CF A92F A9C8-A9C9 AA5D-AA5F AAF0-AAF1 ABEB FE52 FE56-FE57 FF01 FF0E FF1F"
    " FF61 10A56-10A57 10F55-10F59 10F86-10F89 11047-11048 110BE-110C1 11141-11143 111C5-111C6 111CD 111DE-111DF 11238-11239"
    " 1123B-1123C 112A9 1144B-1144C 115C2-115C3 115C9-115D7 11641-11642 1173C-1173E 11944 11946 11A42-11A43 11A9B-11A9C"
    " 11C41-11C42 11EF7-11EF8 11F43-11F44 16A6E-16A6F 16AF5 16B37-16B38 16B44 16E98 1BC9F 1DA88"
)
# Thai, Lao, Myanmar, Khmer, kana, Han (with radicals and the supplementary planes). Hangul writes spaces.
_SOLO = "E00-EFF 1000-109F 1780-17FF 2E80-2FDF 3005-3007 3021-3029 3040-30FF 31F0-31FF 3400-4DBF 4E00-9FFF F900-FAFF 20000-3FFFF"
_BREAK = "A-D 1C-1E 85 2028-2029"


@functools.cache
def classes() -> NDArray[np.uint8]:
    """One byte of flags for every code point, 1.1 MB, built once a process in about 0.1 s from this Python's Unicode data."""
    points = np.arange(0x110000, dtype=np.uint32)
    points[0xD800:0xE000] = 0  # surrogates are no characters, and no UTF-8 decodes to one
    characters = points.view("U1")
    table = np.where(np.strings.isspace(characters), SPACE, 0)
    table |= np.where(np.strings.isalpha(characters), ALPHA, 0)
    table |= np.where(np.strings.isalnum(characters), ALNUM | WORD, 0)
    for marked in (range(0x20000), range(0xE0000, 0xE1000)):  # no marks are assigned anywhere else
        table[[p for p in marked if unicodedata.category(chr(p)).startswith("M")]] |= WORD
    for flag, ranges in ((SOLO, _SOLO), (BREAK, _BREAK), (PUNCTUATION, _PUNCTUATION), (TERMINAL, _TERMINAL)):
        for first, last in _ranges(ranges):
            table[first : last + 1] |= flag
    table[(table & SOLO != 0) & (table & WORD == 0)] &= ~SOLO  # punctuation of those scripts is punctuation
    found = table.astype(np.uint8)
    found.setflags(write=False)
    return found


@functools.cache
def quick() -> NDArray[np.uint8]:
    """For every byte: the ASCII digit it is, or the ASCII letter in lower case; 255 beyond ASCII; 0 for what is in no word."""
    found = bytes(255 if byte > 127 else ord(chr(byte).lower()) if chr(byte).isalnum() else 0 for byte in range(256))
    return np.frombuffer(found, np.uint8)


def _ranges(text: str) -> list[tuple[int, int]]:
    pairs = (item.partition("-") for item in text.split())
    return [(int(first, 16), int(last or first, 16)) for first, _, last in pairs]
