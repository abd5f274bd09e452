"""Hidden states: any layer on request, logits the same bits, and the last token that is one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pytest_distill.errors import DistillError
from pytest_distill.pipelines.models.hidden import (
    DEFAULT_LAYER,
    PADDING,
    HiddenStatesModel,
    last_token,
    open_backbone,
    padded,
)

TEXTS = ["Add 1 and 2.", "Name three metals that are liquid or soft at room temperature.", "x", "Add 1 and 2."]


@pytest.fixture(scope="module")
def wrapped(loader):
    return HiddenStatesModel(loader.model())


@pytest.fixture(scope="module")
def inputs(loader):
    return padded(loader.guard.encode(TEXTS))


def test_logits_are_the_same_bits_whether_states_are_asked_for_or_not(wrapped, inputs):
    with torch.inference_mode():
        alone = wrapped(*inputs)
        logits, states = wrapped(*inputs, return_hidden_states=True, hidden_layer=1)
    assert torch.equal(alone, logits)
    assert states.shape == (*inputs[0].shape, wrapped.hidden_dim)


def test_logits_are_those_of_the_model_without_the_wrapper(wrapped, loader):
    ids, positions = padded(loader.guard.encode(TEXTS[:1]))
    with torch.inference_mode():
        assert torch.equal(wrapped(ids, positions), wrapped.model(ids, use_cache=False).logits)


def test_states_are_those_of_the_named_layer(wrapped, inputs):
    seen = {}
    handles = [
        block.register_forward_hook(lambda _module, _inputs, output, number=number: seen.update({number: output}))
        for number, block in enumerate(wrapped.model.model.layers, start=1)
    ]
    with torch.inference_mode():
        first = wrapped(*inputs, return_hidden_states=True, hidden_layer=1)[1]
        last = wrapped(*inputs, return_hidden_states=True, hidden_layer=wrapped.layers)[1]
    for handle in handles:
        handle.remove()
    assert torch.equal(first, seen[1])
    assert not torch.equal(first, last)
    with torch.inference_mode():  # of the last layer: what the LM head reads
        assert torch.equal(wrapped.model.lm_head(last), wrapped(*inputs))
        assert torch.equal(wrapped.hidden(*inputs, hidden_layer=1), first)


@pytest.mark.parametrize("layer", [0, -1, 3, 24, True])
def test_a_layer_out_of_range_is_refused_by_name(wrapped, inputs, layer):
    with pytest.raises(DistillError, match=r"E-LAYER.*the model has 2"):
        wrapped(*inputs, return_hidden_states=True, hidden_layer=layer)


def test_the_default_is_layer_24_and_a_model_without_it_says_so(wrapped, inputs):
    assert DEFAULT_LAYER == 24
    with pytest.raises(DistillError, match="no layer 24"):
        wrapped(*inputs, return_hidden_states=True)
    assert isinstance(wrapped(*inputs), torch.Tensor)  # a layer that nobody asked for is not looked at


def test_the_last_token_is_not_padding_wherever_padding_stands(wrapped, loader):
    short, long = loader.guard.encode(TEXTS[:2])
    gap = len(long) - len(short)
    right = (
        torch.tensor([[*short, *[0] * gap], long]),
        torch.tensor([[*range(len(short)), *[PADDING] * gap], [*range(len(long))]]),
    )
    left = torch.tensor([[*[0] * gap, *short], long]), torch.tensor([[*[PADDING] * gap, *range(len(short))], [*range(len(long))]])
    with torch.inference_mode():
        alone = last_token(wrapped.hidden(*padded([short]), hidden_layer=2), padded([short])[1])[0]
        for ids, positions in (right, left):
            together = last_token(wrapped.hidden(ids, positions, hidden_layer=2), positions)
            assert together.shape == (2, 1, wrapped.hidden_dim)
            torch.testing.assert_close(together[0], alone, atol=1e-5, rtol=1e-5)


def test_a_backbone_gives_one_state_a_text_whatever_stands_beside_it(tiny):
    backbone = open_backbone(str(tiny))
    assert (backbone.family, backbone.layers) == ("causal", 2)
    states = backbone.last_states(TEXTS, 2, max_tokens=64, batch_size=2)
    assert states.shape == (len(TEXTS), backbone.hidden_dim)
    assert (states[0] == states[3]).all()
    np.testing.assert_allclose(backbone.last_states(TEXTS[1:2], 2, max_tokens=64)[0], states[1], atol=1e-5)
    cut = backbone.last_states([TEXTS[1]], 2, max_tokens=3)
    assert not np.allclose(cut[0], states[1])
    with pytest.raises(DistillError, match="E-LAYER"):
        backbone.last_states(TEXTS, 3, max_tokens=64)
    with pytest.raises(DistillError, match="E-DOMAIN"):
        backbone.last_states(["a", ""], 1, max_tokens=64)


def test_other_weights_are_another_backbone(tiny, tmp_path):
    from conftest import save_tiny

    assert open_backbone(str(save_tiny(tmp_path / "other", seed=1))).sha256 != open_backbone(str(tiny)).sha256


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(DistillError, match="E-MODEL"):
        open_backbone(str(tmp_path))
