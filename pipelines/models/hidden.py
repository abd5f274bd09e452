"""Hidden states of a model: of any layer, of every token or of the last one of each text. Logits stay what they were, to the bit.

`HiddenStatesModel` is the model wrapper with the signature that the data pipeline's contract gives. `Backbone` is what a
classifier on hidden states stands on: a causal language model, or an encoder, that is read from a folder and stays frozen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pytest_distill.errors import Code, DistillError
from pytest_distill.measuring.embedding import digest, packaged
from pytest_distill.pipelines.models.loader import CleanModelLoader, find, load_encoder
from pytest_distill.pipelines.models.registry import located

DEFAULT_LAYER: Final = 24
PADDING: Final = -1  # the position of a token that only fills the batch
PACKAGED_ENCODER: Final = "minilm"  # the sentence encoder that the extra [embed] installs
Family = Literal["causal", "encoder"]
States = npt.NDArray[np.float32]


class HiddenStatesModel(nn.Module):
    """A causal language model of transformers, with its hidden states on request."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.layers = int(model.config.get_text_config().num_hidden_layers)
        self.hidden_dim = int(model.config.get_text_config().hidden_size)

    def forward(
        self,
        input_ids: torch.Tensor,
        positions: torch.Tensor,
        return_hidden_states: bool = False,
        hidden_layer: int = DEFAULT_LAYER,
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """Logits (batch, seq_len, vocab_size); with `return_hidden_states` also hidden states (batch, seq_len, hidden_dim).

        `positions` (batch, seq_len) count from 0 in each row; PADDING marks tokens that are none, which no other token sees.
        Layer n is what the nth block gives, counted from 1; of the last one, with the final norm, it is what the LM head reads.
        Raises E-LAYER for a layer that the model has not. Logits are the same bits either way.
        """
        if return_hidden_states:
            check_layer(hidden_layer, self.layers)
        output = self.model(**_inputs(input_ids, positions), use_cache=False, output_hidden_states=return_hidden_states)
        logits: torch.Tensor = output.logits
        return (logits, output.hidden_states[hidden_layer]) if return_hidden_states else logits

    def hidden(self, input_ids: torch.Tensor, positions: torch.Tensor, hidden_layer: int = DEFAULT_LAYER) -> torch.Tensor:
        """The hidden states alone, without the cost of the LM head. Raises E-LAYER."""
        return _hidden(self.model.base_model, input_ids, positions, hidden_layer, self.layers, use_cache=False)


def last_token(hidden_states: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """(batch, seq_len, dim) to (batch, 1, dim): the state of the last token that is not padding, wherever padding stands."""
    place = positions.argmax(dim=1)
    return hidden_states[torch.arange(len(place), device=place.device), place].unsqueeze(1)


def check_layer(layer: int, layers: int) -> None:
    """Raises E-LAYER unless 1 <= layer <= layers."""
    if isinstance(layer, bool) or not 1 <= layer <= layers:
        raise DistillError(Code.LAYER, f"there is no layer {layer}: the model has {layers}", f"Name one from 1 to {layers}.")


@dataclass(frozen=True)
class Backbone:
    """A frozen model and its tokenizer. `sha256` is `embedding.digest`: configuration, tokenizer, weights."""

    name: str
    family: Family
    sha256: str
    layers: int
    hidden_dim: int
    _network: Any  # gives hidden states: a HiddenStatesModel, or an encoder of transformers
    _encode: Callable[[list[str], int], list[list[int]]]  # texts, most tokens of each -> token ids

    def last_states(self, texts: Sequence[str], layer: int, *, max_tokens: int, batch_size: int = 32) -> States:
        """(texts, hidden_dim): the state of each text's last token, of its first `max_tokens`, in the order of `texts`.

        Equal texts are computed once, batches hold texts of like length. Raises E-LAYER, and E-DOMAIN for a text without tokens.
        """
        check_layer(layer, self.layers)
        distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        ids: list[list[int]] = self._encode(list(distinct), max_tokens)
        if not all(ids):
            raise DistillError(Code.DOMAIN, "a text has no token, so no last one either", "Blank rows have no domain: drop them.")
        order = sorted(range(len(ids)), key=lambda place: (len(ids[place]), ids[place]))
        states = np.empty((len(ids), self.hidden_dim), np.float32)
        for start in range(0, len(order), batch_size):
            places = order[start : start + batch_size]
            states[places] = self._last([ids[place] for place in places], layer)
        return states[[distinct[text] for text in texts]]

    def _last(self, ids: list[list[int]], layer: int) -> States:
        tokens, positions = padded(ids)
        with torch.inference_mode():
            if self.family == "causal":
                states = self._network.hidden(tokens, positions, layer)
            else:
                states = _hidden(self._network, tokens, positions, layer, self.layers)
            found: States = last_token(states, positions).squeeze(1).float().numpy()
        return found


def padded(rows: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and positions of rows of any length, padded on the right."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    positions = torch.tensor([[*range(len(row)), *[PADDING] * (width - len(row))] for row in rows])
    return ids, positions


def open_backbone(name: str) -> Backbone:
    """`tiny`, `minilm`, or a folder or name that `CleanModelLoader` finds; an encoder where config.json names no causal model.

    float32 on the processor, frozen. Raises E-MODEL, E-EXTRA-MISSING.
    """
    folder = packaged() if name == PACKAGED_ENCODER else find(located(name))
    shown = folder.name if Path(name).is_dir() else name
    try:
        architectures = json.loads((folder / "config.json").read_bytes()).get("architectures") or []
    except (OSError, ValueError) as error:
        raise DistillError(Code.MODEL, f"{folder.name} has no config.json that reads", "Name a checkpoint's folder.") from error
    if any(str(architecture).endswith("ForCausalLM") for architecture in architectures):
        loader = CleanModelLoader(str(folder))
        wrapped = HiddenStatesModel(loader.model())

        def cut(texts: list[str], longest: int) -> list[list[int]]:
            return [ids[:longest] for ids in loader.guard.encode(texts)]

        return Backbone(shown, "causal", digest(folder), wrapped.layers, wrapped.hidden_dim, wrapped, cut)
    network, tokenizer = load_encoder(folder)

    def encode(texts: list[str], longest: int) -> list[list[int]]:
        tokenizer.enable_truncation(min(longest, int(network.config.max_position_embeddings)))  # the closing token stays
        return [encoding.ids for encoding in tokenizer.encode_batch(texts)]

    layers, width = int(network.config.num_hidden_layers), int(network.config.hidden_size)
    return Backbone(shown, "encoder", digest(folder), layers, width, network, encode)


def _inputs(input_ids: torch.Tensor, positions: torch.Tensor) -> dict[str, torch.Tensor]:
    inputs = {"input_ids": input_ids, "position_ids": positions.clamp(min=0)}
    real = positions >= 0
    return inputs if bool(real.all()) else {**inputs, "attention_mask": real.long()}


def _hidden(network: Any, ids: torch.Tensor, positions: torch.Tensor, layer: int, layers: int, **options: bool) -> torch.Tensor:
    check_layer(layer, layers)
    states: torch.Tensor = network(**_inputs(ids, positions), output_hidden_states=True, **options).hidden_states[layer]
    return states
