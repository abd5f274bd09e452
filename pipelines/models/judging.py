"""The door to models that judge: a prompt in, one JSON value of a given schema out, and what really ran beside it.

A judge is not a base model. It may be tuned to instructions, so its checkpoint's chat template is *used*, with one user message
a prompt, and its digest is recorded; stage 1 keeps clearing it. What stays the same: checkpoints in safetensors without code of
their own, every local input as token ids, and no token of a template out of the data: a row that holds one could speak as
somebody else, so it is not asked about (`refuses`).

A reply is text. Whether it is the JSON that was asked for is for the caller to say, whatever the backend promised.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

from pytest_distill.contracts.manifest import ModelUse
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models import metering
from pytest_distill.pipelines.models.registry import HERE, ModelChoice

# name -> module that opens it, function in it
JUDGES: Final = {
    "transformers": (f"{HERE}.local_judges", "open_transformers_judge"),
    "vllm": (f"{HERE}.local_judges", "open_vllm_judge"),
    "server": (f"{HERE}.server_judge", "open_server_judge"),
}


@dataclass(frozen=True)
class Reply:
    """What a judge said. Token counts are those of what was read and written, special tokens and template included.

    "length" means that the budget of new tokens ended it, "refused" that the server would not answer.
    """

    text: str
    finish_reason: Literal["stop", "length", "refused"]
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Ran:
    """Which model ran, as the bytes that were loaded or the server's own answers say, never as it was asked for."""

    model_name: str
    model_revision: str
    weights_sha256: str | None  # None for a model that a server holds
    engine: str  # the library and its version, or what the server says of itself
    tokenizer_hash: str | None  # None where the server tokenizes
    template_sha256: str | None  # of the chat template that was used; None for none, or where the server applies its own
    constrained: bool  # was decoding held to the schema?

    @property
    def version(self) -> str:
        """One word for what ran: engine, and revision of the weights."""
        return f"{self.engine}@{self.model_revision[:19]}"

    def use(self) -> ModelUse:
        return ModelUse(name=self.model_name, revision=self.model_revision, weights_sha256=self.weights_sha256)


class Judge(Protocol):
    """A model that judges. A reply belongs to its prompt and seed alone, as far as the backend holds that (docs/models.md)."""

    @property
    def ran(self) -> Ran:
        """What runs. The same for the whole life of a judge: one that changes ends the run."""

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
        """Why this prompt cannot be asked: a token of a chat template in it, or no room for the reply. None if it can."""

    def ask(
        self,
        prompts: Sequence[str],
        *,
        schema: Mapping[str, Any],
        max_new_tokens: int,
        seeds: Sequence[int],
        temperature: float = 0.0,
    ) -> list[Reply]:
        """One reply for each prompt. Temperature 0 is greedy, and then seeds change nothing.

        Raises E-PROMPT for a prompt that `refuses` names, and E-SERVER.
        """


def open_judge(choice: ModelChoice) -> Judge:
    """The judge that `choice` says, by its backend. `choice.tokenizer` is not needed: a server of judges tokenizes itself.

    Raises E-USAGE for an unknown backend, E-EXTRA-MISSING without its library, E-MODEL, E-SERVER.
    """
    if choice.backend not in JUDGES:
        raise DistillError(Code.USAGE, f"there is no backend {choice.backend!r}", f"There are: {', '.join(JUDGES)}.")
    module, function = JUDGES[choice.backend]
    try:
        opener: Any = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise DistillError(
            Code.EXTRA,
            f"the judge {choice.backend} needs {error.name}",
            "pip install 'pytest-distill[generate]', or take --server.",
        ) from error
    running = metering.current()
    if running is not None:
        running.allow(choice.model, choice.url)
    judge: Judge = opener(choice)
    return judge if running is None else metering.MeteredJudge(judge, running.meter(judge.ran.use()))


def refuse_prompts(judge: Judge, prompts: Sequence[str], *, max_new_tokens: int) -> None:
    """Raises E-PROMPT for the first prompt that the judge cannot be asked."""
    for prompt in prompts:
        if why := judge.refuses(prompt, max_new_tokens=max_new_tokens):
            raise DistillError(Code.PROMPT, f"a prompt {why}", "Leave that row out, or shorten it.")
