"""Backends on vLLM: the engine in this process, and a server of its own; `make test-vllm` runs this in an environment of its own.

The model is the one the project ships, where its weights are there, and one of random weights otherwise. One thread and a small
cache: the tests are to run beside others.
"""

from __future__ import annotations

import importlib.util
import os
import random
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
found = {name: importlib.util.find_spec(name) for name in ("torch", "transformers", "vllm")}
if missing := [name for name, spec in found.items() if spec is None or spec.origin is None]:  # no origin: this folder itself
    if os.environ.get("DISTILL_VLLM_TESTS"):
        pytest.exit(f"tests/vllm: {' and '.join(missing)} not installed in the environment of make test-vllm", returncode=4)
    collect_ignore = [p.name for p in HERE.glob("test_*.py")]

    def pytest_report_header() -> str:
        return f"tests/vllm: left out, {' and '.join(missing)} not installed (make test-vllm runs them)"


SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}


# The makers of models in tests/generate, whose conftest pytest does not load for this folder; `taught` imports them from here.
GENERATE = HERE.parent / "generate"
sys.path.append(str(GENERATE))
spec = importlib.util.spec_from_file_location("generate_conftest", GENERATE / "conftest.py")
makers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(makers)
END, save_tiny = makers.END, makers.save_tiny
HEADS = 2  # of 32 numbers each: vLLM takes none smaller


@pytest.fixture(scope="session")
def random_model(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "random", heads=HEADS)


@pytest.fixture(scope="session")
def model(random_model):
    from pytest_distill.fixtures import tiny_lm

    shipped = Path(os.environ.get("DISTILL_TINY_LM", Path(tiny_lm.__file__).with_name("model")))
    found = shipped if (shipped / "config.json").is_file() else random_model
    print(f"tests/vllm: model {found}", file=sys.stderr)
    return found


@pytest.fixture(scope="session")
def torch_backend(model):
    from pytest_distill.pipelines.models.registry import ModelChoice, open_model

    return open_model(ModelChoice(model=str(model))).backend


@pytest.fixture(scope="session")
def opened(model, torch_backend):
    """vLLM, opened behind the torch backend: it makes `torch.set_num_threads` void."""
    from pytest_distill.pipelines.models.registry import ModelChoice, open_model

    os.environ.update(SETTINGS)
    return open_model(ModelChoice(model=str(model), backend="vllm", batch_size=64))


@pytest.fixture(scope="session")
def backend(opened):
    return opened.backend


@pytest.fixture(scope="session")
def critic_prompts():
    """500, of stage 1's prompts: good and bad instructions, right and wrong responses of every kind, in held-out phrasings."""
    from pytest_distill.fixtures.tiny_lm import corpus
    from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

    rng, prompts, found = random.Random("vllm"), CompletionStylePrompts(), []
    for n in range(125):
        asked, drawn = corpus.question(rng, held_out=True)
        wrong = corpus.bad_response(corpus.BAD_PAIRS[n % len(corpus.BAD_PAIRS)], drawn, rng)
        found += [
            prompts.instruction_critic(asked),
            prompts.instruction_critic(corpus.bad_instruction(rng, held_out=True)),
            prompts.pair_critic(asked, drawn.right),
            prompts.pair_critic(asked, wrong),
        ]
    return found
