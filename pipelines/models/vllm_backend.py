"""The backend on vLLM's offline engine, in this process: for large models, and many prompts at once.

The engine gets token ids that the guard has seen, never text. Its own choices of when to compute what stay out of the results
as far as vLLM lets them: every item has its seed, no call sees what an earlier one left in the cache, and generating and
scoring never share a batch. What a request says, and how its answer is read, is the same for the engine and for a server of
vLLM's (`server.py`).
"""

from __future__ import annotations

import inspect
import math
import os
import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Completion, Sampling, cut_at_stop
from pytest_distill.pipelines.models.guards import InputGuard

if TYPE_CHECKING:
    from pytest_distill.pipelines.models.registry import ModelChoice, Opened

LEAST_TEMPERATURE: Final = 0.01  # vLLM takes anything between 0 and this for this, with a warning
SEEDS: Final = 2**63  # vLLM's are signed, and to it -1 is no seed at all

# Set where the user has set nothing. One process: the engine then sees all prompts of a call at once, in order, and not in the
# make-up that timing gives. No line for each of its steps.
_DEFAULTS: Final = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "VLLM_LOGGING_LEVEL": "ERROR"}
# Where vLLM is a build for CPUs. It would claim nine tenths of the memory for its cache, or refuse when others have some of it;
# and it would compile, for half a minute and with a C++ compiler, one function that counts.
_CPU_DEFAULTS: Final = {"VLLM_CPU_KVCACHE_SPACE": "4", "TORCHDYNAMO_DISABLE": "1"}
# Eager, for the same reason; and no prompt in two pieces, for vLLM cannot wind back the generator of one that has a seed there.
_CPU_ENGINE: Final = {"enforce_eager": True, "enable_chunked_prefill": False}


class VllmEngine:
    """Token ids in, vLLM's outputs out."""

    def __init__(self, engine: Any, parameters: Any) -> None:
        """`engine` is a `vllm.LLM`, `parameters` vLLM's class `SamplingParams`."""
        self._engine = engine
        self._parameters = parameters
        self.room: int = engine.llm_engine.model_config.max_model_len
        self._lock = threading.Lock()  # requests with and without logprobs in one batch confuse vLLM

    def run(self, encoded: Sequence[list[int]], asked: Sequence[dict[str, Any]]) -> list[Any]:
        """One output for each prompt, in order. Raises E-PROMPT for one that the model has no room for."""
        for ids, parameters in zip(encoded, asked, strict=True):
            if not ids or len(ids) + parameters["max_tokens"] > self.room:
                raise DistillError(
                    Code.PROMPT,
                    f"a prompt of {len(ids)} tokens, and {parameters['max_tokens']} to follow, with room for 1 to {self.room}",
                    "Shorten the prompt or the budget of new tokens.",
                )
        if not encoded:
            return []
        prompts = [{"prompt_token_ids": ids} for ids in encoded]
        with self._lock:
            self._engine.reset_prefix_cache()  # or a resumed run would round otherwise than one that was not interrupted
            done = self._engine.generate(prompts, [self._parameters(**p) for p in asked], use_tqdm=False)
        return [output.outputs[0] for output in done]


class VllmBackend(VllmEngine):
    """A vLLM engine behind the protocol `Backend`. Get one from `open_model(ModelChoice(backend="vllm", ...))`."""

    def __init__(self, engine: Any, parameters: Any, guard: InputGuard) -> None:
        super().__init__(engine, parameters)
        self.guard = guard

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.guard.tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        encoded = self.guard.encode(prompts)
        answers = self.run(encoded, [request(sampling, seed) for _, seed in zip(encoded, seeds, strict=True)])
        return [
            completion(answer.token_ids, answer.finish_reason, answer.stop_reason, sampling.stop, self.guard.tokenizer)
            for answer in answers
        ]

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        """Of these tokens alone, normalised over the whole vocabulary, before any penalty: none is too unlikely to be told."""
        wanted = self.guard.single_tokens(tokens)
        encoded = self.guard.encode(prompts)
        asked = {"max_tokens": 1, "temperature": 0.0, "logprob_token_ids": sorted(set(wanted)), "detokenize": False}
        answers = self.run(encoded, [asked] * len(encoded))
        return [_finite([answer.logprobs[0][token].logprob for token in wanted]) for answer in answers]


def request(sampling: Sampling, seed: int) -> dict[str, Any]:
    """What vLLM is told of one item, with nothing left to its defaults or to the checkpoint's. Raises E-USAGE."""
    if 0 < sampling.temperature < LEAST_TEMPERATURE:
        raise DistillError(
            Code.USAGE,
            f"vLLM would take a temperature of {sampling.temperature:g} for {LEAST_TEMPERATURE}",
            "Take 0 for greedy, or at least 0.01.",
        )
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": sampling.repetition_penalty,
        "seed": seed % SEEDS,
        "stop": list(sampling.stop),
        "include_stop_str_in_output": True,
        "skip_special_tokens": False,
        "spaces_between_special_tokens": False,
    }


