"""Looks through a function's code for what a transform or a scorer must not reach: clocks, chance, the environment, shared state.

It reads the code of the function, and of every function of its module that it names, and runs nothing. It finds what is written
plainly, and is no sandbox: who wants to hide a clock can. Reruns and their hashes show that too.
"""

from __future__ import annotations

import ast
import dis
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

_CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "localtime", "gmtime", "timestamp_now"}
_CLOCK_MODULES = {"time", "datetime"}
_CHANCE_MODULES = {"random", "secrets", "uuid"}
_OUTSIDE_MODULES = {"os", "sys", "socket", "subprocess", "pathlib", "urllib", "http", "requests", "httpx", "shutil", "platform"}
_OUTSIDE = {"open", "input", "exec", "eval", "compile", "__import__", "globals", "setattr"}
_MUTABLE = (list, dict, set, bytearray)
_CHANGES = {"append", "add", "update", "setdefault", "pop", "popitem", "extend", "clear", "insert", "remove", "discard"}


def impurities(function: Callable[..., Any]) -> list[str]:
    """What makes `function` more than a function of its arguments, each as words that follow its name."""
    if not isinstance(function, FunctionType):
        return [f"is a {type(function).__name__}, whose state nobody can see"]
    found: dict[str, None] = {}
    seen: set[CodeType] = set()
    _look(function, found, seen)
    return list(found)


def _look(function: FunctionType, found: dict[str, None], seen: set[CodeType]) -> None:
    if function.__code__ in seen:
        return
    found.update(dict.fromkeys(f"keeps state between calls ({name})" for name in _state(function)))
    for code in _codes(function.__code__):
        if code in seen:
            continue
        seen.add(code)
        for word in _faults(code, function.__globals__):
            found[word] = None
        for name in code.co_names:
            called = function.__globals__.get(name)
            if isinstance(called, FunctionType) and called.__module__ == function.__module__:
                _look(called, found, seen)


def _state(function: FunctionType) -> Iterator[str]:
    """What the function could keep something in: a table of its module that it changes, of its closure, of its defaults."""
    yield from (name for name in _changed(function) if isinstance(function.__globals__.get(name), _MUTABLE))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if _filled(cell) and isinstance(cell.cell_contents, _MUTABLE):
            yield name
    if any(isinstance(value, _MUTABLE) for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
        yield "a mutable default"


def _changed(function: FunctionType) -> Iterator[str]:
    """Names whose contents the source changes: `name[…] = …`, `del name[…]`, `name.append(…)` and their like."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # no source, or a lambda within a longer line: whatever is named may be changed
        yield from function.__code__.co_names
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del) and isinstance(node.value, ast.Name):
            yield node.value.id
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGES:
            owner = node.func.value
            if isinstance(owner, ast.Name):
                yield owner.id


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty cell raises
    except ValueError:
        return False
    return True


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _faults(code: CodeType, names: dict[str, Any]) -> Iterator[str]:
    instructions = list(dis.get_instructions(code))
    loaded: set[str] = set()
    for instruction in instructions:
        name = instruction.argval
        if instruction.opname in ("STORE_GLOBAL", "DELETE_GLOBAL"):
            yield f"keeps state between calls ({name})"
        if instruction.opname == "IMPORT_NAME":
            yield from _module(str(name).split(".")[0])
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME") and isinstance(name, str):
            loaded.add(name)
            yield from _global(name, names.get(name))
        if instruction.opname in ("LOAD_ATTR", "LOAD_METHOD") and name in _CLOCKS and _holds_a_clock(loaded, names):
            yield f"reads the clock ({name})"


def _global(name: str, value: Any) -> Iterator[str]:
    if name in _OUTSIDE:
        yield f"reaches outside ({name})"
    if isinstance(value, ModuleType):
        yield from _module(value.__name__.split(".")[0])
    owner = getattr(value, "__module__", None) or ""
    if isinstance(value, FunctionType | BuiltinFunctionType | type) and isinstance(owner, str):
        base = owner.split(".")[0]
        if name in _CLOCKS and base in _CLOCK_MODULES:
            yield f"reads the clock ({name})"
        if base in _CHANCE_MODULES | _OUTSIDE_MODULES:
            yield from _module(base)
    if type(value).__name__ == "_Environ":
        yield f"reads the environment ({name})"


def _module(name: str) -> Iterator[str]:
    if name == "time":
        yield "reads the clock (time)"
    if name in _CHANCE_MODULES:
        yield f"draws on chance ({name})"
    if name == "os":
        yield "reads the environment (os)"
    elif name in _OUTSIDE_MODULES:
        yield f"reaches outside ({name})"


def _holds_a_clock(loaded: set[str], names: dict[str, Any]) -> bool:
    """`datetime.now` is a clock; `row.time` is a key."""
    for name in loaded:
        value = names.get(name)
        home = value.__name__ if isinstance(value, ModuleType) else getattr(value, "__module__", "")
        if home in _CLOCK_MODULES or name == "clock":
            return True
    return False
