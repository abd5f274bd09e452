"""Decoding held to a JSON Schema: llguidance says which tokens may come next, our own decoding picks among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.loader import require

if TYPE_CHECKING:
    import torch


class JsonGrammars:
    """Grammars for one tokenizer. JSON is compact, keys come in the order of the schema, so a reply has one spelling."""

    def __init__(self, tokenizer: Any, *, vocabulary: int, ends: list[int]) -> None:
        """`vocabulary` is the width of the model's logits; `ends` the tokens that end its text."""
        self._guidance = require("llguidance")
        self._tokenizer = require("llguidance.hf").from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
        self._grammars: dict[bytes, str] = {}

    def constraint(self, schema: Mapping[str, Any]) -> JsonConstraint:
        """A new one for one reply. Raises E-USAGE for a schema that no grammar can be made of."""
        key = storage.canonical_json(schema)
        if key not in self._grammars:
            import json

            matchers = self._guidance.LLMatcher
            self._grammars[key] = matchers.grammar_from_json_schema(json.dumps(schema), {"whitespace_flexible": False})
        matcher = self._guidance.LLMatcher(self._tokenizer, self._grammars[key])
        if matcher.is_error():
            raise DistillError(Code.USAGE, f"no grammar for this JSON Schema: {matcher.get_error()}", "Simplify the schema.")
        return JsonConstraint(matcher)


class JsonConstraint:
    """One reply on its way through the grammar; a `Constraint` of the decoder."""

    def __init__(self, matcher: Any) -> None:
        self._matcher = matcher

    def forbid(self, scores: torch.Tensor) -> None:
        torch = require("torch")
        allowed = np.unpackbits(np.frombuffer(self._matcher.compute_bitmask(), np.uint8), bitorder="little")[: len(scores)]
        scores.masked_fill_(torch.from_numpy(allowed == 0), -torch.inf)

    def take(self, token: int) -> bool:
        if not self._matcher.consume_token(token):
            raise DistillError(Code.MODEL, f"the grammar refuses token {token}, which it allowed", "This is a defect; report it.")
        return bool(self._matcher.is_stopped())
