"""What stage 1 needs of a model: completions of prompts, and the log-probabilities of the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["length", "stop"]


@dataclass(frozen=True)
class Sampling:
    """How to sample. Temperature 0 is greedy. Text ends right behind the first of `stop`, which stays in it."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()

    @property
    def do_sample(self) -> bool:
        return self.temperature > 0


@dataclass(frozen=True)
class Completion:
    """What followed a prompt. `tokens` counts it without the end of sequence; "length" means that the budget ended it."""

    text: str
    tokens: int
    finish_reason: FinishReason


class Backend(Protocol):
    """A base model. Results belong to the item alone: neither its neighbours nor the batch size change text or decisions."""

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        """One completion for each prompt, sampled with the seed of the same position."""

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        """For each prompt, the log-probability (nats) that each of `tokens` comes next; -inf where the model does not say.

        Raises E-LABEL for a text that is not exactly one token.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens: the unit of every count of a run."""


def cut_at_stop(text: str, stop: Sequence[str]) -> str | None:
    """The text up to and with its first stop string; None when it holds none."""
    ends = [position + len(word) for word in stop if (position := text.find(word)) >= 0]
    return text[: min(ends)] if ends else None
