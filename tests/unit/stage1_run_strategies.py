"""Strategies for the private files of a stage 1 run."""

from __future__ import annotations

from hypothesis import strategies as st
from strategies import COUNT, SHA, several

from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.stage1 import Environment, Guards, SessionManifest, StoredCritique, Thresholds
from pytest_distill.contracts.stage1_run import Continued, Draw, Plan, Prospect, Recipe, ShardManifest, Unit, UnitEntry

TEXT = st.text(max_size=12)
WORD = TEXT.filter(lambda text: bool(text.strip()))
ID = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True)
SEED = st.integers(0, 2**63 - 1)
SHARE = st.floats(0, 1)


SESSION = SessionManifest(
    session_id="s", session_start="2026-01-31T12:00:00Z", purpose="pilot", git_commit="a" * 40, git_dirty=False,
    environment=Environment(hostname="", python=""), loader_version="1", sentinels=(),
    guards=Guards(template_found=False, template_cleared=False, delta_check=0, template_ids_seen=0, inputs_checked=0),
)  # fmt: skip
draw = st.builds(
    Draw, max_new_tokens=st.integers(1, 999), temperature=SHARE, top_p=st.floats(0.1, 1), repetition_penalty=st.floats(0.5, 2),
    stop=several(TEXT),
)  # fmt: skip
recipe = st.builds(
    Recipe, purpose=st.sampled_from(["pilot", "scale", "holdout"]), backend=WORD, dtype=WORD, model_name=WORD,
    model_revision=WORD, weights_sha256=st.none() | SHA,
    quantization=st.none() | TEXT, tokenizer_name=WORD, tokenizer_hash=SHA, loader_version=WORD,
    code_sha256=SHA, spec_version=WORD, prompts_sha256=SHA, libraries=st.dictionaries(TEXT, TEXT, max_size=2), seed=SEED,
    lists_per_unit=st.integers(1, 99), instructions=draw, responses=draw, thresholds=st.just(Thresholds()), similarity=SHARE,
    apart_from=several(SHA),
)  # fmt: skip
plan = st.builds(
    Plan, batch=ID, count=st.integers(1, 99), shards=st.integers(1, 9), shard=COUNT, recipe=recipe, parents=several(SHA),
    what=TEXT, why=TEXT, session=st.just(SESSION),
)  # fmt: skip
critique = st.builds(
    lambda logp: StoredCritique(
        is_good=True, predicted_label="A", logp_a=logp, logp_b=logp - 3.0, margin=abs(logp - (logp - 3.0)), confident=True,
        confidence_threshold=1.0,
    ),
    st.floats(-9, 0),
)  # fmt: skip
prospect = st.builds(
    Prospect, list=COUNT, instruction=TEXT, seed=SEED, prompt=WORD, completion=TEXT, response=TEXT, raw_tokens=COUNT,
    outcome=st.sampled_from(["instruction_bad", "response_empty", "accepted"]), clean_tokens=COUNT, hit_token_limit=st.booleans(),
    trim_rule=st.sampled_from([None, "delimiter"]), instruction_critique=st.none() | critique, pair_critique=st.none() | critique,
)  # fmt: skip
unit = st.builds(
    Unit, plan_sha256=SHA, number=COUNT, lists=several(st.builds(Continued, seed=SEED, prompt=WORD, completion=TEXT)),
    prospects=several(prospect), inputs_checked=COUNT, calls=COUNT, tokens_read=COUNT, tokens_written=COUNT,
)  # fmt: skip
shard = st.builds(
    ShardManifest, batch=ID, shard=COUNT, shards=st.integers(1, 9), plan_sha256=SHA, session_id=WORD, session_start=WORD,
    wanted=COUNT, units=several(st.builds(UnitEntry, number=COUNT, sha256=SHA, candidates=COUNT, accepted=COUNT)),
)  # fmt: skip

WRITTEN: dict[str, st.SearchStrategy[Contract]] = {"stage1_plan": plan, "stage1_unit": unit, "stage1_shard": shard}
_DRAW = Draw(max_new_tokens=1, temperature=0.0, top_p=1.0, repetition_penalty=1.0)
ONE: dict[str, Contract] = {
    "stage1_plan": Plan(
        batch="b", count=1, shards=1, shard=0, what="", why="", session=SESSION,
        recipe=Recipe(
            purpose="pilot", backend="t", dtype="float32", model_name="m", model_revision="r", weights_sha256=None,
            quantization=None, tokenizer_name="t",
            tokenizer_hash="0" * 64, loader_version="1", code_sha256="0" * 64, spec_version="1", prompts_sha256="0" * 64,
            libraries={}, seed=0, lists_per_unit=1, instructions=_DRAW, responses=_DRAW, thresholds=Thresholds(), similarity=0.8,
        ),
    ),
    "stage1_unit": Unit(
        plan_sha256="0" * 64, number=0, lists=(), prospects=(), inputs_checked=0, calls=0, tokens_read=0, tokens_written=0
    ),
    "stage1_shard": ShardManifest(
        batch="b", shard=0, shards=1, plan_sha256="0" * 64, session_id="s", session_start="t", wanted=1, units=()
    ),
}  # fmt: skip
