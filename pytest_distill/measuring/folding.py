"""One text, however it was typed: the folded form in which texts are compared."""

from __future__ import annotations

import unicodedata

import polars as pl

from pytest_distill.measuring.candidates import examined

# Outside these (ASCII, most of Latin, common punctuation), lower case may not be folded case, or a character not composed.
_SPECIAL = (
    r"[^\x{00}-\x{B4}\x{B6}-\x{DE}\x{E0}-\x{12F}\x{131}-\x{148}\x{14A}-\x{17E}\x{2010}-\x{2027}\x{2030}-\x{205E}\x{20AC}\x{2122}]"
)


# The same without letters in upper case: what lies inside is folded already, once ASCII is.
_UNFOLDED = _SPECIAL.replace(r"\x{B6}-\x{DE}\x{E0}-\x{12F}\x{131}-\x{148}\x{14A}-\x{17E}", r"\x{B6}-\x{BF}\x{E0}-\x{FF}")


def folded(texts: pl.Series) -> pl.Series:
    """Case folded and in Unicode's composed form (NFC). Nulls are not welcome; "²" stays "²", since it is not 2."""
    beyond_ascii = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    rows = beyond_ascii.filter(texts.gather(beyond_ascii).str.contains(_SPECIAL))
    special = pl.repeat(False, len(texts), eager=True).scatter(rows, True)
    return texts.str.to_lowercase().zip_with(~special, examined(_fold, special, texts))


def folded_beyond_ascii(texts: pl.Series) -> pl.Series:
    """Texts with characters beyond ASCII that need it folded, the others as they are: for kernels that fold ASCII themselves."""
    rows = (texts.str.len_bytes() != texts.str.len_chars()).arg_true()
    rows = rows.filter(texts.gather(rows).str.contains(_UNFOLDED))
    return texts.clone().scatter(rows, folded(texts.gather(rows))) if len(rows) else texts


def collapsed(texts: pl.Series) -> pl.Series:
    """Folded, every run of whitespace one space, none at the ends: equal for texts that are the same for a reader."""
    return folded(texts).str.replace_all(r"\s+", " ").str.strip_chars()


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())
