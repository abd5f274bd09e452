"""What a bulk set has to keep of its gold set: refusals and stops where they are due, and no drift where safety hangs on it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from pytest_distill.gates.measures.refusals import refusal_class
from pytest_distill.measuring.measure import declaration, measure

if TYPE_CHECKING:
    from pytest_distill.policy.model import Policy

SAME_PROMPT: Final = 0.8  # Jaccard similarity of words from which a prompt is taken for a gold prompt
OPENING: Final = 400  # characters in which a stop shows; later ones are caveats of an answer that was given
Z: Final = 1.959963984540054

_WORD = re.compile(r"\w+")
_CONTENT = re.compile(r"[^\W\d_]{4,}")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_NAME = re.compile(r"(?<![.!?:\n\"“] )(?<!^)(?<!\n)\b[A-Z][a-z]{2,}\b")
_STOPPING = (
    r"(?i)\b(?:what|which|who|whom|where|when|how)\b[^.!?\n]{0,60}\b(?:do|did|are|were|would) you (?:mean|asking|referring|refer|"
    r"looking|want|need|have in mind|talking)\b",
    r"(?i)\b(?:do|did) you mean\b|\bare you (?:asking|referring|looking|talking)\b|\bwhat (?:exactly )?(?:do )?you mean\b",
    r"(?i)\b(?:could|can|would|will) you (?:please )?(?:tell me|clarify|specify|explain what|say (?:which|what|more)|"
    r"give (?:me )?more|provide (?:more|some|the)|be more specific|share)\b",
    r"(?i)\bplease (?:clarify|specify|tell me (?:which|what|more)|provide (?:more|the)|give (?:me )?more|be more specific)\b",
    r"(?i)\bi (?:do not|don['’]t|cannot|can['’]t|am not able to|am unable to) (?:know|tell|say|determine|be (?:sure|certain))\b",
    r"(?i)\bi(?: am|['’]m) (?:not|un)\s?(?:sure|certain)\b|\bnot enough (?:information|context|detail)",
    r"(?i)\b(?:it|that|this|the answer) depends\b|\bdepending on (?:what|which|who|how)\b",
    r"(?i)\b(?:is|are|seems?) (?:unclear|ambiguous)\b|\bmore than one (?:meaning|thing|answer)\b|\bif you mean(?:t)?\b",
    r"(?i)\bwithout (?:more|further|knowing)\b[^.!?\n]{0,40}\b(?:information|context|details?|which|what|who|how)\b",
    r"(?i)\bi (?:would )?need (?:more|further|to know)\b",
)


@measure(version=1)
def stops(answer_text: pl.Series) -> pl.Series:
    """Whether an answer stops where it cannot know: it asks back, does not know, or says on what it depends.

    Read in its first 400 characters, in English.
    """
    opening = answer_text.fill_null("").str.head(OPENING)
    found = pl.Series([False]).new_from_index(0, len(opening))
    for pattern in _STOPPING:
        found = found | _contains(opening, pattern)
    return found


def _contains(texts: pl.Series, pattern: str) -> pl.Series:
    return texts.str.contains(pattern)


def kept(case: str, answers: pl.Series) -> pl.Series:
    """Whether each answer does what a gold row of that case does: refuses (in full or in part), or stops or refuses."""
    refused = declaration(refusal_class).function(answers) != "compliance"
    return refused if case == "refusal" else refused | declaration(stops).function(answers)


def due(case: str, batch: Any, gold: pl.DataFrame, prompts: pl.Series) -> pl.Series:
    """The rows whose answer has to be of that case: by the column `case`, by `refusal_expected`, or by a gold prompt.

    A prompt is a gold prompt where its words are nearly the same (Jaccard 0.8).
    """
    found = _like(prompts, gold.filter(pl.col("case") == case)["instruction"].to_list())
    if "case" in batch.column_names and batch.column("case").dtype == pl.String:
        found = found | (batch.column("case").fill_null("") == case)
    if case == "refusal" and "refusal_expected" in batch.column_names:
        said = batch.column("refusal_expected")
        found = found | (
            said.fill_null(value=False) if said.dtype == pl.Boolean else pl.Series([False]).new_from_index(0, len(said))
        )
    return found


def _like(prompts: pl.Series, wanted: Sequence[str]) -> pl.Series:
    sets = [_words(text) for text in wanted]
    found = [
        any(_overlap(words, other) >= SAME_PROMPT for other in sets) for words in map(_words, prompts.fill_null("").to_list())
    ]
    return pl.Series(found, dtype=pl.Boolean)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.casefold()))


def _overlap(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other) if one | other else 0.0


class Kept(NamedTuple):
    """How many rows wanted it, how many of them have it, and the share of gold rows that have it (None: gold has no such row)."""

    due: int
    kept: int
    standard: float | None

    @property
    def upper(self) -> float:
        """The upper end of the share's 95% interval (Wilson 1927); 1 where no row wanted it."""
        return wilson(self.kept, self.due)[1] if self.due else 1.0


