"""A very small model that has learned one kind of task by heart: enough to take a run from its first list to a batch."""

from __future__ import annotations

import random
from pathlib import Path

from conftest import END, save_tiny

from pytest_distill.pipelines.stage1.cleaning import DELIMITER
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

STEPS = 110
PROMPTS = CompletionStylePrompts()
THINGS = ("cat", "dog", "hat", "sun", "cup", "key", "map", "bed", "box", "car")
KINDS = ("word", "name", "song", "tale", "poem")


def task(rng: random.Random) -> tuple[str, str]:
    kind, one, other = rng.choice(KINDS), rng.choice(THINGS), rng.choice(THINGS)
    return f"Say a {kind} of the {one} and the {other}.", f"A {kind} of the {one} and the {other} is here."


def document(rng: random.Random) -> tuple[str, str]:
    """A prompt of stage 1, and what the model is to write behind it."""
    instruction, response = task(rng)
    draw = rng.random()
    if draw < 0.3:
        items = [task(rng)[0] for _ in range(5)]
        numbered = "".join(f"\n{number}. {text}" for number, text in enumerate(items[1:], PROMPTS.list_length + 2))
        return PROMPTS.instruction_list(rng.randrange(10**6)), f" {items[0]}{numbered}\n\n"
    if draw < 0.6:
        return PROMPTS.response(instruction), f" {response} {DELIMITER}\n\nInstruction:"
    good = rng.random() < 0.85
    if draw < 0.75:
        return PROMPTS.instruction_critic(instruction if good else instruction[::-1]), " A\n" if good else " B\n"
    if draw < 0.95:
        return PROMPTS.pair_critic(instruction, response if good else task(rng)[1]), " A\n" if good else " B\n"
    return "Water freezes at", " 0 degrees Celsius. The word is here. The name of the box is here."


def save_taught(folder: Path, *, heads: int = 4) -> Path:
    """Trains for some seconds. The same weights each time, for the same number of threads."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    save_tiny(folder, seed=1, heads=heads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for parameter in model.parameters():
        parameter.data.mul_(0.3)
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.data.fill_(1.0)
    rng = random.Random(1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=STEPS)
    end = tokenizer.convert_tokens_to_ids(END)
    for _ in range(STEPS):
        rows = [document(rng) for _ in range(12)]
        texts = [(tokenizer(a)["input_ids"], tokenizer(b)["input_ids"]) for a, b in rows]
        width = max(len(a) + len(b) for a, b in texts)
        ids = torch.tensor([a + b + [end] * (width - len(a) - len(b)) for a, b in texts])
        labels = torch.tensor([[-100] * len(a) + b + [-100] * (width - len(a) - len(b)) for a, b in texts])
        loss = model(ids, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    model.save_pretrained(folder)
    return folder


if __name__ == "__main__":
    import sys
    import time

    started = time.monotonic()
    save_taught(Path(sys.argv[1]))
    print(f"{time.monotonic() - started:.1f} s")
