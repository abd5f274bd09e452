"""The backend for a model that is served already: any server that speaks OpenAI's completions protocol, such as vLLM's.

Prompts are checked with the checkpoint's own tokenizer before they are sent, and sent as token ids, so that the server's
tokenizer has no say. Stop strings are applied here: servers leave out whether the text or the end of sequence stopped them.

A server that says it is vLLM is told more: the exact labels to score, by token id, and every default that its checkpoint's
generation_config would otherwise put into the sampling. Its answers are read as token ids, as the engine's are.
"""

from __future__ import annotations

import json
import math
import urllib.error
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Completion, Sampling, cut_at_stop
from pytest_distill.pipelines.models.endpoint import Endpoint
from pytest_distill.pipelines.models.guards import InputGuard
from pytest_distill.pipelines.models.vllm_backend import completion, request

TOP_LOGPROBS = 20  # the most that common servers give


class ServerBackend:
    """`url` is the server's base, such as http://localhost:8000/v1; `model` the name it serves. Raises E-SERVER.

    The critics' labels have to be among the twenty likeliest tokens, unless the server is a vLLM that scores any it is asked for
    (0.32 does); a label that the server leaves out is reported as -inf.
    """

    def __init__(
        self, url: str, model: str, guard: InputGuard, *, key: str | None = None, workers: int = 8, timeout: float = 120.0
    ) -> None:
        self._endpoint = Endpoint(url, key=key, timeout=timeout)
        self._model = model
        self.guard = guard
        self._workers = workers
        self._vllm: bool | None = None  # not asked yet

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.guard.tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        encoded = self.guard.encode(prompts)
        if self._is_vllm():
            asked = [{**request(sampling, seed), "return_token_ids": True} for _, seed in zip(encoded, seeds, strict=True)]
            bodies = [{"prompt": ids, **body} for ids, body in zip(encoded, asked, strict=True)]
            return [self._from_ids(choice, sampling) for choice in self._ask(bodies)]
        common: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.repetition_penalty != 1.0:
            common["repetition_penalty"] = sampling.repetition_penalty
        bodies = [{"prompt": ids, "seed": seed, **common} for ids, seed in zip(encoded, seeds, strict=True)]
        return [self._completion(choice, sampling) for choice in self._ask(bodies)]

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        wanted = self.guard.single_tokens(tokens)
        encoded = self.guard.encode(prompts)
        asked: dict[str, Any] = {"max_tokens": 1, "temperature": 0.0, "logprobs": TOP_LOGPROBS}
        names = tokens
        if self._is_vllm():
            asked |= {"logprob_token_ids": sorted(set(wanted)), "return_tokens_as_token_ids": True}
            names = [f"token_id:{token}" for token in wanted]
        return [_logprobs(choice, names) for choice in self._ask([{"prompt": ids, **asked} for ids in encoded])]

    def _is_vllm(self) -> bool:
        """Asks the server once what it is, and refuses one that says it serves other models than ours."""
        if self._vllm is None:
            try:
                with self._endpoint.open("/models") as response:
                    served = [(str(model["id"]), model.get("owned_by")) for model in json.load(response)["data"]]
            except urllib.error.HTTPError:
                served = []  # it has no list
            except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
                raise self._endpoint.unusable(error) from error
            names = [name for name, _ in served]
            if served and self._model not in names:
                raise DistillError(
                    Code.SERVER, f"the server has no model {self._model!r}", f"It serves: {', '.join(names[:20])}."
                )
            self._vllm = (self._model, "vllm") in served
        return self._vllm

    def _from_ids(self, choice: dict[str, Any], sampling: Sampling) -> Completion:
        ids = choice.get("token_ids")
        if not isinstance(ids, list) or not all(isinstance(token, int) for token in ids):
            raise DistillError(Code.SERVER, "vLLM's answer holds no token ids", "Serve with vLLM 0.11 or newer.")
        return completion(ids, choice.get("finish_reason"), choice.get("stop_reason"), sampling.stop, self.guard.tokenizer)

    def _completion(self, choice: dict[str, Any], sampling: Sampling) -> Completion:
        text, reason = choice.get("text"), choice.get("finish_reason")
        if not isinstance(text, str) or reason not in ("length", "stop"):
            raise DistillError(Code.SERVER, f"an answer with no text or with finish_reason {reason!r}", "Check the server's log.")
        stopped = cut_at_stop(text, sampling.stop)
        return Completion(stopped, self.count_tokens([stopped])[0], "stop") if stopped is not None else Completion(
            text, min(sampling.max_new_tokens, self.count_tokens([text])[0]), reason
        )  # fmt: skip

    def _ask(self, bodies: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        with ThreadPoolExecutor(self._workers) as pool:
            return list(pool.map(self._post, bodies))

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._endpoint.post("/completions", {"model": self._model, "stream": False, **body})
        choice: dict[str, Any] = answer["choices"][0]
        return choice


def _logprobs(choice: dict[str, Any], tokens: Sequence[str]) -> tuple[float, ...]:
    """The wanted tokens' values among the likeliest that the server named."""
    try:
        top = choice["logprobs"]["top_logprobs"][0]
        values = tuple(min(0.0, float(top[token])) if token in top else -math.inf for token in tokens)
    except (LookupError, TypeError, ValueError) as error:
        raise DistillError(
            Code.SERVER, "the server gives no log-probabilities of the next token", "Serve with logprobs of at least 20."
        ) from error
    if any(math.isnan(value) for value in values):
        raise DistillError(Code.SERVER, "the server gave a log-probability that is no number", "Check its log.")
    return values
