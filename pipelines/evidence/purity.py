"""Looks through a function's code for what a transform or a scorer must not reach: clocks, chance, the environment, shared state.

It reads the compiled code, of the function and of every function of its module that it names, and runs nothing. It finds what is
written plainly, and is no sandbox: who wants to hide a clock can. Reruns and their hashes show that too.
"""

from __future__ import annotations

import dis
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
    closed = {
        name: cell.cell_contents
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        if _filled(cell)
    }
    for name, value in closed.items():
        if isinstance(value, _MUTABLE):
            found[f"keeps state between calls ({name})"] = None
    if any(isinstance(value, _MUTABLE) for value in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())):
        found["keeps state between calls (a mutable default)"] = None
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
    changed = {name for name in loaded if isinstance(names.get(name), _MUTABLE)}
    if changed and (any(i.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") for i in instructions) or _CHANGES & set(code.co_names)):
        yield f"keeps state between calls ({min(changed)})"


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
