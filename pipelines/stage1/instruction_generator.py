"""New instructions: the head of a numbered list is continued by a base model, and its items are taken from what it wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pytest_distill.pipelines.models.backend import Backend, Completion, Sampling
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

# The specification's reference values. A blank line ends the list; so does the end of the budget, often in mid-item.
LIST_SAMPLING: Final = Sampling(max_new_tokens=160, temperature=0.7, top_p=0.9, repetition_penalty=1.1, stop=("\n\n",))
_PROMPTS: Final = CompletionStylePrompts()
_ITEM = re.compile(r"(?:^|\n)[ \t]*(\d{1,4})[.)][ \t]*")


@dataclass(frozen=True)
class Continued:
    """A list that the model went on with: the exact prompt, and what was written behind it."""

    seed: int
    prompt: str
    completion: Completion

    def instructions(self) -> list[str]:
        """The items in the completion, in order. Duplicates stay in."""
        whole = self.completion.finish_reason == "stop"
        return list(parse_list(self.completion.text, first=_PROMPTS.list_length + 1, whole=whole))


@dataclass(frozen=True)
class Generated:
    """An instruction, and the exact prompt and raw completion in which it was found."""

    instruction: str
    prompt: str
    completion: str
    seed: int


def continue_lists(backend: Backend, seeds: Sequence[int], *, sampling: Sampling = LIST_SAMPLING) -> list[Continued]:
    """One list for each seed, in order; the seed picks the examples and the sampling."""
    prompts = [_PROMPTS.instruction_list(seed) for seed in seeds]
    completions = backend.generate(prompts, sampling, seeds)
    return [Continued(*facts) for facts in zip(seeds, prompts, completions, strict=True)]


def generate_instructions(backend: Backend, seeds: Sequence[int], *, sampling: Sampling = LIST_SAMPLING) -> list[Generated]:
    """The instructions of one list for each seed, in order."""
    return [
        Generated(instruction, continued.prompt, continued.completion.text, continued.seed)
        for continued in continue_lists(backend, seeds, sampling=sampling)
        for instruction in continued.instructions()
    ]


def parse_list(completion: str, *, first: int, whole: bool) -> Iterator[str]:
    """The items of a list whose number `first` the prompt wrote already.

    Items have to be numbered on; the list ends where a number is out of turn. Unless the text is `whole`, its last item may
    have been cut by the token budget and is left out. An item ends with its line.
    """
    text = completion.split("\n\n", 1)[0] if "\n\n" in completion else completion
    cut = not whole and text == completion
    pieces = _ITEM.split(f"\n{first}. {text.lstrip(' ')}")[1:]
    items = list(zip(map(int, pieces[::2]), pieces[1::2], strict=True))
    for position, (number, item) in enumerate(items):
        if number != first + position or (cut and position == len(items) - 1):
            return
        line = item.partition("\n")[0].strip()
        if line:
            yield line
