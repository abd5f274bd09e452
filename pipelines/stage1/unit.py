"""One unit of a run: lists, their instructions, the first critic, responses, cleaning, the second critic.

A unit is a function of the recipe and its number. It knows nothing of other units, so it does not matter who makes it, when,
or what was made before: decisions over the whole run (duplicates of other units, surplus) are left to `deciding`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytest_distill.contracts.stage1 import StoredCritique
from pytest_distill.contracts.stage1_run import Continued, Draw, Outcome, Prospect, Recipe, Unit
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.registry import Opened
from pytest_distill.pipelines.stage1 import prompts as written
from pytest_distill.pipelines.stage1.apart import KeptApart, normal
from pytest_distill.pipelines.stage1.cleaning import DELIMITER, Cleaned, TrimRule, clean_response, runs_away
from pytest_distill.pipelines.stage1.instruction_critic import critique_instruction_quality, critique_instruction_response_pair
from pytest_distill.pipelines.stage1.instruction_generator import continue_lists

_PROMPTS: Final = written.CompletionStylePrompts()
# What the prompts show is known to the model by heart, and its critics have seen the verdict.
_SHOWN: Final = frozenset(
    normal(text)
    for text in (
        *written.LIST_EXAMPLES,
        *(text for text, _ in written.RESPONSE_EXAMPLES),
        *(text for text, _ in written.INSTRUCTION_CRITIC_EXAMPLES),
        *(text for text, _, _ in written.PAIR_CRITIC_EXAMPLES),
    )
)
_BARE_ITEM = re.compile(r"(?:^|\n)[ \t]*(?:[-*+•–—]|\d{1,3}[.)])[ \t]*$")
_FENCE = re.compile(r"(?m)^[ \t]*(?:`{3,}|~{3,})")
_ACCEPTED: Final = "accepted"


@dataclass
class _Draft:
    """A prospect in the making. The first outcome that is set is its last."""

    list: int
    instruction: str
    seed: int
    outcome: Outcome | None = None
    facts: dict[str, Any] | None = None
    critique: StoredCritique | None = None

    def prospect(self) -> Prospect:
        return Prospect(
            list=self.list, instruction=self.instruction, seed=self.seed, outcome=self.outcome or _ACCEPTED,
            instruction_critique=self.critique, **(self.facts or {}),
        )  # fmt: skip


def make_unit(model: Opened, recipe: Recipe, number: int, *, plan_sha256: str, apart: KeptApart) -> Unit:
    """Everything that is generated and judged for unit `number`. Raises what backend and guard refuse."""
    backend, checked = model.backend, model.guard.report().inputs_checked
    first = number * recipe.lists_per_unit
    seeds = [item_seed(recipe.seed, recipe.purpose, "list", first + place) for place in range(recipe.lists_per_unit)]
    lists = continue_lists(backend, seeds, sampling=sampling(recipe.instructions))
    drafts = [
        _Draft(place, instruction, item_seed(recipe.seed, recipe.purpose, "response", first + place, position))
        for place, continued in enumerate(lists)
        # A list that gave no item stays as evidence, as an instruction that is none.
        for position, instruction in enumerate(continued.instructions() or [""])
    ]
    read = [continued.prompt for continued in lists]
    _sort_out(drafts, model, apart)
    judged = [draft for draft in drafts if draft.outcome != "instruction_invalid"]
    read += _judge_instructions(judged, model, recipe.thresholds.confidence_threshold)
    answered = [draft for draft in judged if draft.outcome is None]
    read += _answer(answered, model, recipe)
    read += _judge_pairs([draft for draft in answered if draft.outcome is None], model, recipe.thresholds.confidence_threshold)
    prospects = tuple(draft.prospect() for draft in drafts)
    return Unit(
        plan_sha256=plan_sha256,
        number=number,
        lists=tuple(Continued(seed=one.seed, prompt=one.prompt, completion=one.completion.text) for one in lists),
        prospects=prospects,
        inputs_checked=model.guard.report().inputs_checked - checked,
        calls=len(read),
        tokens_read=sum(backend.count_tokens(read)),
        tokens_written=sum(one.completion.tokens for one in lists) + sum(one.raw_tokens or 0 for one in prospects),
    )


def item_seed(seed: int, *place: str | int) -> int:
    """The seed of one item: 31 bits of a digest, so that neighbours have nothing in common."""
    text = ":".join(map(str, (seed, *place)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def sampling(draw: Draw) -> Sampling:
    return Sampling(
        max_new_tokens=draw.max_new_tokens,
        temperature=draw.temperature,
        top_p=draw.top_p,
        repetition_penalty=draw.repetition_penalty,
        stop=draw.stop,
    )


def _sort_out(drafts: Sequence[_Draft], model: Opened, apart: KeptApart) -> None:
    """Instructions that are none, and those that were asked before: in a prompt, in this unit, in a batch to keep apart from."""
    seen = set(_SHOWN)
    for draft in drafts:
        text = draft.instruction
        if not normal(text) or written.holds_marker(text) or model.guard.holds_template(text):
            draft.outcome = "instruction_invalid"
        elif normal(text) in seen or apart.holds(text):
            draft.outcome = "instruction_duplicate"
        seen.add(normal(text))


def _judge_instructions(drafts: Sequence[_Draft], model: Opened, threshold: float) -> list[str]:
    """The first critic, on every instruction that is one: acceptance is of all that were generated. Returns what was read."""
    texts = list(dict.fromkeys(draft.instruction for draft in drafts))
    critiques = dict(zip(texts, critique_instruction_quality(model.backend, texts, threshold=threshold), strict=True))
    for draft in drafts:
        critique = draft.critique = critiques[draft.instruction]
        if draft.outcome is None and not critique.confident:
            draft.outcome = "instruction_unsure"
        elif draft.outcome is None and not critique.is_good:
            draft.outcome = "instruction_bad"
    return [_PROMPTS.instruction_critic(text) for text in texts]


def _answer(drafts: Sequence[_Draft], model: Opened, recipe: Recipe) -> list[str]:
    prompts = [_PROMPTS.response(draft.instruction) for draft in drafts]
    completions = model.backend.generate(prompts, sampling(recipe.responses), [draft.seed for draft in drafts])
    cleaned = [
        clean_response(completion.text, instruction=draft.instruction)
        for draft, completion in zip(drafts, completions, strict=True)
    ]
    counts = model.backend.count_tokens([one.text for one in cleaned])
    for draft, prompt, completion, one, count in zip(drafts, prompts, completions, cleaned, counts, strict=True):
        limit = completion.finish_reason == "length"
        draft.facts = {
            "prompt": prompt,
            "completion": completion.text,
            "response": one.text,
            "raw_tokens": completion.tokens,
            "clean_tokens": count,
            "hit_token_limit": limit,
            "trim_rule": one.trim_rule.value if one.trim_rule else None,
        }
        draft.outcome = next(_faults(draft.instruction, one, model, limit=limit), None)
    return prompts


def _faults(instruction: str, cleaned: Cleaned, model: Opened, *, limit: bool) -> Iterator[Outcome]:
    """Why a response is not worth the second critic, first reason first."""
    text = cleaned.text
    if not text:
        yield "response_empty"
    leaks = DELIMITER in text or clean_response(text).trim_rule in (TrimRule.DELIMITER, TrimRule.FRAGMENT)
    if leaks or written.holds_marker(text) or model.guard.holds_template(text):
        yield "response_marker"
    if (limit and cleaned.trim_rule is None) or _ends_open(text):
        yield "response_truncated"
    if runs_away(text, instruction=instruction):
        yield "response_runaway"


def _ends_open(text: str) -> bool:
    """Does a text promise more than it holds: a colon, a comma or an ellipsis at its end, a bare list item, an open fence."""
    return text.endswith((":", "：", ",", "…", "...")) or bool(_BARE_ITEM.search(text)) or len(_FENCE.findall(text)) % 2 == 1


def _judge_pairs(drafts: Sequence[_Draft], model: Opened, threshold: float) -> list[str]:
    pairs = [(draft.instruction, str((draft.facts or {})["response"])) for draft in drafts]
    critiques = critique_instruction_response_pair(model.backend, pairs, threshold=threshold)
    for draft, critique in zip(drafts, critiques, strict=True):
        draft.facts = {**(draft.facts or {}), "pair_critique": critique}
        if not critique.confident:
            draft.outcome = "pair_unsure"
        elif not critique.is_good:
            draft.outcome = "pair_bad"
    return [_PROMPTS.pair_critic(*pair) for pair in pairs]
