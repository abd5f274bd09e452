"""Where the workspace is and what its folders are called. Finding it, loading its policy."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from pytest_distill import ledger, storage
from pytest_distill.contracts.base import first_problem
from pytest_distill.contracts.manifest import BATCH_ID
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.policy.model import Policy

POLICY_FILE = "distill.toml"
RUN_FOLDER = re.compile(r"\d{6,}")


@dataclass(frozen=True)
class Workspace:
    """A folder with a policy. `implicit` means none was found and defaults rule (a single file judged ad hoc)."""

    root: Path
    policy: Policy
    implicit: bool = False

    @property
    def batches(self) -> Path:
        return self.root / "batches" if not self.implicit else self.state / "batches"

    @property
    def gates(self) -> Path:
        """The workspace's own gates. Without a workspace there are none, whatever folder is called so."""
        return self.root / "gates" if not self.implicit else self.state / "gates"

    @property
    def state(self) -> Path:
        """What the tool writes besides batches: runs, ledger, cache."""
        return self.root / ".distill"

    @property
    def runs(self) -> Path:
        return self.state / "runs"

    @property
    def receipts(self) -> Path:
        """Receipts of stages, one folder a run of stages. `runs` holds those that judged a batch."""
        return self.state / "receipts"

    @property
    def cache(self) -> Path:
        return self.state / "cache"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.jsonl"

    @property
    def gold(self) -> Path:
        """The gold set: rows in *.jsonl, and gold.json, which says what they are."""
        return self.root / "gold"

    @property
    def incidents(self) -> Path:
        """Violations and what was done about them: a ledger of its own, so that a broken audit trail can be entered too."""
        return self.state / "incidents.jsonl"

    def inspection(self, batch_id: str) -> Path:
        """The record of a batch's sampling inspection."""
        return self.state / "inspections" / f"{self.batch_folder(batch_id).name}.json"

    def agreement(self, verifier_id: str) -> Path:
        """The record of how far an automated verifier agrees with people."""
        return self.state / "verifiers" / f"{verifier_id}.json"

    @property
    def policy_versions(self) -> Path:
        """Every version of a frozen policy, and the record of its change."""
        return self.root / "policy"

    def batch_folder(self, batch_id: str) -> Path:
        if not BATCH_ID.fullmatch(batch_id):
            raise DistillError(Code.USAGE, f"{batch_id!r} is no batch id", "Use letters, digits, '.', '_' and '-', at most 100.")
        return self.batches / batch_id

    def run_folders(self, batch_id: str) -> list[Path]:
        """The folders of all runs that judged a batch, oldest first. Their names are a running number."""
        return _numbered(self.runs / batch_id)

    def new_run_folder(self, batch_id: str) -> Path:
        """Makes the folder of the next run that judges a batch. A number that the ledger knows is not given again, though its
        folder was pruned or removed. Raises E-LEDGER."""
        about = [e for e in ledger.entries(self.ledger) if e.batch == batch_id and e.event in ("verdict", "pruned")]
        known = [int(run) for e in about if RUN_FOLDER.fullmatch(run := str(e.facts.get("run")))]
        return _claim(self.runs / batch_id, after=max(known, default=0))

    def receipts_folders(self) -> list[Path]:
        """The folders of all runs of stages, oldest first."""
        return _numbered(self.receipts)

    def new_receipts_folder(self) -> Path:
        """Makes the folder of the next run of stages."""
        return _claim(self.receipts)


def _numbered(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((p for p in folder.iterdir() if RUN_FOLDER.fullmatch(p.name)), key=lambda p: int(p.name))


def _claim(folder: Path, *, after: int = 0) -> Path:
    """The next number's folder. Making it claims the number, so two that start at once get two."""
    last = _numbered(folder)
    number = max(after, int(last[-1].name) if last else 0) + 1
    while True:
        claimed = folder / f"{number:06d}"
        try:
            claimed.mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise storage.commit_error(claimed, error) from error
        else:
            return claimed


def find(start: Path) -> Path | None:
    """The nearest folder from `start` upwards with a policy, or None."""
    for folder in (start, *start.parents):
        if policy_source(folder) is not None:
            return folder
    return None


def policy_source(folder: Path) -> Path | None:
    """The file that makes `folder` a workspace: distill.toml, or a pyproject.toml with [tool.distill]."""
    own = folder / POLICY_FILE
    if own.is_file():
        return own
    project = folder / "pyproject.toml"
    if project.is_file() and b"[tool.distill" in project.read_bytes():
        return project
    return None


def load(folder: Path | None = None, *, start: Path | None = None, allow_implicit: bool = False) -> Workspace:
    """Loads the workspace `folder`, or the nearest one from `start` (default: the current folder) upwards.

    Raises E-WORKSPACE when there is none (unless `allow_implicit`), E-POLICY when its policy is not valid.
    """
    start = (start or Path.cwd()).resolve()
    root = folder.resolve() if folder is not None else find(start)
    if root is None:
        if allow_implicit:
            return Workspace(start, parse(b"", start, name="the default policy"), implicit=True)
        raise DistillError(Code.WORKSPACE, f"no {POLICY_FILE} in {start} or above", "`distill init` makes a workspace here.")
    source = policy_source(root)
    if source is None:
        raise DistillError(Code.WORKSPACE, f"{root} holds no {POLICY_FILE}", f"`distill init {root}` makes a workspace there.")
    return Workspace(root, parse(source.read_bytes(), root, name=source.name))


def parse(data: bytes, root: Path, *, name: str) -> Policy:
    """A checked policy from TOML bytes, with every file it names found and hashed."""
    try:
        values: dict[str, Any] = tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DistillError(Code.POLICY, f"{name} is no TOML: {error}", "Mend that line.") from error
    if name == "pyproject.toml":
        values = values.get("tool", {}).get("distill", {})
    try:
        policy = Policy.model_validate(values)
    except ValidationError as error:
        what, hint = _unknown(error) or (first_problem(error), "`distill gates list` shows gates and limits.")
        raise DistillError(Code.POLICY, f"{name}: {what}", hint) from error
    policy.pin(root, data)
    return policy


def _unknown(error: ValidationError) -> tuple[str, str] | None:
    """What is wrong and what may be meant, where the first problem is a name that the policy does not have."""
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] != "extra_forbidden":
        return None
    *tables, name = map(str, first["loc"])
    table: Any = Policy()
    for part in tables:
        table = getattr(table, part, None)
    known = list(type(table).model_fields) if isinstance(table, BaseModel) else []
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"Did you mean {', '.join(near)}?" if near else f"There is {', '.join(known)}." if known else "docs/policy.md has all."
    what = f"[{'.'.join(tables)}] {name} does not exist" if tables else f"[{name}] does not exist"
    return one_line(what), hint
