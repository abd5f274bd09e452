"""A base model as the verifier: how much likelier the label of a good pair is than that of a bad one, behind stage 1's rubric.

Where the same model filtered the rows already, it can find nothing that its filter let through unless it is asked for more
certainty here than there: the threshold is a difference of log-probabilities in nats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pytest_distill import storage
from pytest_distill.contracts.stage1 import CONFIDENCE_THRESHOLD
from pytest_distill.contracts.verifier import AutomatedVerifier
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.registry import ModelChoice, Opened, open_model
from pytest_distill.pipelines.stage1.instruction_critic import critique_instruction_response_pair
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts, holds_marker
from pytest_distill.pipelines.verifier.said import Said

DEFAULT_THRESHOLD = CONFIDENCE_THRESHOLD


@dataclass(frozen=True)
class Critic:
    """A verifier that is ready."""

    identity: AutomatedVerifier
    opened: Opened

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[Said]:
        """One judgement for each (instruction, response). A pair that could write its own verdict, or is blank, is unsure."""
        asked = [n for n, pair in enumerate(pairs) if all(text.strip() and not holds_marker(text) for text in pair)]
        found = [Said("unsure", "the verifier cannot be asked: a text is blank or holds a marker of its prompt", None)] * len(
            pairs
        )
        critiques = critique_instruction_response_pair(self.opened.backend, [pairs[n] for n in asked])
        for n, critique in zip(asked, critiques, strict=True):
            found[n] = self._said(critique.logp_a - critique.logp_b)
        return found

    def _said(self, score: float) -> Said:
        asked = self.identity.threshold
        if score >= asked:
            return Said("good", f"good by {score:.2f} nats", score)
        if score <= -asked:
            return Said("bad", f"bad by {-score:.2f} nats", score)
        return Said("unsure", f"good by {score:.2f} nats, {asked:g} are asked", score)


def open_critic(choice: ModelChoice, *, threshold: float = DEFAULT_THRESHOLD) -> Critic:
    """Raises what opening the model raises, and E-VERIFIER for a server whose weights nobody can see and that has no revision."""
    opened = open_model(choice)
    model = opened.provenance
    if model.weights_sha256 is None and not choice.revision:
        raise DistillError(
            Code.VERIFIER,
            f"nobody can see the weights of {choice.model}",
            "Say which they are: --revision, as its server calls it.",
        )
    prompt = f"{CompletionStylePrompts().pair_critic('<instruction>', '<response>')}\n{model.tokenizer_hash}"  # and who reads it
    identity = AutomatedVerifier(
        kind="critic", backend=choice.backend, model=model.model_name, revision=model.model_revision or None,
        model_sha256=model.weights_sha256, prompt_sha256=storage.sha256_bytes(prompt.encode()), threshold=threshold,
    )  # fmt: skip
    return Critic(identity, opened)
