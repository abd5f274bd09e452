"""A judge that is served: OpenAI's chat completions with `response_format: json_schema`, as vLLM, llama.cpp and others do.

The server applies the chat template and tokenizes. Which model ran is what its answers say: a first, smallest question is asked
when the judge is opened, and an answer that names another model later ends the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.chat import foreign_token
from pytest_distill.pipelines.models.endpoint import Endpoint
from pytest_distill.pipelines.models.judging import Ran, Reply, refuse_prompts
from pytest_distill.pipelines.models.registry import ModelChoice

_PROBE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"ready": {"type": "boolean"}},
    "required": ["ready"],
    "additionalProperties": False,
}
_ENDINGS: Final[dict[str, Literal["stop", "length", "refused"]]] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "refused",
}


class ServerJudge:
    """`model` is the name under which the server has it. Raises E-SERVER for a server that cannot be used."""

    def __init__(self, endpoint: Endpoint, model: str, *, revision: str | None = None, workers: int = 8) -> None:
        self._endpoint = endpoint
        self._model = model
        self._workers = workers
        answer = endpoint.post("/chat/completions", self._body('Answer {"ready": true}.', _PROBE, 16, 0, 0.0))
        name, fingerprint = _identity(answer)
        self._identity = (name, fingerprint)
        self.ran = Ran(
            model_name=name,
            model_revision=revision or "served",
            weights_sha256=None,
            engine=f"server-{fingerprint}" if fingerprint else "server",
            tokenizer_hash=None,
            template_sha256=None,
            constrained=True,
        )

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:  # noqa: ARG002 - how much room there is, the server knows
        token = foreign_token(prompt)
        return f"holds {token!r}, a token of a chat template" if token is not None else None

    def ask(
        self,
        prompts: Sequence[str],
        *,
        schema: Mapping[str, Any],
        max_new_tokens: int,
        seeds: Sequence[int],
        temperature: float = 0.0,
    ) -> list[Reply]:
        refuse_prompts(self, prompts, max_new_tokens=max_new_tokens)
        bodies = [
            self._body(prompt, schema, max_new_tokens, seed, temperature) for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._reply, bodies))

    def _body(self, prompt: str, schema: Mapping[str, Any], max_tokens: int, seed: int, temperature: float) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "seed": seed,
            "stream": False,
            "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": dict(schema)}},
        }

    def _reply(self, body: dict[str, Any]) -> Reply:
        answer = self._endpoint.post("/chat/completions", body)
        if (found := _identity(answer)) != self._identity:
            raise DistillError(
                Code.SERVER,
                f"the server answered with {' '.join(map(str, found))}, and before with {' '.join(map(str, self._identity))}",
                "A run is judged by one model; start it again when the server keeps to one.",
            )
        try:
            choice, usage = answer["choices"][0], answer["usage"]
            message = choice["message"]
            ending = _ENDINGS[choice["finish_reason"]]
            text, refused = message.get("content"), bool(message.get("refusal"))
            read, wrote = int(usage["prompt_tokens"]), int(usage["completion_tokens"])
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise DistillError(
                Code.SERVER, f"an answer without message, finish_reason or usage: {error!r}", "Check the server's log."
            ) from error
        if refused or ending == "refused":
            return Reply(str(message.get("refusal") or text or ""), "refused", read, wrote)
        if not isinstance(text, str):
            raise DistillError(Code.SERVER, "an answer whose message has no text", "Does the server know json_schema?")
        return Reply(text, ending, read, wrote)


def _identity(answer: Mapping[str, Any]) -> tuple[str, str | None]:
    """Which model an answer says it is from, and the fingerprint of what served it, where there is one."""
    name, fingerprint = answer.get("model"), answer.get("system_fingerprint")
    if not isinstance(name, str) or not name:
        raise DistillError(Code.SERVER, "an answer that does not say which model it is from", "It has to hold `model`.")
    return name, fingerprint if isinstance(fingerprint, str) and fingerprint else None


def open_server_judge(choice: ModelChoice) -> ServerJudge:
    if choice.url is None:
        raise DistillError(
            Code.USAGE, "a served judge needs the server's address", "Example: --server http://localhost:8000/v1 --model NAME."
        )
    return ServerJudge(Endpoint(choice.url, key=choice.key), choice.model, revision=choice.revision, workers=choice.batch_size)
