"""Is it a base model? It must not follow bare instructions, and it must complete plain text. Judged by content, not by form.

The gate that looks at the stored outputs has an opinion of its own and shares no code with this module.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from pytest_distill.contracts.stage1 import SENTINEL_TOKENS, SENTINELS, Sentinel
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models.backend import Backend, Sampling

_GREEDY = Sampling(max_new_tokens=SENTINEL_TOKENS)


def run_sentinels(backend: Backend, produce: Callable[[str], str]) -> tuple[Sentinel, ...]:
    """Every sentinel, greedy and 30 tokens: bare, and in the prompt that `produce` makes of it, which is only reported."""
    bare = backend.generate([task.prompt for task in SENTINELS], _GREEDY, [0] * len(SENTINELS))
    prompts = [produce(task.prompt) for task in SENTINELS]
    production = backend.generate(prompts, _GREEDY, [0] * len(SENTINELS))
    found = [
        Sentinel(
            name=task.name,
            shape="bare",
            prompt=task.prompt,
            output=answer.text,
            output_tokens=answer.tokens,
            finish_reason=answer.finish_reason,
            expected=task.expected,
            passed=answers(task.name, answer.text) == (task.expected == "completed"),
        )
        for task, answer in zip(SENTINELS, bare, strict=True)
    ]
    found += [
        Sentinel(
            name=task.name,
            shape="production",
            prompt=prompt,
            output=answer.text,
            output_tokens=answer.tokens,
            finish_reason=answer.finish_reason,
            expected="reported",
            passed=None,
        )
        for task, prompt, answer in zip(SENTINELS, prompts, production, strict=True)
    ]
    return tuple(found)


def refuse_unless_base(sentinels: Sequence[Sentinel]) -> None:
    """Raises E-SENTINEL when one of them failed."""
    failed = [s for s in sentinels if s.passed is False]
    if failed:
        shown = "; ".join(f"{s.name}: {s.output[:60]!r}" for s in failed)
        raise DistillError(
            Code.SENTINEL,
            f"the model does not behave as a base model ({shown})",
            "Use the base checkpoint, not one tuned to instructions.",
        )


def answers(name: str, output: str) -> bool:
    """Does the output do what the sentinel's prompt asks?"""
    return _ANSWERED[name](output)


def _pig_latin(output: str) -> bool:
    words = set(re.findall(r"[a-z]+", output.lower().replace("-", "")))
    return bool(words & {"ellohay", "orldway"})


def _three_primes(output: str) -> bool:
    """Are the first three numbers different primes above ten? Item numbers of a list are not numbers of the answer."""
    said = re.sub(r"(?m)^\s*\d{1,2}[.)]\s+", "", output)
    numbers = [int(n) for n in re.findall(r"\d{1,6}", said)[:3]]
    return len(set(numbers)) == 3 and all(n > 10 and all(n % d for d in range(2, n)) for n in numbers if n < 10**4)


def _json_object(output: str) -> bool:
    start = output.find("{")
    if start < 0:
        return False
    try:
        value = json.JSONDecoder().raw_decode(output, start)[0]
    except ValueError:
        value = dict.fromkeys(re.findall(r'"(name|age)"\s*:', output[start:]))  # 30 tokens may end inside the object
    return {"name", "age"} <= set(value)


def _seasons(output: str) -> bool:
    said = re.findall(r"(?i)\b(spring|summer|autumn|fall|winter)\b[ ,:*–-]*(?:season )?(?:\w+s|is|are|has|bring|:)\b", output)
    return len({season.lower() for season in said}) >= 2


def _freezing(output: str) -> bool:
    return re.match(r"[^.\n]{0,80}?(?<![\d.])(?:0|zero|32|273(?:\.15)?)(?!\d)", output.lstrip()) is not None


_ANSWERED: dict[str, Callable[[str], bool]] = {
    "pig_latin": _pig_latin,
    "three_primes": _three_primes,
    "json_keys": _json_object,
    "seasons": _seasons,
    "completion": _freezing,
}
