"""The bulk contract: two tiers, models and cost as declared."""

import polars as pl

from pytest_distill import gate
from pytest_distill.gates.measures import bulk, gold_match
from pytest_distill.measuring.two_sample import holm


@gate("bulk.gold", applies={"origin": ["generated", "derived"]}, rows="all", fixed=True)
def test_generated_bulk_has_a_gold_set(batch, policy, gold_set, require):
    """Bulk that was generated, or made of other rows by a model, has a frozen gold set to match."""
    require("items", bulk.items(batch), at_least=0, unit="items")
    if bulk.wants_gold(batch, policy):
        require("frozen gold sets", 0 if gold_set is None else 1, at_least=1)


@gate("bulk.cost", rows="all")
def test_cost_is_as_declared(batch, policy, require):
    """No more was used than the declared cost class; MED has a justification, HIGH a named authorization with its date."""
    declared = batch.manifest.cost_class.declared
    require("rows of the batch", batch.all_rows, at_least=0)
    require(f"cost classes used above the declared {declared}", bulk.above(batch.manifest, policy), equals=0)
    require("frontier models that nothing metered", bulk.unmetered(batch.manifest, policy), equals=0)
    require("justifications that are missing", bulk.unjustified(batch.manifest), equals=0)


@gate("bulk.models", rows="all")
def test_frontier_models_have_a_reason(batch, policy, require):
    """Bulk is made by local models; a frontier one needs an authorized HIGH, outside bulk a purpose that the policy allows."""
    require("rows of the batch", batch.all_rows, at_least=0)
    require("frontier models that are not allowed here", bulk.unallowed(batch, policy), equals=0)


@gate(
    "bulk.gold-match",
    applies={"kind": ["sft"], "origin": ["generated"]},
    limits={
        "alpha": 0.05,
        "max_delta": 0.2,
        "max_difference": 0.15,
        "max_refusal_difference": 0.05,
        "max_apart": 0.4,
    },
)
def test_bulk_matches_the_gold_set(prompt_text, answer_text, batch, policy, require, limits):
    """Bulk is like the frozen gold set in length, form, words and refusals, and in meaning where `[gold_match]` asks.

    A figure fails when its difference is surely larger than its margin: a one-sided test of that, corrected for all figures
    (Holm), has p below `alpha`. Lengths and words are compared by Cliff's delta (`max_delta`), forms by the difference of shares
    (`max_difference`), meaning by what a classifier tells apart, 2 · AUC - 1 (`max_apart`). Each has an interval of 95%. With
    few gold rows intervals are wide, and only what is far off fails. A batch of no more than `[bulk] max_items`, or one
    without a gold set, is for `bulk.gold`; here it has no rows to compare.
    """
    rows, gold = pl.DataFrame({"q": prompt_text, "a": answer_text}), batch.gold_rows()
    compared = len(rows) if gold is not None and bulk.items(batch) > policy.bulk.max_items else 0
    require("rows compared with gold", compared, at_least=0, unit="rows")
    if not compared:
        return
    gold = gold.select(q="instruction", a="response")
    require("gold rows", len(gold), at_least=2, unit="rows")
    bounds = {name: getattr(limits, name) for name in ("max_delta", "max_difference", "max_refusal_difference")}
    found = dict(gold_match.effects(rows, gold, **bounds))
    if policy.gold_match.semantic:
        found["meaning"], chance = gold_match.by_meaning(rows, gold, policy.embedding, limits.max_apart)
        require("meaning: permutation p", chance, at_least=0)
    for (name, effect), p in zip(found.items(), holm([effect.p for effect in found.values()]), strict=True):
        require(f"{name}: effect", effect.value, at_least=-1)
        require(f"{name}: effect, from", effect.low, at_least=-1)
        require(f"{name}: effect, to", effect.high, at_most=1)
        require(f"{name}: p, corrected", p, at_least=limits.alpha)


@gate("bulk.reproducible", applies={"origin": ["generated", "derived"]}, rows="all")
def test_what_was_generated_can_be_made_again(batch, require):
    """Generated rows say which prompt or specification, seed and models made them, how many, when, what they are, and why."""
    missing = [*bulk.not_reproducible(batch.manifest), *bulk.not_recorded(batch)]
    require("rows of the batch", batch.all_rows, at_least=0)
    require(f"what its record leaves out{': ' if missing else ''}{', '.join(missing)}", len(missing), equals=0)
