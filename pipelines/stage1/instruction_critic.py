"""The critics: is an instruction good, does a response fulfil it. One token, A or B, read from logprobs, never sampled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from pytest_distill.contracts.stage1 import CONFIDENCE_THRESHOLD, StoredCritique
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Backend
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

_LABELS: Final = (("A", " A"), ("B", " B"))
_PROMPTS: Final = CompletionStylePrompts()


def get_token_logprobs(backend: Backend, prompts: Sequence[str]) -> list[tuple[float, float]]:
    """For each prompt, the next-token log-probabilities (nats) of the labels A and B.

    Each is the larger of the label with and without a space in front. Raises E-LABEL when one of the four is not a single
    token, or when the backend cannot say how likely a label is.
    """
    pairs = []
    for a, space_a, b, space_b in backend.next_token_logprobs(prompts, [text for label in _LABELS for text in label]):
        logp_a, logp_b = max(a, space_a), max(b, space_b)
        if not (math.isfinite(logp_a) and math.isfinite(logp_b)):
            raise DistillError(
                Code.LABEL,
                "a label is so unlikely that the backend gives no log-probability for it",
                "This model does not follow the rubric.",
            )
        pairs.append((logp_a, logp_b))
    return pairs


def critique_instruction_quality(
    backend: Backend, instructions: Sequence[str], *, threshold: float = CONFIDENCE_THRESHOLD
) -> list[StoredCritique]:
    """A: clear, specific, achievable and safe. B: vague, impossible, unsafe or nonsense."""
    return _critiques(backend, [_PROMPTS.instruction_critic(text) for text in instructions], threshold)


def critique_instruction_response_pair(
    backend: Backend, pairs: Sequence[tuple[str, str]], *, threshold: float = CONFIDENCE_THRESHOLD
) -> list[StoredCritique]:
    """A: the response fulfils the instruction and is correct, or briefly refuses what is unsafe. B: otherwise."""
    return _critiques(backend, [_PROMPTS.pair_critic(instruction, response) for instruction, response in pairs], threshold)


def _critiques(backend: Backend, prompts: Sequence[str], threshold: float) -> list[StoredCritique]:
    critiques = []
    for logp_a, logp_b in get_token_logprobs(backend, prompts):
        margin = abs(logp_a - logp_b)
        critiques.append(
            StoredCritique(
                is_good=logp_a > logp_b,
                predicted_label="A" if logp_a > logp_b else "B",
                logp_a=logp_a,
                logp_b=logp_b,
                margin=margin,
                confident=margin >= threshold,
                confidence_threshold=threshold,
            )
        )
    return critiques