def completion(
    ids: Sequence[int], finish_reason: str | None, stop_reason: int | str | None, stop: Sequence[str], tokenizer: Any
) -> Completion:
    """vLLM's answer in our terms: its tokens up to the one that completes the first stop string, or up to the end of sequence.

    The text is decoded here, as a whole and with the tokens that it was checked with. Raises E-MODEL for an answer that ended
    for another reason than its length or a stop.
    """
    if finish_reason not in ("length", "stop"):
        raise DistillError(Code.MODEL, f"vLLM ended a completion for {finish_reason!r}", "See its log; VLLM_LOGGING_LEVEL=INFO.")

    def decode(part: list[int]) -> str:
        return str(tokenizer.decode(part, skip_special_tokens=False, clean_up_tokenization_spaces=False))

    kept = list(ids)
    if finish_reason == "stop" and not isinstance(stop_reason, str):
        kept.pop()  # the end of sequence
    while kept and cut_at_stop(decode(kept[:-1]), stop) is not None:
        kept.pop()
    text = decode(kept)
    stopped = cut_at_stop(text, stop)
    if stopped is not None:
        return Completion(stopped, len(kept), "stop")
    return Completion(text, len(kept), "stop" if finish_reason == "stop" else "length")


def _finite(values: Sequence[float]) -> tuple[float, ...]:
    """Raises E-LABEL for a log-probability that is no number, which a model that overflows in half precision gives."""
    if any(math.isnan(value) for value in values):
        raise DistillError(
            Code.LABEL, "the model gives a log-probability that is no number", "Load it in float32, or in bfloat16."
        )
    return tuple(min(0.0, float(value)) for value in values)


def open_vllm(choice: ModelChoice) -> Opened:
    """The checkpoint of `choice` in vLLM, behind the loader's guard. `batch_size` bounds how many prompts run at once.

    Raises E-EXTRA-MISSING without vLLM or with one that is too old, E-USAGE for a device that it is not built for, E-MODEL for
    what it cannot load.
    """
    from pytest_distill.pipelines.models.loader import CleanModelLoader
    from pytest_distill.pipelines.models.registry import Opened, located, named

    loader = CleanModelLoader(located(choice.model), revision=choice.revision)
    vllm, engine = open_engine(loader.folder, choice)
    backend = VllmBackend(engine, vllm.SamplingParams, loader.guard)
    return Opened(backend, loader.guard, named(loader.provenance(), choice.model))


def open_engine(folder: Path, choice: ModelChoice) -> tuple[Any, Any]:
    """The library and a `vllm.LLM` of the checkpoint in `folder`, on the device of `choice`. Raises as `open_vllm` does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # vLLM's, about its own imports
        vllm = _vllm(choice.device)
        return vllm, _engine(vllm, folder, choice)


def _engine(vllm: Any, folder: Path, choice: ModelChoice) -> Any:
    try:
        return vllm.LLM(
            model=str(folder),
            dtype=choice.dtype,
            max_num_seqs=choice.batch_size,
            seed=0,
            load_format="safetensors",
            trust_remote_code=False,
            logprobs_mode="raw_logprobs",
            # llguidance, as in our own decoding; a model that is at a loss would else write white space until its budget is gone.
            structured_outputs_config={"backend": "guidance", "disable_any_whitespace": True},
            disable_log_stats=True,
            use_tqdm_on_load=False,
            **(_CPU_ENGINE if choice.device == "cpu" else {}),
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        told = " ".join(str(error).split())
        raise DistillError(
            Code.MODEL, f"vLLM does not load {choice.model}: {told[:600]}", "VLLM_LOGGING_LEVEL=INFO shows more."
        ) from error


def _vllm(device: str) -> Any:
    """The library, set up for a device: `cpu`, or `cuda`, or `cuda:1` for the second of the GPUs that are visible."""
    from pytest_distill.pipelines.models.loader import require

    kind, _, number = device.partition(":")
    os.environ["VLLM_NO_USAGE_STATS"] = "1"  # it would tell its makers about this machine
    for name, value in (_DEFAULTS | (_CPU_DEFAULTS if kind == "cpu" else {})).items():
        os.environ.setdefault(name, value)
    if number:
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        numbers = visible.split(",") if visible else None
        if not number.isdecimal() or (numbers and int(number) >= len(numbers)):
            raise DistillError(Code.USAGE, f"there is no device {device!r}", f"Visible are: {visible}.")
        if require("torch").cuda.is_initialized():
            raise DistillError(
                Code.USAGE, f"{device} cannot be chosen any more: CUDA is in use here", "Open one vLLM in each process."
            )
        os.environ["CUDA_VISIBLE_DEVICES"] = numbers[int(number)] if numbers else number
    vllm = require("vllm")
    if "logprob_token_ids" not in inspect.signature(vllm.SamplingParams).parameters:
        raise DistillError(
            Code.EXTRA, f"vLLM {vllm.__version__} cannot score labels", "vLLM 0.20 or newer: pip install 'pytest-distill[vllm]'."
        )
    built = require("vllm.platforms").current_platform.device_type
    if built != kind:
        raise DistillError(
            Code.USAGE, f"this vLLM runs on {built or 'no device of this machine'}, not on {device}", f"Take --device {built}."
        )
    return vllm
