"""HTML out of text, through one door: `tag` escapes every child and every attribute that is not `Html` already."""

from __future__ import annotations

import html
import unicodedata

Value = str | int | float | bool | None
_VOID = frozenset({"meta", "link", "input", "br"})
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


class Html(str):
    """Markup that may stand on the page as it is. Made by `tag` and `join`, and from literals of this package only."""

    __slots__ = ()


def visible(text: str) -> str:
    """`text` with everything that would be drawn as nothing, or turn the direction of others, made visible. Lines stay."""
    return "".join(c if _drawn(c) else c.encode("unicode_escape", "backslashreplace").decode() for c in text)


def _drawn(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in _INVISIBLE


def escape(text: str) -> Html:
    return Html(html.escape(visible(text), quote=True))


def child(value: Html | Value) -> str:
    if value is None or value is False:
        return ""
    return value if isinstance(value, Html) else escape(str(value))


def tag(name: str, /, *children: Html | Value, **attributes: Value) -> Html:
    """`<name attributes>children</name>`. In attribute names, `class_` is class and `_` is `-`; None and False leave one out."""
    given = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if name in _VOID:
        return Html(f"<{name}{given}>")
    return Html(f"<{name}{given}>{''.join(child(c) for c in children)}</{name}>")


def _attribute(name: str, value: Value) -> str:
    name = name.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'


def join(parts: list[Html] | tuple[Html, ...]) -> Html:
    return Html("".join(parts))
