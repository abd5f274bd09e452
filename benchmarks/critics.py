"""Labels read from logprobs, side by side: `python -P benchmarks/critics.py [MODEL] [--batch N] [--vllm]`.

The critics of stage 1 on the transformers backend, and the usual way: `model.generate` of one token with its scores, on the same
model, prompts, batch size and thread, in turn in one process. With --vllm, in an environment that has it (`make test-vllm` makes
one), the critics on vLLM's engine too. Prompts per second of processor time, medians of rounds; decisions have to be equal
wherever the margin is at least 1e-3. MODEL is the folder of a checkpoint; without it, the one the project ships. Prints Markdown;
exits 1 when the mark is missed or a decision differs.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded

from pytest_distill.contracts.stage1 import StoredCritique
from pytest_distill.fixtures.tiny_lm import corpus
from pytest_distill.pipelines.models.backend import Backend
from pytest_distill.pipelines.models.registry import DEFAULT, ModelChoice, open_model
from pytest_distill.pipelines.stage1.instruction_critic import (
    critique_instruction_quality,
    critique_instruction_response_pair,
)
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

ROWS, ROUNDS, MARK, SURE = 128, 3, 1.3, 1e-3
LABELS = ("A", " A", "B", " B")
Pair = tuple[str, str]
Margins = list[float]
Work = Callable[[Sequence[str], Sequence[Pair]], Margins]


def rows() -> tuple[list[str], list[Pair]]:
    """Instructions and pairs, half of each good, in phrasings that the shipped model was not trained on."""
    rng, instructions, pairs = random.Random("critics"), [], []
    for n in range(ROWS // 2):
        asked, drawn = corpus.question(rng, held_out=True)
        instructions += [asked, corpus.bad_instruction(rng, held_out=True)]
        pairs += [(asked, drawn.right), (asked, corpus.bad_response(corpus.BAD_PAIRS[n % len(corpus.BAD_PAIRS)], drawn, rng))]
    return instructions, pairs


def critics(backend: Backend) -> Work:
    def margin(critique: StoredCritique) -> float:
        return critique.margin if critique.is_good else -critique.margin

    def work(instructions: Sequence[str], pairs: Sequence[Pair]) -> Margins:
        judged = critique_instruction_quality(backend, instructions) + critique_instruction_response_pair(backend, pairs)
        return [margin(critique) for critique in judged]

    return work


def generate_with_scores(model: Any, tokenizer: Any, batch: int) -> Work:
    """One new token for each prompt, and the scores it was chosen by: how it is written with transformers alone."""
    import torch

    prompts = CompletionStylePrompts()
    wanted = [tokenizer(label, add_special_tokens=False)["input_ids"][0] for label in LABELS]
    tokenizer.padding_side = "left"

    def work(instructions: Sequence[str], pairs: Sequence[Pair]) -> Margins:
        texts = [prompts.instruction_critic(i) for i in instructions] + [prompts.pair_critic(i, r) for i, r in pairs]
        found: Margins = []
        for start in range(0, len(texts), batch):
            inputs = tokenizer(texts[start : start + batch], return_tensors="pt", padding=True, add_special_tokens=False)
            with torch.inference_mode():
                done = model.generate(
                    **inputs, max_new_tokens=1, do_sample=False, output_scores=True, return_dict_in_generate=True
                )
            logprobs = torch.log_softmax(done.scores[0].float(), dim=-1)[:, wanted].tolist()
            found += [max(a, space_a) - max(b, space_b) for a, space_a, b, space_b in logprobs]
        return found

    return work


def timed(sides: dict[str, Work]) -> tuple[dict[str, float], dict[str, Margins]]:
    """Prompts per second of each side, rounds in turn, and its margins. The first round of each is not counted."""
    given = rows()
    answers = {name: work(*given) for name, work in sides.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, work in sides.items():
            started = time.process_time()  # not the wall: neighbours on a shared machine come and go
            work(*given)
            seconds[name].append(time.process_time() - started)
    return {name: 2 * ROWS / statistics.median(values) for name, values in seconds.items()}, answers


def agreement(mine: Margins, theirs: Margins) -> tuple[bool, str]:
    sure = [(a, b) for a, b in zip(mine, theirs, strict=True) if abs(b) >= SURE]
    equal = sum((a > 0) == (b > 0) for a, b in sure)
    furthest = max(abs(a - b) for a, b in zip(mine, theirs, strict=True))
    return equal == len(sure), f"labels equal on {equal} of {len(sure)}; margins differ by at most {furthest:.0e}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", nargs="?", default=DEFAULT)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--vllm", action="store_true", help="vLLM's engine too")
    given = parser.parse_args()
    choice = ModelChoice(model=given.model, batch_size=given.batch)
    ours, peer = "critics, transformers backend", "generate with scores"
    opened = open_model(choice)
    # A tokenizer and a model of the peer's own: ours are left as the loader made them.
    import transformers

    folder = opened.guard.tokenizer.name_or_path
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype="float32", local_files_only=True).eval()
    sides = {peer: generate_with_scores(model, tokenizer, given.batch), ours: critics(opened.backend)}
    if given.vllm:
        sides["critics, vLLM"] = critics(open_model(ModelChoice(model=given.model, backend="vllm", batch_size=256)).backend)
    speeds, answers = timed(sides)
    print(f"{Path(folder).name}, {2 * ROWS} prompts, batch {given.batch}, one thread, float32; prompts per processor second\n")
    print("| way | prompts/s | ratio | mark | decisions |\n|---|---|---|---|---|")
    good = True
    for name, speed in speeds.items():
        equal, said = (True, "") if name == peer else agreement(answers[name], answers[peer])
        ratio = speed / speeds[peer]
        good &= equal and (name != ours or ratio >= MARK)
        print(f"| {name} | {speed:,.0f} | {ratio:.2f}x | {f'{MARK}x' if name == ours else ''} | {said} |")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
