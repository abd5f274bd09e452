"""Generation runs of stage 1 made by hand: honest ones, and the means to forge them."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from inspecting import inspect_all

from pytest_distill import storage
from pytest_distill.batch import digest
from pytest_distill.batch.batch import UNHASHED, Batch, open_batch
from pytest_distill.contracts.manifest import Manifest, ModelUse
from pytest_distill.contracts.stage1 import (
    SENTINELS,
    SESSION,
    Candidate,
    Environment,
    Generation,
    Guards,
    Metadata,
    Sentinel,
    SessionManifest,
    Status,
    StoredCritique,
    Thresholds,
)
from pytest_distill.pipelines.stage1.batch import write_stage1_batch
from pytest_distill.policy import gold
from pytest_distill.policy import workspace as workspaces
from pytest_distill.suite.declared import suite_folder

COMMIT, LOADER, NOW = "a" * 40, "sha256:" + "b" * 64, "2026-01-31T12:00:00Z"
BUDGET = 400  # max_new_tokens
MODEL = ModelUse(name="base", revision="r1", weights_sha256="e" * 64)
GOLD = suite_folder().parent / "fixtures" / "rows" / "gold.jsonl"
# What a base model goes on to write: it takes each prompt for the beginning of a list or a page.
OUTPUTS = {
    "pig_latin": ". Translate this sentence into French: good morning. Translate this sentence into German: good night, all.",
    "three_primes": " List three odd numbers less than ten. List three even numbers. Explain how you know that each is even.",
    "json_keys": " Return an error when a key is missing. Return a list when there is more than one object in the file.",
    "seasons": " Describe the months of the year. Describe the days of the week and say which of them you like, and why.",
    "completion": " 0 degrees Celsius. Water boils at 100 degrees Celsius. Iron melts at 1538 degrees Celsius.",
}  # fmt: skip

Row = dict[str, Any]


def critique(rng: random.Random, *, good: bool = True, confident: bool = True, threshold: float = 1.0) -> StoredCritique:
    """A judgement as a model gives it: no two alike, two probabilities that sum to less than 1."""
    margin = rng.uniform(threshold + 0.5, threshold + 3.0) if confident else rng.uniform(0.05, threshold - 0.1)
    likelier = math.log(rng.uniform(0.7, 0.99) / (1 + math.exp(-margin)))
    other = likelier - margin
    logp_a, logp_b = (likelier, other) if good else (other, likelier)
    return StoredCritique(
        is_good=good, predicted_label="A" if good else "B", logp_a=logp_a, logp_b=logp_b, margin=abs(logp_a - logp_b),
        confident=confident, confidence_threshold=threshold,
    )  # fmt: skip


def tokens(text: str) -> int:
    return max(len(text.split()), len(text.encode()) // 5)


def candidate(rng: random.Random, index: int, row: Row, status: Status = "kept") -> Candidate:
    """One candidate of that status with the evidence that it needs."""
    metadata = Metadata(
        git_commit=COMMIT, timestamp=NOW, loader_version=LOADER, model_name="base", model_revision="r1", template_disabled=True,
        add_special_tokens=False, tokenizer_name="base", tokenizer_hash="c" * 64, script_name="stage1", artifact_type="sft",
        generation=Generation(
            seed=rng.getrandbits(31), temperature=0.4, top_p=0.9, repetition_penalty=1.1, max_new_tokens=BUDGET, do_sample=True
        ),
    )  # fmt: skip
    facts: dict[str, Any] = {
        "id": f"run-{index:06d}",
        "index": index,
        "candidate_status": status,
        "instruction": row["instruction"],
        "instruction_prompt": "1. Name a river in Africa.\n2. Say what a verb is.\n3.",
        "instruction_completion": f" {row['instruction']}\n4. Name",
        "metadata": metadata,
    }
    if not status.startswith("instruction"):
        response = "" if status == "response_empty" else row["response"]
        completion = f" {response}###END###\n\nInstruction: Name"
        facts |= {
            "instruction_critique": critique(rng),
            "prompt": f"Instruction: {row['instruction']}\nResponse:",
            "completion": completion,
            "response": response,
            "raw_tokens": tokens(completion),
            "clean_tokens": tokens(response),
            "hit_token_limit": False,
            "trim_rule": "delimiter",
        }
        if not status.startswith("response"):
            facts["pair_critique"] = critique(rng, good=status != "pair_bad", confident=status != "pair_unsure")
    elif status != "instruction_duplicate":
        facts["instruction_critique"] = critique(rng, good=status != "instruction_bad", confident=status != "instruction_unsure")
    return Candidate(**facts)


REFUSED: tuple[Status, ...] = (
    "instruction_bad", "pair_bad", "instruction_unsure", "pair_unsure", "response_empty", "instruction_duplicate",
)  # fmt: skip


def run(rows: Sequence[Row], *, refused: int = 60, seed: int = 1) -> list[Candidate]:
    """An honest run: every row kept, and `refused` others of every kind among them."""
    rng = random.Random(seed)
    statuses: list[Status] = ["kept"] * len(rows) + [REFUSED[n % len(REFUSED)] for n in range(refused)]
    rng.shuffle(statuses)
    kept = iter(rows)
    made = []
    for index, status in enumerate(statuses):
        other = {"instruction": f"Say something about the number {index}", "response": f"{index} is a number."}
        made.append(candidate(rng, index, next(kept) if status == "kept" else other, status))
    return made


def sums(count: int, *, start: int = 0) -> list[Row]:
    """Different short rows that the standard suite passes."""
    pairs = ((a, b) for a in range(11 + start, 500) for b in range(7, 200))
    return [
        {"instruction": f"What is {a} plus {b}?", "response": f"The sum is {a + b}."}
        for (a, b), _ in zip(pairs, range(count), strict=False)
    ]


def sentinel(name: str, output: str | None = None, **changes: Any) -> Sentinel:
    task = next(task for task in SENTINELS if task.name == name)
    return Sentinel.model_validate(
        {
            "name": name, "shape": "bare", "prompt": task.prompt, "output": OUTPUTS[name] if output is None else output,
            "output_tokens": 30, "finish_reason": "length", "expected": task.expected, "passed": True, **changes,
        }
    )  # fmt: skip


def shaped() -> tuple[Sentinel, ...]:
    """Every task once more in the shape of production, where a base model does answer."""
    facts: dict[str, Any] = {"shape": "production", "expected": "reported", "passed": None, "output_tokens": 1}
    return tuple(
        sentinel(task.name, " yes", **facts, finish_reason="stop", prompt=f"Instruction: {task.prompt}\nResponse:")
        for task in SENTINELS
    )


def session(**changes: Any) -> SessionManifest:
    facts: dict[str, Any] = {
        "session_id": "s1",
        "session_start": NOW,
        "purpose": "pilot",
        "git_commit": COMMIT,
        "git_branch": "main",
        "git_dirty": False,
        "environment": Environment(hostname="host", python="3.11"),
        "loader_version": LOADER,
        "guards": Guards(template_found=True, template_cleared=True, delta_check=0, template_ids_seen=0, inputs_checked=100_000),
        "sentinels": (*(sentinel(task.name) for task in SENTINELS), *shaped()),
        "notes": "",
    }
    return SessionManifest(**{**facts, **changes})


def write(
    root: Path,
    name: str,
    candidates: Sequence[Candidate],
    about: SessionManifest,
    *,
    parents: tuple[str, ...] = (),
    inspected: bool = True,
) -> Batch:
    """The batch that the generation run would write, in a workspace with a gold set, and an inspection that found nothing."""
    workspace = workspaces.load(root)
    if gold.frozen(workspace) is None:
        gold.add(workspace, GOLD, who="A. Name", model=None)
        gold.freeze(workspace)
    batch = write_stage1_batch(
        workspace, name, candidates, about, what="a run", why="to test", thresholds=Thresholds(), unit="tokens",
        planned=sum(c.candidate_status == "kept" for c in candidates), seed=1, models=(MODEL,),
        spec_version="1", spec_sha256="d" * 64,
        parameters={}, parents=parents,
    )  # fmt: skip
    if inspected:
        inspect_all(root, name)
    return batch


def changed(candidates: Sequence[Candidate], change: Callable[[Candidate], dict[str, Any]]) -> list[Candidate]:
    """Copies with fields replaced, unchecked: what a forger writes."""
    return [c.model_copy(update=change(c)) for c in candidates]


def replace_attachment(batch: Batch, name: str, change: Callable[[Any], Any]) -> None:
    """Forges an attached JSON document."""
    replace_bytes(batch, name, storage.canonical_json(change(json.loads((batch.folder / name).read_bytes()))))


def replace_bytes(batch: Batch, name: str, data: bytes) -> None:
    """Forges an attached file, and every digest that knows of it."""
    files = {name: data}
    if name != SESSION:
        about = json.loads((batch.folder / SESSION).read_bytes())
        for artifact in about["artifacts_generated"]:
            if artifact["path"] == name:
                artifact["sha256"] = storage.sha256_bytes(data)
        files[SESSION] = storage.canonical_json(about)
    rewrite(batch, files, batch.manifest.model_dump(mode="json"))


def replace_rows(batch: Batch, change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    """Forges the first row shard, the manifest and the sums, and leaves candidates and session alone."""
    path = batch.folder / batch.manifest.shards[0].path
    change(pl.read_parquet(path)).write_parquet(path, statistics=False)
    rewrite(batch, {path.name: path.read_bytes()}, batch.manifest.model_dump(mode="json"))


def rewrite(batch: Batch, files: dict[str, bytes], manifest: dict[str, Any]) -> None:
    """Puts files into a batch, with manifest and sums to match, so that it opens."""
    for name, data in files.items():
        (batch.folder / name).write_bytes(data)
        for entry in (*manifest["attachments"], *manifest["shards"]):
            if entry["path"] == name:
                entry["sha256"] = storage.sha256_bytes(data)
    Manifest.model_validate(manifest).write(batch.folder / "manifest.json")
    digest.write_sums(batch.folder, unhashed=UNHASHED)
    open_batch(batch.folder)


def call_generated(batch: Batch) -> Batch:
    """The same rows, said to be generated, with all that a generated batch has to say of itself."""
    facts = {
        "origin": "generated",
        "spec_version": "1",
        "spec_sha256": "d" * 64,
        "seed": 0,
        "how": {"pipeline": "own", "models": [{"name": "small", "revision": "1", "weights_sha256": "e" * 64}]},
    }
    rewrite(batch, {}, {**batch.manifest.model_dump(mode="json"), **facts})
    return open_batch(batch.folder)
