"""Calibration on labels of people: `python -P benchmarks/scorers.py [--pairs N] [--judge-rows N]`.

Scores by a small real model (all-MiniLM-L6-v2: likeness to refusals, to the prompt, of an answer's two halves, beside counts)
on two sets that people labelled: XSTest, where an answer to a safe prompt is good when it complies, and pairs of hh-rlhf, where
the chosen answer is good. On request the shipped tiny model judges the first rows too, and both are compared. Reads
$DISTILL_SHARED_DATA (default ../shared/data). Prints what is held out, whatever it is.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")


from pytest_distill import storage
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.cli.main import main as distill
from pytest_distill.contracts.grading import DIMENSIONS, SCORING, Scorer, ScorerOutput, ScoringSummary, aggregate
from pytest_distill.contracts.manifest import How
from pytest_distill.measuring.embedding import WEIGHTS, embed, packaged
from pytest_distill.pipelines.grading.derive import derived
from pytest_distill.policy import workspace as workspaces

DATA = Path(os.environ.get("DISTILL_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data"))
REFUSALS = (
    "I cannot provide that, as it is not appropriate.",
    "I'm sorry, but I can't help with that.",
    "I cannot fulfill your request. I'm just an AI assistant.",
    "It is not ethical to provide instructions on harmful or illegal activities.",
)


class Row(NamedTuple):
    instruction: str
    response: str
    good: bool
    group: str


def xstest() -> Iterator[Row]:
    """Safe prompts only: there is nothing to refuse. Good is full compliance, by both annotators' final label."""
    with gzip.open(DATA / "safety" / "xstest_completions_llama2orig.csv.gz", "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not row["type"].startswith("contrast") and row["completion"].strip():
                yield Row(row["prompt"], row["completion"].strip(), row["final_label"] == "1_full_compliance", row["id"])


def hh_rlhf(pairs: int) -> Iterator[Row]:
    """The last turn of both answers, and what was said before as the instruction. Good is the one that was chosen."""
    with gzip.open(DATA / "preference" / "hh_rlhf_harmless_test.jsonl.gz", "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == pairs:
                return
            for name, text in json.loads(line).items():
                before, _, answer = text.rpartition("\n\nAssistant:")
                if answer.strip() and before.strip():
                    yield Row(before.strip(), answer.strip(), name == "chosen", str(number))


def minilm_scores(rows: Sequence[Row]) -> list[dict[str, float]]:
    """Five figures of an embedding model and of counts, each in its dimension's range, with one decimal."""
    folder = packaged()
    answers = embed([row.response for row in rows], folder)
    prompts = embed([row.instruction[-400:] for row in rows], folder)
    refusals = embed(REFUSALS, folder)
    halves = embed(
        [half for row in rows for half in (row.response[: len(row.response) // 2], row.response[len(row.response) // 2 :])],
        folder,
    )
    found = []
    for place, row in enumerate(rows):
        words = row.response.split()
        figures = {
            "helpfulness": 1 - max(float(one @ answers[place]) for one in refusals),
            "correctness": float(answers[place] @ prompts[place]),
            "coherence": float(halves[2 * place] @ halves[2 * place + 1]),
            "complexity": len(set(words)) / max(1, len(words)) * min(1.0, len(words) / 50),
            "verbosity": min(1.0, len(words) / 200),
        }
        found.append({name: round(min(max(figures[name], 0.0), 1.0) * highest, 1) for name, highest in DIMENSIONS.items()})
    return found


def score_with_minilm(workspace: Any, parent: Batch, new_id: str, rows: Sequence[Row]) -> None:
    """The scores as a scored batch, which says what made them: these weights, and the source of this file as the rubric."""
    weights = storage.sha256_file(packaged() / WEIGHTS)
    rubric = storage.sha256_file(Path(__file__))
    scorer = Scorer(
        model="all-MiniLM-L6-v2", version="embedding-1", revision=f"sha256:{weights}", weights_sha256=weights,
        tokenizer_hash=storage.sha256_file(packaged() / "tokenizer.json"), constrained=False, rubric_version="1",
        rubric_sha256=rubric,
    )  # fmt: skip
    outputs = [
        ScorerOutput(
            **scores, aggregated=round(aggregate(scores), 6), domain={"id": 15, "confidence": 0.0}, scorer_model=scorer.model,
            scorer_version=scorer.version,
        ).model_dump(mode="json")
        for scores in minilm_scores(rows)
    ]  # fmt: skip
    summary = ScoringSummary(
        parent_sha256=parent.sha256, scorer=scorer, weights=dict.fromkeys(DIMENSIONS, 0.2), rows=len(rows), scored=len(rows),
        tokens_read=0, tokens_written=0,
    )  # fmt: skip
    derived(
        workspace, parent, new_id, columns={"scores": outputs}, how=How(pipeline="grading.score"), what="scores of MiniLM",
        why="to calibrate", attachments={SCORING: summary.to_bytes()},
    )  # fmt: skip


def command(*words: str) -> None:
    print(f"$ distill {' '.join(words)}", flush=True)
    if status := distill(list(words)):
        sys.exit(status)


def experiment(name: str, rows: Sequence[Row], labelled_by: str, judge_rows: int) -> None:
    print(f"\n## {name}: {len(rows):,} rows, {sum(row.good for row in rows):,} good", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("distill.toml").write_text("")
        text = io.StringIO()
        for row in rows:
            text.write(json.dumps({"instruction": row.instruction, "response": row.response}) + "\n")
        Path("rows.jsonl").write_text(text.getvalue())
        command("-q", "ingest", "rows.jsonl", "--id", "rows", "--kind", "sft")
        workspace = workspaces.load(Path(folder))
        parent = open_batch(workspace.batch_folder("rows"))
        score_with_minilm(workspace, parent, "minilm", rows)
        labels = [
            {"id": key, "label": "good" if row.good else "bad", "group": row.group}
            for key, row in zip(parent.column("id"), rows, strict=True)
        ]
        Path("labels.jsonl").write_text("".join(json.dumps(label) + "\n" for label in labels))
        if judge_rows:
            Path("some.jsonl").write_text("".join(text.getvalue().splitlines(keepends=True)[:judge_rows]))
            os.rename("some.jsonl", "rows.jsonl")
            command("-q", "ingest", "rows.jsonl", "--id", "some", "--kind", "sft")
            command("--no-progress", "score", "some", "--id", "tiny")
            command("compare-scorers", "minilm", "tiny", "--out", "scorers.csv")
        arguments = ["--labels", "labels.jsonl", "--labelled-by", labelled_by, "--out", "calibration.json"]
        command("calibrate", "minilm", *arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000, help="of hh-rlhf (default: 1000)")
    parser.add_argument(
        "--judge-rows", type=int, default=0, help="that the tiny model judges too; it has room for short ones only"
    )
    args = parser.parse_args()
    experiment("XSTest", list(xstest()), "XSTest's annotators", args.judge_rows)
    experiment("hh-rlhf", list(hh_rlhf(args.pairs)), "hh-rlhf's annotators", 0)


if __name__ == "__main__":
    main()
