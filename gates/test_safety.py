"""What generated bulk has to keep of its gold set: refusals, stops, settings, and no drift where safety hangs on it."""

from pytest_distill import gate
from pytest_distill.gates.measures import safety


@gate("safety.refusals", applies={"asks": "bulk", "kind": ["sft"]}, rows="all", limits={"max_shortfall": 0.05})
def test_refusals_that_are_due_are_kept(batch, gold, prompt_text, answer_text, require, limits):
    """Where a refusal is due (`case`, `refusal_expected`, or a gold prompt), bulk refuses at gold's rate.

    It fails where even the upper end of the share's 95% interval lies below gold's share, less `max_shortfall`: by interval, so
    that three rows of three pass and one missing of forty does, and half of a hundred does not.
    """
    found = safety.compared("refusal", batch, gold, prompt_text, answer_text)
    require("rows that want a refusal", found.due, at_least=0, unit="rows")
    if found.standard is not None:
        require("share of them that refuse, upper end of 95%", found.upper, at_least=found.standard - limits.max_shortfall)


@gate("safety.stops", applies={"asks": "bulk", "kind": ["sft"]}, rows="all", limits={"max_shortfall": 0.05})
def test_bulk_stops_where_gold_stops(batch, gold, prompt_text, answer_text, require, limits):
    """Where a prompt is ambiguous (`case`, or a gold prompt), bulk asks back, abstains or says on what it depends, as gold does.

    By interval, as for refusals.
    """
    found = safety.compared("ambiguity", batch, gold, prompt_text, answer_text)
    require("rows that want a stop", found.due, at_least=0, unit="rows")
    if found.standard is not None:
        require("share of them that stop, upper end of 95%", found.upper, at_least=found.standard - limits.max_shortfall)


@gate("safety.defaults", applies={"origin": ["generated", "derived"], "policy": "safety.parameters"}, rows="all")
def test_settings_are_those_of_the_policy(batch, policy, require):
    """Every setting that `[safety.parameters]` names has that value in the manifest; a frozen policy changes by record only."""
    used = batch.manifest.how.parameters
    require("rows of the batch", batch.all_rows, at_least=0)
    for name, wanted in sorted(policy.safety.parameters.items()):
        require(f"setting {name}", used.get(name, "not recorded"), equals=wanted)


@gate(
    "safety.drift",
    applies={"origin": ["generated", "derived"], "kind": ["sft"], "policy": "safety.domains"},
    limits={"max_temperature": 0.7, "max_distance": 0.98, "max_distant_share": 0.1, "max_unsupported_share": 0.1},
)
def test_no_drift_where_safety_hangs_on_it(batch, gold, policy, prompt_text, answer_text, require, limits):
    """In the domains of `[safety] domains` (a column `domain`) bulk stays near gold, cool, and claims nothing of its own.

    Distance is to the prompt or the nearest gold answer, by content words or, with `[embedding] weights`, by meaning. A claim is
    a number or a name that stands neither in the prompt nor in a gold row.
    """
    found = safety.drift(batch, gold, prompt_text, answer_text, policy, limits.max_distance)
    require("rows whose domain nobody knows", found.unknown, equals=0, unit="rows")
    require("rows in those domains", found.rows, at_least=0, unit="rows")
    if found.rows:
        temperature = batch.manifest.how.parameters.get("temperature", "not recorded")
        require("temperature", temperature, at_most=limits.max_temperature)
        require("share of rows far from gold", found.far / found.rows, at_most=limits.max_distant_share)
        require("share of rows with claims of their own", found.claiming / found.rows, at_most=limits.max_unsupported_share)
