"""Gate declarations read from the syntax tree, because a test that is not collected must still be known to be missing.

Nothing is imported and nothing runs. Every argument of `@gate` has to be a literal, so that this reading is exact.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from pytest_distill.contracts.manifest import Kind, Manifest
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.model import Policy
from pytest_distill.policy.sampling_plan import why_not_asked
from pytest_distill.policy.workspace import Workspace

Test = ast.FunctionDef | ast.AsyncFunctionDef
GATE_ID = r"[a-z0-9]+(?:[.-][a-z0-9]+)*"
ROW_LIMITS: dict[str, Any] = {"max_rejected_rows": 0, "max_rejected_share": None}
_ARGUMENTS = {"rejects", "severity", "applies", "limits", "rows", "fixed"}
# What applies= may ask for, and the values it knows; None: any text.
_APPLIES: dict[str, tuple[str, ...] | None] = {
    "kind": get_args(Kind),
    "origin": get_args(Manifest.model_fields["origin"].annotation),
    "pipeline": None,
    "columns": None,
    "policy": None,
    "asks": ("inspection", "bulk"),
}


@dataclass(frozen=True)
class Declared:
    """One `@gate`: what it says of itself, and where it stands."""

    id: str
    title: str
    origin: Literal["standard", "workspace"]
    file: Path
    line: int
    function: str
    rejects: str | None = None
    severity: Literal["block", "warn"] = "block"
    applies: dict[str, Any] = field(default_factory=dict)
    limits: dict[str, Any] = field(default_factory=dict)
    rows: Literal["remaining", "all"] = "remaining"
    fixed: bool = False
    doc: str = ""

    @property
    def kind(self) -> Literal["row", "batch"]:
        return "row" if self.rejects else "batch"


def suite_folder() -> Path:
    """Where the standard suite stands: site-packages, or the checkout of an editable install."""
    import importlib.util

    spec = importlib.util.find_spec("pytest_distill.gates")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).resolve().parent


def gate_files(folder: Path) -> list[Path]:
    """Every Python file below a gates folder, sorted: helpers and conftests belong to the gates as much as tests do."""
    return sorted(p for p in folder.rglob("*.py") if "__pycache__" not in p.parts) if folder.is_dir() else []


def declared_gates(workspace: Workspace) -> dict[str, Declared]:
    """All gates of the standard suite and of the workspace by id. Raises E-GATE for one that is declared wrongly or twice."""
    found: dict[str, Declared] = {}
    folders: list[tuple[Literal["standard", "workspace"], Path]] = [("standard", suite_folder()), ("workspace", workspace.gates)]
    for origin, folder in folders:
        for file in gate_files(folder):
            for gate in read_file(file, origin):
                if gate.id in found:
                    other = found[gate.id]
                    raise DistillError(
                        Code.GATE,
                        f"the gate id {gate.id!r} is declared twice: {other.file}:{other.line} and {file}:{gate.line}",
                        "Give one of them another id.",
                    )
                found[gate.id] = gate
    return found


def read_file(file: Path, origin: Literal["standard", "workspace"]) -> Iterator[Declared]:
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        raise DistillError(Code.GATE, f"{file} does not parse: {error}", "Mend it; until then no gate in it can run.") from error
    found = list(_walk(tree.body, file, ""))
    for node, call, prefix in found:
        yield _declared(node, call, file, origin, prefix)
    _no_other_use(tree, file, {id(call.func) for _, call, _ in found})


def _walk(body: list[ast.stmt], file: Path, prefix: str) -> Iterator[tuple[Test, ast.Call, str]]:
    for node in body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            calls = [d for d in node.decorator_list if isinstance(d, ast.Call) and _called(d) == "gate"]
            if len(calls) > 1:
                raise _wrong(file, node, "carries @gate twice", "One gate, one decision, one id.")
            if calls:
                yield node, calls[0], prefix
        elif isinstance(node, ast.ClassDef):
            if any(isinstance(d, ast.Call) and _called(d) == "gate" for d in node.decorator_list):
                raise _wrong(file, node, "puts @gate on a class", "Put it on each test of the class.")
            yield from _walk(node.body, file, f"{prefix}{node.name}.")
        else:
            # A gate under `if`, `try` or `with` is declared all the same: what is written is what is required.
            for name in ("body", "orelse", "finalbody"):
                yield from _walk(getattr(node, name, []), file, prefix)
            for handler in getattr(node, "handlers", []):
                yield from _walk(handler.body, file, prefix)


def _no_other_use(tree: ast.Module, file: Path, read: set[int]) -> None:
    """Refuses a file that uses `gate` in a way that is not read: what it declares so would not be missed when it is left out."""
    ours = {"pytest_distill"}  # names under which our package is reached
    imported = False
    nodes = list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            ours |= {a.asname for a in node.names if a.asname and a.name.startswith("pytest_distill")}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pytest_distill"):
            imported = imported or any(a.name in ("gate", "*") for a in node.names)
            if any(a.name == "gate" and a.asname not in (None, "gate") for a in node.names):
                raise _wrong(file, node, "imports gate under another name", "from pytest_distill import gate")
    for node in nodes:
        plain = imported and isinstance(node, ast.Name) and node.id == "gate"
        dotted = isinstance(node, ast.Attribute) and node.attr == "gate" and _last_name(node.value) in {*ours, "mark"}
        if (plain or dotted) and id(node) not in read:
            assert isinstance(node, ast.expr)
            raise _wrong(file, node, "uses gate otherwise than to decorate a test", 'Write @gate("…") right above the test.')


def _last_name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _called(call: ast.Call) -> str:
    return _last_name(call.func)


def _declared(
    node: Test,
    call: ast.Call,
    file: Path,
    origin: Literal["standard", "workspace"],
    prefix: str,
) -> Declared:
    try:
        args = [ast.literal_eval(a) for a in call.args]
        values = {k.arg or "**": ast.literal_eval(k.value) for k in call.keywords}
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise _wrong(
            file, node, "has a @gate argument that is no literal", 'Write values out, such as @gate("length.answer").'
        ) from error
    values.update({"id": args[0]} if len(args) == 1 else {})
    gate_id = values.pop("id", None)
    for what, hint in _problems(gate_id, values):
        raise _wrong(file, node, what, hint)
    limits = values.get("limits") or {}
    doc = ast.get_docstring(node) or ""
    return Declared(
        id=gate_id,
        title=doc.split("\n")[0].strip() or node.name,
        origin=origin,
        file=file,
        line=node.lineno,
        function=prefix + node.name,
        rejects=values.get("rejects"),
        severity=values.get("severity", "block"),
        applies=values.get("applies") or {},
        limits={k: tuple(v) if isinstance(v, list) else v for k, v in limits.items()},
        rows=values.get("rows", "remaining"),
        fixed=bool(values.get("fixed", False)),
        doc=doc,
    )


def _problems(gate_id: Any, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What is wrong with the arguments of a @gate, each with what to write instead."""
    import re

    if not isinstance(gate_id, str) or not re.fullmatch(GATE_ID, gate_id):
        yield f"has the gate id {gate_id!r}", 'Ids are lower case words joined by "." or "-", such as "length.answer".'
    if unknown := sorted(set(values) - _ARGUMENTS):
        yield f"gives @gate an argument it does not know: {unknown[0]}", f"It knows {', '.join(sorted(_ARGUMENTS))}."
    if values.get("severity", "block") not in ("block", "warn"):
        yield f"has the severity {values['severity']!r}", 'It is "block" or "warn".'
    if values.get("rows", "remaining") not in ("remaining", "all"):
        yield f"has rows={values['rows']!r}", 'It is "remaining" or "all".'
    rejects = values.get("rejects")
    if rejects is not None and not (isinstance(rejects, str) and re.fullmatch(r"[a-z][a-z0-9_]*", rejects)):
        yield f"has the reason code {rejects!r}", 'A reason code looks like "too_long".'
    if not isinstance(values.get("fixed", False), bool):
        yield f"has fixed={values['fixed']!r}", "It is True or False."
    yield from _condition_problems(values.get("applies") or {})
    yield from _limit_problems(values.get("limits") or {})


