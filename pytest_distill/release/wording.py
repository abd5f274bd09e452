"""Figures and foreign text in words: for the terminal, and escaped for Markdown and YAML."""

from __future__ import annotations

import json
import re

from pytest_distill.contracts.run import Figure
from pytest_distill.errors import one_line

_MARKUP = re.compile(r"[\\`*_{}\[\]#|~$@]|:(?=//)|^[-+=]|(?<=\d)[.)](?= )|(?<=www)\.")
_WIDE = re.compile(r"[\x7f-\x9f\u2028\u2029\ufeff\U00010000-\U0010ffff]")


def value_text(value: float | int | str | bool | None) -> str:
    return "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def figure_text(figure: Figure) -> str:
    """A figure as `median answer length: 38 tokens (< 40)`; a unit that the name says already is not said twice."""
    unit = f" {figure.unit}" if figure.unit and figure.unit not in figure.name.split() else ""
    bound = f" ({figure.bound})" if figure.bound else ""
    return f"{figure.name}: {value_text(figure.value)}{unit}{bound}"


def markdown(text: str) -> str:
    """`text` as Markdown that shows exactly that: no markup, no HTML, no link, no line break, no control character."""
    plain = one_line(text).strip().replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKUP.sub(lambda found: f"\\{found[0]}", plain)


def yaml(text: str) -> str:
    """`text` as a double-quoted YAML scalar. JSON is that already, but for characters that YAML wants escaped otherwise."""
    return _WIDE.sub(lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False))
