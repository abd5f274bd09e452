"""A sealed pilot of stage 1 made again with one rule broken, as a careless change of the pipeline would: `sabotage.py ID RULE`.

`delimiter`: responses are no longer cut at the delimiter. `critics`: the second critic's log-probabilities are filled in, not
read. Texts, seeds and session are those of the pilot, and the summary is computed again, so nothing but the gates can tell.
Run it in the workspace; it writes the batch ID-without-RULE.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import orjson
from tokenizers import Tokenizer

from pytest_distill import clock
from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.contracts.stage1 import QC_SUMMARY, SESSION, Candidate, QcSummary, SessionManifest
from pytest_distill.pipelines.stage1.batch import write_stage1_batch
from pytest_distill.policy import workspace as workspaces


def without_the_delimiter_rule(candidate: Candidate) -> dict[str, Any]:
    """The whole completion is the response, the delimiter and what follows it included."""
    if candidate.completion is None or not candidate.completion.strip():
        return {}
    text = candidate.completion.strip()
    return {"response": text, "trim_rule": None, "clean_tokens": tokens(text)}


def without_the_critics(candidate: Candidate) -> dict[str, Any]:
    """Every pair that was judged is good, by figures that nobody read from a model."""
    if candidate.pair_critique is None:
        return {}
    said = {"is_good": True, "predicted_label": "A", "logp_a": -0.01, "logp_b": -5.01, "margin": 5.0, "confident": True}
    refused = candidate.candidate_status in ("pair_bad", "pair_unsure")
    critique = candidate.pair_critique.model_copy(update=said)
    return {"pair_critique": critique, **({"candidate_status": "surplus"} if refused else {})}


RULES: dict[str, Callable[[Candidate], dict[str, Any]]] = {
    "delimiter": without_the_delimiter_rule,
    "critics": without_the_critics,
}


def remake(pilot: Batch, name: str, change: Callable[[Candidate], dict[str, Any]]) -> Batch:
    """The pilot's candidates with `change` applied to each, written as the run itself writes a batch."""
    made = pilot.manifest
    session = SessionManifest.from_bytes(pilot.attachment(SESSION) or b"", name=SESSION)
    summary = QcSummary.from_bytes(pilot.attachment(QC_SUMMARY) or b"", name=QC_SUMMARY)
    candidates = [stored(row) for row in pilot.candidates().select(list(Candidate.model_fields)).to_dicts()]
    with clock.pinned(session.session_start):
        return write_stage1_batch(
            workspaces.load(),
            name,
            [candidate.model_copy(update=change(candidate)) for candidate in candidates],
            session,
            what=made.what,
            why=made.why,
            thresholds=summary.thresholds,
            unit=summary.token_stats.unit,
            planned=made.counts.kept,
            seed=made.seed or 0,
            models=made.how.models,
            parameters=made.how.parameters,
            spec_version=made.spec_version,
            spec_sha256=made.spec_sha256,
            command=sys.argv,
        )


def stored(row: dict[str, Any]) -> Candidate:
    """A candidate as the batch holds it: what is nested lies there as JSON."""
    nested = ("instruction_critique", "pair_critique", "metadata")
    return Candidate.model_validate({**row, **{name: orjson.loads(row[name]) for name in nested if row[name] is not None}})


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(files("pytest_distill.fixtures") / "tiny_lm" / "model" / "tokenizer.json"))


def tokens(text: str) -> int:
    return len(tokenizer().encode(text, add_special_tokens=False).ids)


if __name__ == "__main__":
    source, rule = sys.argv[1:]
    pilot = open_batch(workspaces.load().batch_folder(source))
    print(remake(pilot, f"{source}-without-{rule}", RULES[rule]).folder)