def _condition_problems(applies: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(applies, dict) or set(applies) - set(_APPLIES):
        yield f"has applies={applies!r}", f"It knows the conditions {', '.join(sorted(_APPLIES))}."
        return
    for condition, value in applies.items():
        known = _APPLIES[condition]
        if not _texts(value) or (known is not None and not set(_many(value)) <= set(known)):
            # A misspelt kind would switch the gate off for good.
            yield (
                f"applies where the {condition} is {value!r}",
                f"Give one or more of {', '.join(known)}." if known else "Give names.",
            )


def _limit_problems(limits: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(limits, dict) or not all(isinstance(name, str) and name.isidentifier() for name in limits):
        yield "has limits whose names are no identifiers", 'limits={"max_answer_tokens": 2048}'
        return
    for name, value in limits.items():
        if name in (*ROW_LIMITS, "severity"):
            yield f"has a limit of its own called {name}", "That name is taken, see `gate`."
        if not (value is None or value == [] or isinstance(value, (bool, int)) or _texts(value)) and not _is_finite(value):
            yield f"has the limit {name}={value!r}", "A limit is a finite number, a text, a bool or a list of texts."


def _texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, (list, tuple)) and bool(value) and all(isinstance(v, str) for v in value))


def _is_finite(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _wrong(file: Path, node: ast.stmt | ast.expr, what: str, hint: str) -> DistillError:
    return DistillError(Code.GATE, f"{file}:{node.lineno} {what}", hint)


def effective_limits(gate: Declared, policy: Policy) -> dict[str, Any]:
    """The gate's limits with the policy's values in place. Raises E-POLICY for unknown names, wrong types, fixed gates."""
    limits = {**gate.limits, **(ROW_LIMITS if gate.rejects else {})}
    for name, value in policy.gates.get(gate.id, {}).items():
        place = f'[gates."{gate.id}"] {name}'
        if gate.fixed and name in ("severity", "max_rejected_rows", "max_rejected_share"):
            raise DistillError(Code.POLICY, f"{place} cannot be set: this gate is fixed", "Mend what it finds instead.")
        if name == "severity":
            if value not in ("block", "warn"):
                raise DistillError(Code.POLICY, f'{place} is "block" or "warn", not {value!r}')
            continue
        if name not in limits:
            raise DistillError(Code.POLICY, f"{place} does not exist", f"`distill gates explain {gate.id}` lists its limits.")
        limits[name] = _checked(place, value, limits[name])
    return limits


def settable_limits(gate: Declared, policy: Policy) -> dict[str, Any]:
    """The limits that a policy may set: a fixed gate has no allowance, so nobody shall be told where to raise it."""
    return {name: value for name, value in effective_limits(gate, policy).items() if not (gate.fixed and name in ROW_LIMITS)}


def _checked(place: str, value: Any, default: Any) -> Any:
    if place.endswith("max_rejected_share"):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise DistillError(Code.POLICY, f"{place} is a share from 0 to 1, not {value!r}")
        return float(value)
    if place.endswith("max_rejected_rows") and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise DistillError(Code.POLICY, f"{place} is a whole number from 0 on, not {value!r}")
    number = isinstance(default, (int, float)) and not isinstance(default, bool)
    if number and isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if default is None or type(value) is type(default):
        return value
    raise DistillError(Code.POLICY, f"{place} has to be like its default {default!r}, not {value!r}")


def severity(gate: Declared, policy: Policy) -> Literal["block", "warn"]:
    chosen = policy.gates.get(gate.id, {}).get("severity", gate.severity)
    return "warn" if chosen == "warn" else "block"


def check_policy(gates: dict[str, Declared], policy: Policy) -> None:
    """Refuses a policy that speaks of gates that do not exist: a misspelt limit or waiver must not silently do nothing."""
    for name in (*policy.gates, *(w.gate for w in policy.waivers)):
        if name not in gates:
            raise DistillError(
                Code.POLICY, f"distill.toml names the gate {name!r}, which nobody declares", "`distill gates list` shows all."
            )
    for waiver in policy.waivers:
        if gates[waiver.gate].fixed:
            raise DistillError(Code.POLICY, f"distill.toml waives {waiver.gate}, which is fixed", "Mend what it finds instead.")
    for gate in gates.values():
        effective_limits(gate, policy)
        for path in _many(gate.applies.get("policy", ())):
            _set_in(policy, path, gate)


def not_applicable(
    gate: Declared, *, kind: str, origin: str, pipeline: str, bulk: bool, columns: tuple[str, ...], policy: Policy
) -> str | None:
    """Why the gate is not required for such a batch, judged from manifest and policy alone; None when it is required."""
    applies = gate.applies
    if "kind" in applies and kind not in _many(applies["kind"]):
        return f"for {' and '.join(_many(applies['kind']))} batches; this one is {kind}"
    if "origin" in applies and origin not in _many(applies["origin"]):
        return f"for {' and '.join(_many(applies['origin']))} batches; this one is {origin}"
    if "pipeline" in applies and pipeline not in _many(applies["pipeline"]):
        return f"for batches of the pipeline {' or '.join(_many(applies['pipeline']))}; this one is of {pipeline}"
    missing = [c for c in _many(applies.get("columns", ())) if c not in columns]
    if missing:
        return f"the batch has no column {missing[0]!r}"
    for path in _many(applies.get("policy", ())):
        if not _set_in(policy, path, gate):
            return f"the policy sets no {path}"
    asks = _many(applies.get("asks", ()))
    if "bulk" in asks and not bulk:
        return "for generated bulk"
    return why_not_asked(policy, bulk=bulk) if "inspection" in asks else None


def _set_in(policy: Policy, path: str, gate: Declared) -> bool:
    """True when the policy's value of that name is set and not empty. Raises E-GATE when the policy knows no such name."""
    value: Any = policy
    for part in path.split("."):
        if part not in getattr(type(value), "model_fields", ()):
            raise DistillError(
                Code.GATE, f"{gate.id} applies where the policy sets {path}, which no policy knows", f"{gate.file}:{gate.line}"
            )
        value = getattr(value, part)
    return bool(value)


def _many(value: Any) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
