"""Judges in this process: transformers with decoding held to the schema by us, and vLLM with its structured outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.chat import ChatInput
from pytest_distill.pipelines.models.constrained import JsonGrammars
from pytest_distill.pipelines.models.judging import Ran, Reply, refuse_prompts
from pytest_distill.pipelines.models.loader import Checkpoint, Provenance, require
from pytest_distill.pipelines.models.registry import ModelChoice, located, named
from pytest_distill.pipelines.models.torch_backend import TorchDecoder
from pytest_distill.pipelines.models.vllm_backend import VllmEngine, completion, open_engine, request


def what_ran(source: Provenance, chat: ChatInput, engine: str) -> Ran:
    return Ran(
        model_name=source.model_name,
        model_revision=source.model_revision,
        weights_sha256=source.weights_sha256,
        engine=engine,
        tokenizer_hash=source.tokenizer_hash,
        template_sha256=chat.template_sha256,
        constrained=True,
    )


def refusal(chat: ChatInput, room: int | None, prompt: str, max_new_tokens: int) -> str | None:
    """`Judge.refuses` of a model of `room` tokens; None for one that does not say."""
    if (token := chat.foreign(prompt)) is not None:
        return f"holds {token!r}, a token of a chat template"
    length = len(chat.encode([prompt])[0])
    if room is not None and length + max_new_tokens > room:
        return f"of {length} tokens, and {max_new_tokens} to follow, does not fit into {room}"
    return None


class TorchJudge:
    """A transformers model behind the protocol `Judge`."""

    def __init__(self, model: Any, chat: ChatInput, source: Provenance, *, batch_size: int = 32) -> None:
        self._decoder = TorchDecoder(model, chat.tokenizer, batch_size=batch_size)
        self._chat = chat
        self._room: int | None = getattr(model.config, "max_position_embeddings", None)
        ends = sorted(self._decoder.ends)
        if not ends:
            raise DistillError(Code.MODEL, "the checkpoint names no token that ends a text", "Its replies would have no end.")
        self._grammars = JsonGrammars(chat.tokenizer, vocabulary=model.config.vocab_size, ends=ends)
        self.ran = what_ran(source, chat, f"transformers-{require('transformers').__version__}")

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
        return refusal(self._chat, self._room, prompt, max_new_tokens)

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
        encoded = self._chat.encode(prompts)
        constraints = [self._grammars.constraint(schema) for _ in prompts]
        done = self._decoder.complete(encoded, Sampling(max_new_tokens, temperature), seeds, constraints)
        return [
            Reply(answer.text, answer.finish_reason, len(ids), answer.tokens) for ids, answer in zip(encoded, done, strict=True)
        ]


class VllmJudge:
    """A vLLM engine behind the protocol `Judge`; its structured outputs hold decoding to the schema."""

    def __init__(self, vllm: Any, engine: Any, chat: ChatInput, source: Provenance) -> None:
        self._engine = VllmEngine(engine, vllm.SamplingParams)
        self._structured = require("vllm.sampling_params").StructuredOutputsParams
        self._chat = chat
        self.ran = what_ran(source, chat, f"vllm-{vllm.__version__}")

    def refuses(self, prompt: str, *, max_new_tokens: int) -> str | None:
        return refusal(self._chat, self._engine.room, prompt, max_new_tokens)

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
        encoded = self._chat.encode(prompts)
        sampling = Sampling(max_new_tokens, temperature)
        held = {"structured_outputs": self._structured(json=dict(schema))}
        answers = self._engine.run(encoded, [{**request(sampling, seed), **held} for seed in seeds])
        replies = []
        for ids, answer in zip(encoded, answers, strict=True):
            done = completion(answer.token_ids, answer.finish_reason, answer.stop_reason, (), self._chat.tokenizer)
            replies.append(Reply(done.text, done.finish_reason, len(ids), done.tokens))
        return replies


def open_transformers_judge(choice: ModelChoice) -> TorchJudge:
    """Raises what the loader refuses, and E-EXTRA-MISSING without llguidance."""
    checkpoint = Checkpoint(located(choice.model), revision=choice.revision)
    require("transformers").utils.logging.disable_progress_bar()
    model = checkpoint.model(device=choice.device, dtype=choice.dtype)
    return TorchJudge(
        model, ChatInput(checkpoint.tokenizer), named(checkpoint.provenance(), choice.model), batch_size=choice.batch_size
    )


def open_vllm_judge(choice: ModelChoice) -> VllmJudge:
    """Raises what `open_vllm` does."""
    checkpoint = Checkpoint(located(choice.model), revision=choice.revision)
    vllm, engine = open_engine(checkpoint.folder, choice)
    return VllmJudge(vllm, engine, ChatInput(checkpoint.tokenizer), named(checkpoint.provenance(), choice.model))
