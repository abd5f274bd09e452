"""What the strategies of several formats are made of."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import strategies as st

TEXT = st.text(max_size=20)
SHA = st.text("0123456789abcdef", min_size=64, max_size=64)
NUMBER = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
SCALAR = NUMBER | TEXT | st.booleans()
NAME = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}"), fullmatch=True)
URI = st.from_regex(re.compile(r"[a-z][a-z0-9+.-]{0,5}:[\x21-\x7e]{1,20}"), fullmatch=True)
COUNT = st.integers(0, 2**40)


def several(strategy: st.SearchStrategy[Any], smallest: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(strategy, min_size=smallest, max_size=3).map(tuple)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy
