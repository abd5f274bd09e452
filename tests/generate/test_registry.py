"""Models are opened by the name of a backend, and every way of opening one says which bytes it is made of."""

from __future__ import annotations

import pytest

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models import registry
from pytest_distill.pipelines.models.registry import ModelChoice, open_model


def test_a_folder_is_opened_with_transformers(tiny):
    opened = open_model(ModelChoice(model=str(tiny)))
    assert opened.provenance.model_name == "tiny"
    assert opened.provenance.model_revision == f"sha256:{opened.provenance.weights_sha256}"
    assert opened.backend.count_tokens(["Add 1 and 2."])[0] > 0


def test_a_server_needs_no_weights_here(tiny, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    choice = ModelChoice(model="big", backend="server", url="http://127.0.0.1:9/v1", tokenizer=str(tmp_path))
    opened = open_model(choice)
    assert (opened.provenance.model_name, opened.provenance.weights_sha256) == ("big", None)


@pytest.mark.parametrize(
    ("choice", "refusal"),
    [
        (ModelChoice(backend="abacus"), r"E-USAGE.*no backend 'abacus'"),
        (ModelChoice(model="big", backend="server"), "E-USAGE.*--tokenizer"),
        (ModelChoice(model="no/such-model"), "E-MODEL"),
    ],
)
def test_what_cannot_be_opened_is_refused(choice, refusal):
    with pytest.raises(DistillError, match=refusal):
        open_model(choice)


def test_a_shipped_model_without_weights_is_refused_in_words(monkeypatch):
    monkeypatch.setitem(registry.SHIPPED, "bare", "pytest_distill.contracts")
    with pytest.raises(DistillError, match="no weights of the model 'bare'"):
        open_model(ModelChoice(model="bare"))
