"""A Qwen2 model of random weights with a tokenizer of its own, made for each session: for tests that do not read its text."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

if missing := [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]:
    collect_ignore = [p.name for p in Path(__file__).parent.glob("test_*.py")]

    def pytest_report_header() -> str:
        return f"tests/generate: left out, {' and '.join(missing)} not installed (make test-generate runs them)"


END = "<|endoftext|>"


def save_tiny(folder: Path, *, seed: int = 0, bos: bool = False, template: str | None = None, heads: int = 4) -> Path:
    """Writes a checkpoint: optionally with a tokenizer that puts a token in front of every text, or with a chat template."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    from pytest_distill.pipelines.stage1.prompts import CompletionStylePrompts

    prompts = CompletionStylePrompts()
    texts = [prompts.instruction_list(n) for n in range(20)] + [prompts.pair_critic("Add 1 and 2.", "3.") + " A\n B\n A\n B"] * 20
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=500, special_tokens=[END, "<|im_start|>"], initial_alphabet=alphabet, show_progress=False),
    )
    inner.add_tokens([AddedToken("###END###", normalized=False, special=False)])
    if bos:
        inner.post_processor = processors.TemplateProcessing(single=f"{END} $A", special_tokens=[(END, 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, eos_token=END, pad_token=END)
    tokenizer.chat_template = template
    torch.manual_seed(seed)
    model = Qwen2ForCausalLM(
        Qwen2Config(
            vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=heads,
            num_key_value_heads=heads // 2, max_position_embeddings=1024, tie_word_embeddings=True, initializer_range=0.2,
            bos_token_id=None, eos_token_id=0, pad_token_id=0,
        )
    )  # fmt: skip
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert "chat_template" not in json.loads((folder / "config.json").read_bytes())
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("models") / "tiny")


@contextmanager
def serving(folder):
    """The address of a real HTTP server, in a process of its own, that serves the checkpoint under the name tiny."""
    script = Path(__file__).with_name("serve.py")
    with subprocess.Popen([sys.executable, "-W", "ignore", script, folder], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def address(tiny):
    with serving(tiny) as url:
        yield url


@pytest.fixture(scope="session")
def loader(tiny):
    from pytest_distill.pipelines.models.loader import CleanModelLoader

    return CleanModelLoader(str(tiny))


@pytest.fixture(scope="session")
def backend(loader):
    return loader.load()
