"""The backend in this process: transformers' model, our own decoding, so that every item is sampled with its own seed.

Prompts of one call mostly begin alike (examples, rubric). The tokens they share are computed once, and the keys and values
handed to every row; the rest is padded on the left, between the shared part and its own.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from pytest_distill.pipelines.models.backend import Completion, FinishReason, Sampling, cut_at_stop
from pytest_distill.pipelines.models.guards import InputGuard

MIN_SHARED = 8  # tokens; below, sharing costs more than it saves


class Constraint(Protocol):
    """What an item's text has to be, token by token (see `constrained`)."""

    def forbid(self, scores: torch.Tensor) -> None:
        """Sets the scores (vocabulary,) of tokens that cannot come next to -inf."""

    def take(self, token: int) -> bool:
        """Moves on by a token; True when nothing can follow."""


@dataclass
class _Row:
    """One item that is being generated."""

    ids: list[int]
    generator: torch.Generator
    constraint: Constraint | None = None
    new: list[int] = field(default_factory=list)
    text: str = ""
    finish: FinishReason | None = None


class TorchDecoder:
    """Token ids in, completions out: our own decoding of a transformers causal language model."""

    def __init__(self, model: Any, tokenizer: Any, *, batch_size: int = 32) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self.batch_size = batch_size
        # transformers renamed it in 5.24 or before, and warns of the old name
        self._cache_name = "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"
        self.ends = {tokenizer.eos_token_id} - {None}
        configured = model.generation_config.eos_token_id
        self.ends |= set(configured) if isinstance(configured, list) else {configured} - {None}

    def complete(
        self,
        encoded: list[list[int]],
        sampling: Sampling,
        seeds: Sequence[int],
        constraints: Sequence[Constraint | None] | None = None,
    ) -> list[Completion]:
        """One completion for each prompt of token ids, sampled with the seed and held to the constraint of its position."""
        held = constraints or [None] * len(encoded)
        rows = [
            _Row(ids, torch.Generator().manual_seed(seed), constraint)
            for ids, seed, constraint in zip(encoded, seeds, held, strict=True)
        ]
        with torch.inference_mode():
            shared, prefix = self._prefix(encoded)
            for places in self._chunks(encoded):
                self._decode([rows[place] for place in places], sampling, shared, prefix)
        return [Completion(row.text, len(row.new), row.finish or "length") for row in rows]

    def _decode(self, rows: list[_Row], sampling: Sampling, shared: int, prefix: Any) -> None:
        """Writes into the rows until every one has ended."""
        logits, cache, mask = self._read([row.ids for row in rows], shared, prefix)
        while True:
            chosen = [self._end(row) if row.finish else self._choose(row, logits[i], sampling) for i, row in enumerate(rows)]
            for row, token in zip(rows, chosen, strict=True):
                if row.finish is None:
                    self._append(row, token, sampling)
            if all(row.finish for row in rows):
                return
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = mask.sum(dim=1, keepdim=True) - 1
            ids = torch.tensor(chosen, device=mask.device).unsqueeze(1)
            logits, cache = self._forward(ids, mask, positions, cache)

    def _end(self, row: _Row) -> int:
        return row.new[-1] if row.new else row.ids[-1]  # fills the place of a row that has ended; nothing reads what follows

    def _append(self, row: _Row, token: int, sampling: Sampling) -> None:
        if token in self.ends:
            row.finish = "stop"
            return
        row.new.append(token)
        done = row.constraint is not None and row.constraint.take(token)
        row.text = self._tokenizer.decode(row.new, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        stopped = cut_at_stop(row.text, sampling.stop)
        if stopped is not None:
            row.text, row.finish = stopped, "stop"
        elif done:
            row.finish = "stop"
        elif len(row.new) >= sampling.max_new_tokens:
            row.finish = "length"

    def _choose(self, row: _Row, logits: torch.Tensor, sampling: Sampling) -> int:
        """The next token of one row: (vocabulary,) logits to an id. Penalty and nucleus as transformers computes them.

        The draw walks the distribution in the order of token ids, in float64: rounding that differs between batch sizes moves a
        bound by 1e-7 or so, where a walk by rank would swap neighbours.
        """
        scores = logits.double()
        if row.constraint is not None:
            scores = scores.clone()
            row.constraint.forbid(scores)
        if sampling.repetition_penalty != 1.0:
            seen = torch.tensor(sorted({*row.ids, *row.new}))
            values = scores[seen]
            scores[seen] = torch.where(values < 0, values * sampling.repetition_penalty, values / sampling.repetition_penalty)
        if not sampling.do_sample:
            return int(scores.argmax())
        probabilities = torch.softmax(scores / sampling.temperature, dim=-1)
        if sampling.top_p < 1.0:
            ordered, order = probabilities.sort(descending=True, stable=True)
            beyond = ordered.cumsum(0) - ordered >= sampling.top_p
            probabilities[order[beyond]] = 0.0
        total = probabilities.cumsum(0)
        point = torch.rand((), generator=row.generator, dtype=torch.float64) * total[-1]
        return int(torch.searchsorted(total, point, right=True).clamp(max=int(probabilities.nonzero()[-1])))

    def _prefix(self, encoded: list[list[int]]) -> tuple[int, Any]:
        """How many tokens all prompts begin with, and the keys and values of those; 0 and None when it is not worth it."""
        shared = _shared(encoded)
        if not shared:
            return 0, None
        ids = torch.tensor([encoded[0][:shared]], device=self._model.device)
        return shared, self._forward(ids, None, None, None)[1]

    def _read(self, prompts: list[list[int]], shared: int, prefix: Any) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Logits at the last position of each prompt (rows, vocabulary) in float32, the cache behind it, and its mask."""
        rests = [ids[shared:] for ids in prompts]
        width = max(map(len, rests))
        ids = torch.tensor([[0] * (width - len(rest)) + rest for rest in rests])
        mask = torch.tensor([[1] * shared + [0] * (width - len(rest)) + [1] * len(rest) for rest in rests])
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)[:, shared:]
        device = self._model.device
        cache = None
        if prefix is not None:
            cache = copy.deepcopy(prefix)
            cache.batch_repeat_interleave(len(prompts))
        logits, cache = self._forward(ids.to(device), mask.to(device), positions.to(device), cache)
        return logits, cache, mask.to(device)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor | None, cache: Any
    ) -> tuple[torch.Tensor, Any]:
        """Logits behind the last token of each row, in float32, and the cache that holds it."""
        output = self._model(
            ids, attention_mask=mask, position_ids=positions, use_cache=True, logits_to_keep=1, **{self._cache_name: cache}
        )
        return output.logits[:, -1].float().cpu(), getattr(output, self._cache_name)

    def _chunks(self, encoded: list[list[int]]) -> Iterator[list[int]]:
        """Places of prompts of like length, batch by batch."""
        order = sorted(range(len(encoded)), key=lambda place: len(encoded[place]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]


class TorchBackend(TorchDecoder):
    """A transformers causal language model behind the protocol `Backend`. Get one from `CleanModelLoader.load`."""

    def __init__(self, model: Any, guard: InputGuard, *, batch_size: int = 32) -> None:
        super().__init__(model, guard.tokenizer, batch_size=batch_size)
        self.guard = guard

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self.guard.tokenizer(list(texts), add_special_tokens=False)["input_ids"]] if texts else []

    def next_token_logprobs(self, prompts: Sequence[str], tokens: Sequence[str]) -> list[tuple[float, ...]]:
        wanted = self.guard.single_tokens(tokens)
        encoded = self.guard.encode(prompts)
        found: list[tuple[float, ...]] = [()] * len(prompts)
        with torch.inference_mode():
            shared, prefix = self._prefix(encoded)
            for places in self._chunks(encoded):
                logits, _, _ = self._read([encoded[place] for place in places], shared, prefix)
                logprobs = torch.log_softmax(logits.double(), dim=-1)[:, wanted].clamp(max=0.0)
                for place, values in zip(places, logprobs.tolist(), strict=True):
                    found[place] = tuple(values)
        return found

    def generate(self, prompts: Sequence[str], sampling: Sampling, seeds: Sequence[int]) -> list[Completion]:
        return self.complete(self.guard.encode(prompts), sampling, seeds)


def _shared(encoded: list[list[int]]) -> int:
    """How many tokens all prompts begin with, one short of the shortest, so that each has one of its own."""
    if len(encoded) < 2:
        return 0
    first, last = min(encoded), max(encoded)  # in lexicographic order these two differ the earliest
    shortest = min(map(len, encoded)) - 1
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    length = min(length, shortest)
    return length if length >= MIN_SHARED else 0
