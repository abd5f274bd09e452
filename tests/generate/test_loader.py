"""The only door to a base model: what it refuses, and what it remembers. Each contaminated twin meets the guard meant for it."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import save_tiny

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Completion, Sampling
from pytest_distill.pipelines.models.loader import CleanModelLoader, loader_version
from pytest_distill.pipelines.models.sentinels import refuse_unless_base, run_sentinels

GREEDY = Sampling(max_new_tokens=4)


def copy(folder, target):
    return shutil.copytree(folder, target)


def refused(code: Code, name: str) -> str:
    with pytest.raises(DistillError) as caught:
        CleanModelLoader(name)
    assert caught.value.code is code
    return str(caught.value)


def test_a_clean_checkpoint_loads_with_its_provenance(loader, tiny):
    stated = loader.provenance()
    assert stated.model_revision == f"sha256:{stated.weights_sha256}"
    assert stated.loader_version == loader_version()
    assert stated.use().weights_sha256 == stated.weights_sha256
    assert not loader.guard.template_found


def test_the_revision_of_a_snapshot_is_its_commit(tiny, tmp_path):
    folder = copy(tiny, tmp_path / "snapshots" / ("a" * 40))
    assert CleanModelLoader(str(folder)).provenance().model_revision == "a" * 40


def test_other_weights_are_another_digest(tiny, tmp_path):
    other = save_tiny(tmp_path / "other", seed=1)
    assert CleanModelLoader(str(other)).provenance().weights_sha256 != CleanModelLoader(str(tiny)).provenance().weights_sha256


def test_staged_models_come_before_any_cache(tiny, monkeypatch):
    monkeypatch.setenv("DISTILL_MODELS", str(tiny.parent))
    assert CleanModelLoader("tiny").folder == tiny


def test_twin_with_a_chat_template_is_cleared_and_said_so(tmp_path):
    found = CleanModelLoader(str(save_tiny(tmp_path / "chat", template="{% for m in messages %}<|im_start|>{{ m }}{% endfor %}")))
    assert found.guard.template_found
    assert found.guard.tokenizer.chat_template is None
    assert found.guard.report().template_cleared


def test_a_template_that_is_set_again_ends_the_run(tiny):
    found = CleanModelLoader(str(tiny)).guard
    found.tokenizer.chat_template = "{{ messages }}"
    with pytest.raises(DistillError, match="E-TEMPLATE"):
        found.encode(["Water freezes at"])


def test_twin_that_adds_a_token_in_front_is_refused(tmp_path):
    assert "adds 1 special tokens" in refused(Code.SPECIAL_TOKENS, str(save_tiny(tmp_path / "bos", bos=True)))


@pytest.mark.parametrize("text", ["<|im_start|>user\nAdd 1 and 2.", "Add 1. [INST]", "one\ntwo<|eot_id|>"])
def test_a_template_token_in_any_input_ends_the_run(backend, text):
    for ask in (lambda: backend.generate(["a", text], GREEDY, [0, 0]), lambda: backend.next_token_logprobs([text], [" A"])):
        with pytest.raises(DistillError, match="E-TEMPLATE"):
            ask()


def test_every_input_is_counted(tiny):
    guard = CleanModelLoader(str(tiny)).guard
    before = guard.report().inputs_checked
    guard.encode(["a", "b", "c"])
    assert guard.report().inputs_checked == before + 3


def test_no_model(tmp_path):
    assert "no model" in refused(Code.MODEL, "nobody/nothing-of-this-name")


def test_pickled_weights_are_not_loaded(tiny, tmp_path):
    folder = copy(tiny, tmp_path / "pickled")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    assert "no weights in safetensors" in refused(Code.MODEL, str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_code_of_a_checkpoint_is_not_run(tiny, tmp_path, name):
    folder = copy(tiny, tmp_path / "code")
    config = json.loads((folder / name).read_bytes()) | {"auto_map": {"AutoModelForCausalLM": "evil.Model"}}
    (folder / name).write_text(json.dumps(config))
    assert "auto_map" in refused(Code.MODEL, str(folder))


def test_a_damaged_config(tiny, tmp_path):
    folder = copy(tiny, tmp_path / "damaged")
    (folder / "config.json").write_bytes(b"{")
    assert "not JSON" in refused(Code.MODEL, str(folder))


class Scripted:
    """A backend that says what it is told to: sentinels are judged on text, whatever model wrote it."""

    def __init__(self, outputs):
        self.outputs = outputs

    def generate(self, prompts, sampling, seeds):
        return [Completion(self.outputs.get(prompt, "\nand so on"), 3, "stop") for prompt in prompts]


PIG, PRIMES, JSON, SEASONS, WATER = (
    "Translate this sentence into Pig Latin: hello world",
    "List three prime numbers greater than ten.",
    'Return a JSON object with the keys "name" and "age".',
    "Describe the four seasons.",
    "Water freezes at",
)
BASE = {PRIMES: "\nList three prime numbers greater than 20.", WATER: " 0 degrees Celsius."}


def test_a_base_model_passes():
    found = run_sentinels(Scripted(BASE), lambda prompt: f"Instruction: {prompt}\nResponse:")
    assert [s.passed for s in found] == [True] * 5 + [None] * 5
    refuse_unless_base(found)


@pytest.mark.parametrize(
    ("prompt", "output"),
    [
        (PIG, "\nEllo-hay orld-way"),
        (PRIMES, "\n1. 11\n2. 13\n3. 17"),
        (PRIMES, " 11, 13, and 17"),
        (JSON, '\n```json\n{"name": "Ann", "age": 3}\n```'),
        (JSON, '{"name": "Ann", "age":'),
        (SEASONS, " Spring is warm and summer is hot."),
        (WATER, " the office until five."),
    ],
)
def test_what_an_instructed_model_says_is_refused(prompt, output):
    found = run_sentinels(Scripted(BASE | {prompt: output}), lambda text: f"Instruction: {text}\nResponse:")
    with pytest.raises(DistillError, match="E-SENTINEL"):
        refuse_unless_base(found)


def test_a_model_of_random_weights_is_no_base_model(backend):
    with pytest.raises(DistillError, match="completion"):
        refuse_unless_base(run_sentinels(backend, lambda prompt: f"Instruction: {prompt}\nResponse:"))
