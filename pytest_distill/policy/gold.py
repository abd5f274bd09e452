"""The gold set: the small reference that bulk has to match. Rows in gold/*.jsonl; gold.json says who made them, and is versioned.

Rows are sft rows (instruction, response) with a `case`: refusal, ambiguity, rare, or any other word.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pytest_distill import clock, ledger, storage
from pytest_distill.contracts.bulk import GoldFile, GoldSet
from pytest_distill.contracts.manifest import FILE_NAME
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy.workspace import Workspace

RECORD = "gold.json"
CASES = ("refusal", "ambiguity", "rare")


def load(workspace: Workspace) -> GoldSet | None:
    """gold.json as it lies there, or None. Raises E-GOLD when a file it lists is missing or has other bytes."""
    path = workspace.gold / RECORD
    if not path.is_file():
        return None
    gold = GoldSet.load(path)
    for file in gold.files:
        listed = workspace.gold / file.path
        if not listed.is_file() or storage.sha256_file(listed) != file.sha256:
            raise DistillError(
                Code.GOLD,
                f"gold/{file.path} is not what version {gold.version} of the gold set holds",
                "Put it back, or add it again: distill gold add.",
            )
    return gold


def frozen(workspace: Workspace) -> GoldSet | None:
    """The gold set if it is frozen, and the ledger knows no other of that version; None where there is none."""
    gold = load(workspace)
    if gold is None or gold.frozen_at is None:
        return None
    known = [e.facts for e in ledger.entries(workspace.ledger) if e.event == "gold" and e.facts.get("version") == gold.version]
    if known and known[-1].get("sha256") != storage.sha256_bytes(gold.to_bytes()):
        raise DistillError(
            Code.GOLD, f"gold/{RECORD} is not version {gold.version} as it was frozen", "Restore it, or freeze it again."
        )
    return gold


def add(workspace: Workspace, file: Path, *, who: str, model: str | None) -> GoldSet:
    """Copies a file of rows into gold/ (or takes one that lies there) and lists it. A frozen set becomes the next draft.

    Raises E-SOURCE-NOTFOUND, E-GOLD when a row is no instruction with a response and a case.
    """
    if not file.is_file():
        raise DistillError(Code.SOURCE, f"{file} is no file")
    if not who.strip():
        raise DistillError(Code.GOLD, "nobody is named who wrote or checked the rows", "Say it: --who NAME.")
    if file.suffix != ".jsonl" or not FILE_NAME.fullmatch(file.name):
        raise DistillError(Code.GOLD, f"{file.name} is no name for gold rows", "Use letters, digits, '.', '_', '-' and .jsonl.")
    data = file.read_bytes()
    rows = _rows(data, file.name)
    target = workspace.gold / file.name
    if target.resolve() != file.resolve():
        if target.exists() and target.read_bytes() != data:
            raise DistillError(Code.GOLD, f"gold/{file.name} exists and holds something else", "Give the file another name.")
        storage.write_bytes(target, data)
    entry = GoldFile(path=file.name, sha256=storage.sha256_bytes(data), rows=len(rows), who=who, model=model)
    path = workspace.gold / RECORD
    old = GoldSet.load(path) if path.is_file() else None
    others = tuple(f for f in old.files if f.path != entry.path) if old else ()
    version = 1 if old is None else old.version + (old.frozen_at is not None)
    gold = GoldSet(version=version, files=tuple(sorted((*others, entry), key=lambda f: f.path)))
    gold.write(path)
    return gold


def shares(workspace: Workspace, gold: GoldSet) -> dict[str, float]:
    """Rows, and the share of each required case."""
    cases = [row["case"] for row in rows(workspace, gold)]
    return {"rows": float(len(cases)), **{case: cases.count(case) / len(cases) for case in CASES}}


def rows(workspace: Workspace, gold: GoldSet) -> list[dict[str, Any]]:
    """Every row of the gold set, file by file."""
    return [row for file in gold.files for row in _rows((workspace.gold / file.path).read_bytes(), file.path)]


def problems(workspace: Workspace, gold: GoldSet) -> list[str]:
    """What the policy asks of a gold set and this one does not hold, in words."""
    asked, found = workspace.policy.gold, shares(workspace, gold)
    missing = [f"{found['rows']:.0f} rows, at least {asked.min_rows} are asked"] if found["rows"] < asked.min_rows else []
    for case in CASES:
        bound = getattr(asked, f"min_{case}_share")
        if found[case] < bound:
            missing.append(f"{found[case]:.1%} of the rows are of the case {case}, at least {bound:.1%} is asked")
    unlisted = {path.name for path in workspace.gold.glob("*.jsonl")} - {file.path for file in gold.files}
    return [*missing, *(f"gold/{name} is not listed: distill gold add gold/{name}" for name in sorted(unlisted))]


def freeze(workspace: Workspace) -> GoldSet:
    """Freezes the draft. Raises E-GOLD when there is none, or it does not hold what the policy asks."""
    gold = load(workspace)
    if gold is None or gold.frozen_at is not None:
        raise DistillError(Code.GOLD, "there is no draft of a gold set", "Add rows: distill gold add FILE --who WHO.")
    if missing := problems(workspace, gold):
        raise DistillError(Code.GOLD, "; ".join(missing), "Add such rows, or change [gold] in distill.toml.")
    done = gold.model_copy(update={"frozen_at": clock.timestamp()})
    sha256 = storage.sha256_bytes(done.to_bytes())
    ledger.append(
        workspace.ledger, "gold", version=done.version, sha256=sha256, files=tuple(f"{f.sha256}  {f.path}" for f in done.files)
    )
    done.write(workspace.gold / "versions" / f"{done.version:06d}.json")
    done.write(workspace.gold / RECORD)
    return done


def _rows(data: bytes, name: str) -> list[dict[str, Any]]:
    import orjson

    found = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DistillError(Code.GOLD, f"{name} line {number} is no JSON", "One JSON object a line.") from error
        texts = [row.get(key) for key in ("instruction", "response", "case")] if isinstance(row, dict) else [None]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise DistillError(
                Code.GOLD,
                f"{name} line {number} has no instruction, response and case",
                "All three are texts; see gold/gold.jsonl.",
            )
        found.append(row)
    if not found:
        raise DistillError(Code.GOLD, f"{name} holds no row", "One JSON object a line.")
    return found
