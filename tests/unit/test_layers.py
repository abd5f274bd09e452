"""The house's walls: which room may import which, who may write, who may read the clock, and what a plain pytest start costs."""

from __future__ import annotations

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = "pytest_distill"

# Rooms of the package from the ground up. A room imports from its own floor and from those below it, and never in a circle.
FLOORS = (
    ("errors",),
    ("storage", "clock"),
    ("contracts", "ledger"),
    ("batch", "policy", "engine", "measuring", "suite"),
    ("gating", "release", "report", "stages", "training"),
    ("ci", "cli", "plugin", "notebook"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
OUTER = {"gates": ROOT / "gates", "pipelines": ROOT / "pipelines", "fixtures": ROOT / "fixtures"}


def modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


OURS = [path for folder in (ROOT / PACKAGE, ROOT / "gates", ROOT / "pipelines") for path in modules(folder)]


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every dotted name a module imports, inside functions and under TYPE_CHECKING too, with its line."""
    package = path.relative_to(ROOT).parent.parts
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            yield from ((f"{base}.{alias.name}", node.lineno) for alias in node.names)


def room_of(dotted: str) -> str | None:
    """The room of the package that a dotted name lies in; None for names from elsewhere."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else None


def room_imports(path: Path) -> Iterator[tuple[str, int]]:
    for dotted, line in imports(path):
        room = room_of(dotted)
        if room in FLOOR or room in OUTER:
            yield room, line


def inner() -> list[tuple[str, Path]]:
    """Each module of the package with its room. The front door re-exports, so it has none."""
    found = [(path.relative_to(ROOT / PACKAGE).parts[0].removesuffix(".py"), path) for path in modules(ROOT / PACKAGE)]
    return [(room, path) for room, path in found if room != "__init__"]


def test_every_room_has_its_floor() -> None:
    assert {room for room, _ in inner()} <= set(FLOOR)


def test_imports_run_downwards() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for room, path in inner()
        for target, line in room_imports(path)
        if target in OUTER or FLOOR[target] > FLOOR[room]
    ]
    assert wrong == []


def test_rooms_import_in_no_circle() -> None:
    graph: dict[str, set[str]] = {}
    for room, path in inner():
        graph.setdefault(room, set()).update(target for target, _ in room_imports(path) if target in FLOOR and target != room)
    graphlib.TopologicalSorter(graph).prepare()


# The model that the project ships is trained on the prompts of the pipelines, and measured with their critics.
MAY_IMPORT = {("fixtures", "pipelines")}


@pytest.mark.parametrize("outer", OUTER)
def test_gates_and_pipelines_import_only_the_package_and_never_each_other(outer: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {dotted}"
        for path in modules(OUTER[outer])
        for dotted, line in imports(path)
        if dotted.split(".")[0] in OUTER
        or (room_of(dotted) in OUTER and room_of(dotted) != outer and (outer, room_of(dotted)) not in MAY_IMPORT)
    ]
    assert wrong == []


def dotted_name(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    parts.append(node.id if isinstance(node, ast.Name) else "")
    return ".".join(reversed(parts))


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield dotted_name(node.func), node


def opens_for_writing(call: ast.Call) -> bool:
    values = [*call.args, *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    modes = [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return any(re.fullmatch(r"[rwaxbt+]{1,4}", mode) and set(mode) & set("wax+") for mode in modes)


WRITING_METHODS = {"write_text", "write_bytes", "touch"}


def writes(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for name, call in calls(path):
        owner, _, last = name.rpartition(".")
        if owner.split(".")[-1] == "storage":
            continue
        opened = last == "open" and (owner == "os" or opens_for_writing(call))
        if opened or last in WRITING_METHODS or owner == "tempfile" or name.startswith(("shutil.copy", "shutil.move")):
            yield name, call


def test_only_storage_opens_files_for_writing() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for path in OURS
        if path != ROOT / PACKAGE / "storage.py"
        for name, call in writes(path)
    ]
    assert wrong == []


def test_only_the_clock_reads_the_clock() -> None:
    clocks = re.compile(r"(.*\.)?((datetime|date)\.(now|utcnow|today)|time\.(time|time_ns|localtime|gmtime|ctime))")
    wrong = [
        f"{path.relative_to(ROOT)}:{call.lineno} {name}"
        for path in OURS
        if path != ROOT / PACKAGE / "clock.py"
        for name, call in calls(path)
        if clocks.fullmatch(name)
    ]
    assert wrong == []


def test_data_never_becomes_code() -> None:
    barred = {"eval", "exec", "os.system", "os.popen", "yaml.load", "torch.load", "joblib.load", "marshal.loads"}
    modules_barred = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    wrong = []
    for path in OURS:
        for name, call in calls(path):
            # torch's restricted reader makes tensors and nothing else, where it is asked for by a literal.
            restricted = name == "torch.load" and any(
                k.arg == "weights_only" and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords
            )
            if name in barred and not restricted:
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}")
        wrong += [
            f"{path.relative_to(ROOT)}:{line} import {name}"
            for name, line in imports(path)
            if name.split(".")[0] in modules_barred
        ]
        for name, call in calls(path):
            if any(k.arg == "shell" and getattr(k.value, "value", True) is not False for k in call.keywords):
                wrong.append(f"{path.relative_to(ROOT)}:{call.lineno} {name}(shell=...)")
    assert wrong == []


def test_every_folder_with_code_is_a_package_that_the_wheel_takes() -> None:
    folders = {path.parent for path in [*OURS, *modules(ROOT / "fixtures")]} - {ROOT / "fixtures" / "workspace" / "gates"}
    assert [str(folder.relative_to(ROOT)) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize("module", ["pytest_distill", "pytest_distill.plugin", "pytest_distill.cli.main"])
def test_a_start_loads_nothing_heavy(module: str) -> None:
    code = f"import sys, pytest, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"polars", "numpy", "numba", "pyarrow", "pydantic", "tokenizers", "jsonschema", "torch", "orjson", "re2", "rich"}
    assert set(done.stdout.split()) & heavy == set()


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout here, so which files are tracked cannot be told; absolute paths were not looked for")
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def test_no_tracked_file_names_a_machine() -> None:
    place = re.compile(rb"(?<![\w.:*~}])/(?:home|root|tmp|Users|mnt|work)/\w")
    found = [
        f"{path.relative_to(ROOT)}: {match.group().decode()}"
        for path in tracked()
        if path.is_file()
        for match in place.finditer(path.read_bytes())
    ]
    assert found == []