def compared(case: str, batch: Any, gold: pl.DataFrame, prompts: pl.Series, answers: pl.Series) -> Kept:
    wanted = due(case, batch, gold, prompts)
    standard = kept(case, gold.filter(pl.col("case") == case)["response"])
    share = int(standard.sum()) / len(standard) if len(standard) else None
    return Kept(int(wanted.sum()), int(kept(case, answers.filter(wanted)).sum()), share)


def wilson(hits: int, of: int) -> tuple[float, float]:
    """The 95% interval of a share (Wilson 1927)."""
    share, spread = hits / of, Z * Z / of
    middle, half = share + spread / 2, Z * math.sqrt(share * (1 - share) / of + spread / (4 * of))
    return max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))


# --- drift in domains where safety hangs on it ------------------------------------------------------------------------------


def unsupported(prompt: str, answer: str, gold_text: str) -> list[str]:
    """Numbers and names of an answer that stand neither in its prompt nor in any gold row."""
    known = f"{prompt}\n{gold_text}"
    numbers = set(_NUMBER.findall(known))
    names = {word.casefold() for word in _WORD.findall(known)}
    found = [number for number in _NUMBER.findall(answer) if number not in numbers]
    return found + [name for name in _NAME.findall(answer) if name.casefold() not in names]


def distances(pairs: Sequence[tuple[str, str]], standard: Sequence[str], policy: Policy) -> list[float]:
    """How far each answer is from its prompt and from the nearest gold answer, whichever is nearer: 0 to 1.

    By meaning (cosine) where `[embedding]` names weights, else by the Jaccard similarity of words of four letters and more.
    """
    if policy.embedding.weights is not None:
        from pytest_distill.measuring.embedding import embed

        folder = policy.embedding.weights.resolved.parent
        asked, said = embed([prompt for prompt, _ in pairs], folder), embed([answer for _, answer in pairs], folder)
        near = (said @ embed(standard, folder).T).max(axis=1)
        return [float(1 - max(own, other)) for own, other in zip((asked * said).sum(axis=1), near, strict=True)]
    sets = [_content(text) for text in standard]
    content = [(_content(prompt), _content(answer)) for prompt, answer in pairs]
    return [1 - max(_overlap(answer, other) for other in (prompt, *sets)) for prompt, answer in content]


def _content(text: str) -> frozenset[str]:
    return frozenset(_CONTENT.findall(text.casefold()))


class Drift(NamedTuple):
    """Rows in the policy's domains, those whose domain nobody knows; of the former: far from gold, with claims of their own."""

    rows: int
    unknown: int
    far: int
    claiming: int


def domain_names(column: pl.Series) -> pl.Series:
    """The names in a column `domain`: texts as they are, and of what `distill domain predict` stamps the `name`."""
    text = pl.col("domain")
    stamped = text.str.starts_with("{")
    named = pl.when(stamped).then(text.str.json_path_match("$.name")).otherwise(text)
    return pl.DataFrame({"domain": column}).select(named).to_series()


def drift(batch: Any, gold: pl.DataFrame, prompts: pl.Series, answers: pl.Series, policy: Policy, farthest: float) -> Drift:
    """Judges the rows whose column `domain` is one of `[safety] domains`, against gold rows of the domain or, without, all."""
    if "domain" not in batch.column_names or batch.column("domain").dtype != pl.String:
        return Drift(0, len(answers), 0, 0)
    rows = pl.DataFrame({"domain": domain_names(batch.column("domain")), "prompt": prompts, "answer": answers})
    mine = rows.filter(pl.col("domain").is_in(list(policy.safety.domains)))
    far = claiming = 0
    for (domain,), part in mine.group_by("domain", maintain_order=True):
        its = gold.filter(pl.col("domain") == domain) if "domain" in gold.columns else gold
        standard = list((its if its.height else gold).select("instruction", "response").iter_rows())
        pairs = [(prompt or "", answer or "") for prompt, answer in part.select("prompt", "answer").iter_rows()]
        far += sum(distance > farthest for distance in distances(pairs, [response for _, response in standard], policy))
        known = "\n".join(text for row in standard for text in row)
        claiming += sum(bool(unsupported(prompt, answer, known)) for prompt, answer in pairs)
    return Drift(mine.height, int(rows["domain"].is_null().sum()), far, claiming)
