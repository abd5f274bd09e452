"""The backend for served models, against vLLM's own server on this machine: it answers as the engine in this process does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from conftest import SETTINGS

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.registry import ModelChoice, open_model
from pytest_distill.pipelines.stage1.instruction_critic import get_token_logprobs
from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

PROMPTS = CompletionStylePrompts()
LISTS = [PROMPTS.instruction_list(n) for n in range(12)]
START = 240  # seconds that the server may take to answer; it takes ten on an idle machine


def running(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    """Returns when the server answers; fails with the end of its log."""
    until = time.monotonic() + START
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(health, timeout=5):
                return
        except OSError:
            time.sleep(0.25)
    pytest.fail(f"vLLM's server did not start:\n{log.read_text(errors='replace')[-3000:]}")


@pytest.fixture(scope="module")
def address(model, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log.txt"
    options = [
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--model",
        str(model),
        "--served-model-name",
        "tiny",
        "--max-num-seqs",
        "16",
    ]
    options += ["--dtype", "float32", "--enforce-eager", "--no-enable-chunked-prefill", "--load-format", "safetensors"]
    environment = os.environ | SETTINGS | {"VLLM_NO_USAGE_STATS": "1", "TORCHDYNAMO_DISABLE": "1"}
    with log.open("wb") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *options],
            stdout=out, stderr=out, env=environment, cwd=log.parent,
        )  # fmt: skip
    try:
        running(server, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(30)


@pytest.fixture(scope="module")
def served(address, model):
    return open_model(ModelChoice(model="tiny", backend="server", url=address, tokenizer=str(model), batch_size=4)).backend


def test_labels_are_scored_as_the_engine_scores_them(served, backend, critic_prompts):
    some = critic_prompts[::5]
    mine, theirs = get_token_logprobs(served, some), get_token_logprobs(backend, some)
    for a, b in zip(mine, theirs, strict=True):
        assert a == pytest.approx(b, abs=1e-3)


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(max_new_tokens=20, stop=("\n",)),
        Sampling(max_new_tokens=20, temperature=0.7, top_p=0.9, repetition_penalty=1.1, stop=("###END###", "\n\n")),
    ],
    ids=["greedy", "sampled"],
)
def test_the_served_model_writes_what_the_engine_writes(served, backend, sampling):
    seeds = range(50, 50 + len(LISTS))
    assert served.generate(LISTS, sampling, seeds) == backend.generate(LISTS, sampling, seeds)


def test_a_label_far_from_the_likeliest_is_told(served, backend):
    vocabulary = backend.guard.tokenizer.convert_ids_to_tokens(range(3, 300))
    every = [token for token in vocabulary if token.isascii() and token.isalpha()][:60]
    mine, theirs = (b.next_token_logprobs(["Water freezes at"], every)[0] for b in (served, backend))
    assert mine == pytest.approx(theirs, abs=1e-3)


def test_inputs_are_guarded_before_they_are_sent(served):
    with pytest.raises(DistillError, match="E-TEMPLATE"):
        served.generate(["<|im_start|>user"], Sampling(max_new_tokens=1), [0])


def test_a_model_that_is_not_served_is_named(address, model):
    other = open_model(ModelChoice(model="another", backend="server", url=address, tokenizer=str(model))).backend
    with pytest.raises(DistillError, match=r"E-SERVER.*no model 'another'.*It serves: tiny"):
        other.generate(["a"], Sampling(max_new_tokens=1), [0])


def test_what_the_server_refuses_is_quoted(served):
    with pytest.raises(DistillError, match=r"E-SERVER.*400"):
        served.generate(["word " * 2000], Sampling(max_new_tokens=1), [0])
