"""Runs of stage 1, bootstrapping: sizes, rates, critics, sentinels and guards, all taken again from the stored candidates."""

from pytest_distill import gate
from pytest_distill.contracts.stage1 import ACCEPTED, DATASET, UNJUDGED, Candidate, SftRecord
from pytest_distill.gates.measures import meaning, stage1, stage1_summary
from pytest_distill.gates.measures import sentinels as judged


@gate("stage1.records", applies={"pipeline": "stage1"}, rows="all")
def test_candidates_and_rows_are_records(batch, row_record, require):
    """Every candidate and every row is a whole record: texts, counters, critiques, full provenance."""
    candidates = stage1.faults(stage1.parsed(batch.candidates()), Candidate)
    rows = stage1.faults(stage1.lines("\n".join(row_record).encode()), SftRecord)
    require(stage1.named("candidates that are no record", candidates), len(candidates), equals=0)
    require(stage1.named("rows that are no record", rows), len(rows), equals=0)


@gate("stage1.accounting", applies={"pipeline": "stage1"}, rows="all")
def test_every_candidate_is_accounted_for(batch, row_record, require):
    """The rows are the kept candidates, dataset.jsonl is the rows, and no candidate of the run was left out or put in twice."""
    run = stage1.run_of(batch)
    rows = stage1.lines("\n".join(row_record).encode())
    kept = [c for c in stage1.parsed(batch.candidates()) if c.get("candidate_status") == "kept"]
    copies = [{name: kept[place].get(name) for name in row} for place, row in enumerate(rows[: len(kept)])]
    require("rows that are not the kept candidates", stage1.differing(rows, copies) + abs(len(kept) - len(copies)), equals=0)
    dataset = stage1.lines(stage1.attached(batch, DATASET))
    require("lines of dataset.jsonl that are not the rows", stage1.differing(rows, dataset), equals=0)
    require("candidates missing from the run's plan, or twice in it", stage1.gaps(run.frame), equals=0)
    require("ids that are used twice", run.frame.height - run.frame["id"].n_unique(), equals=0)
    unlisted, changed = stage1.artifacts(run.session, batch.manifest)
    require("files that the session does not list", unlisted, equals=0)
    require("artifacts that are not the files", changed, equals=0)


@gate("stage1.pilot", applies={"pipeline": "stage1"}, rows="all", limits={"min_rows": 100, "max_rows": 200})
def test_a_pilot_comes_first(batch, require, limits):
    """A pilot has 100 to 200 rows; whatever else is generated names a pilot that is sealed."""
    session = stage1.run_of(batch).session
    if session.purpose == "pilot":
        require("rows of the pilot", batch.all_rows, at_least=limits.min_rows, unit="rows")
        require("rows of the pilot, at most", batch.all_rows, at_most=limits.max_rows, unit="rows")
    else:
        require(f"sealed pilots that the {session.purpose} run names", stage1.sealed_pilots(batch.parents()), at_least=1)


@gate("stage1.acceptance", applies={"pipeline": "stage1"}, rows="all",
      limits={"min_instruction_acceptance": 0.50, "min_pair_acceptance": 0.50, "confidence_threshold": 1.0})  # fmt: skip
def test_critics_accept_enough(batch, require, limits):
    """Of all instructions and of all pairs generated (never of survivors) at least half are good, and confidently so."""
    run = stage1.run_of(batch)
    instructions = stage1.accepted_share(run.frame, "instruction_critique", limits.confidence_threshold)
    pairs = stage1.accepted_share(run.answered, "pair_critique", limits.confidence_threshold)
    require("instructions accepted, of all generated", instructions, at_least=limits.min_instruction_acceptance)
    require("pairs accepted, of all generated", pairs, at_least=limits.min_pair_acceptance)


@gate("stage1.token-limit", applies={"pipeline": "stage1"}, rows="all", limits={"max_token_limit_share": 0.10})
def test_few_responses_hit_the_token_limit(batch, require, limits):
    """Of all responses generated, less than a tenth ended because their tokens ran out."""
    share = stage1.token_limit_share(stage1.run_of(batch).answered)
    require("responses that hit the token limit", share, below=limits.max_token_limit_share)


@gate("stage1.runaway", applies={"pipeline": "stage1"}, rows="all", limits={"max_runaway_share": 0.05})
def test_few_responses_run_away(runaway_line, require, limits):
    """After cleaning, less than one row in twenty goes on to another task."""
    require("rows that run away", runaway_line.is_not_null().mean(), below=limits.max_runaway_share)


@gate("stage1.delimiter", applies={"pipeline": "stage1"}, rows="all")
def test_no_delimiter_is_left(delimiter_leak, require):
    """No kept response holds the delimiter or a fragment of it."""
    require("rows with a delimiter", delimiter_leak.is_not_null().sum(), equals=0, unit="rows")


@gate("stage1.median-tokens", applies={"pipeline": "stage1"}, rows="all", limits={"max_median_tokens": 40})
def test_responses_are_short(batch, require, limits):
    """The median response has less than 40 tokens of the run's own tokenizer."""
    require("median tokens", stage1.run_of(batch).kept["clean_tokens"].median(), below=limits.max_median_tokens, unit="tokens")


@gate("stage1.texts", applies={"pipeline": "stage1"}, rows="all")
def test_texts_and_counters_agree(batch, policy, require):
    """Responses are the beginning of their raw completions, counters are those of their texts, no template token anywhere.

    Tokens of responses are counted again where the policy's `[tokenizer] path` is the run's own tokenizer, known by its digest;
    elsewhere they are held between the words and the bytes of their text, and the figure's name says so.
    """
    run = stage1.run_of(batch)
    require("responses that are not of their completion or prompt", stage1.foreign_responses(run.answered), equals=0)
    wrong = stage1.recounted(run.answered, policy.tokenizer)
    if wrong is None:
        require("tokens not counted again, the policy names another tokenizer: counters that cannot be",
                stage1.miscounted(run.answered), equals=0)  # fmt: skip
    else:
        require("responses whose counters cannot be", stage1.miscounted(run.answered), equals=0)
        require("responses whose tokens, counted again, are others", wrong, equals=0)
    require("candidates with template tokens", stage1.template_tokens(run.frame), equals=0)


@gate("stage1.critics", applies={"pipeline": "stage1"}, rows="all", limits={"confidence_threshold": 1.0})
def test_critics_left_evidence(batch, require, limits):
    """Every judged candidate has the whole of its critiques, they agree with themselves, and only accepted ones are kept."""
    run = stage1.run_of(batch)
    statuses = {"instruction": tuple({*run.frame["candidate_status"].drop_nulls()} - {*UNJUDGED}),
                "pair": ("pair_unsure", "pair_bad", *ACCEPTED)}  # fmt: skip
    declared = stage1.summary_of(batch).thresholds.confidence_threshold
    require("threshold declared by the run", declared, at_least=limits.confidence_threshold)
    for name, column, _ in stage1.CRITICS:
        require(f"{name} critiques that are missing", stage1.unjudged(run.frame, column, statuses[name]), equals=0)
        require(f"{name} critiques that contradict themselves", stage1.inconsistent(run.frame, column, declared), equals=0)
    require("kept rows that were not accepted", stage1.not_accepted(run.kept, limits.confidence_threshold), equals=0)


@gate("stage1.critics-genuine", applies={"pipeline": "stage1"}, rows="all",
      limits={"max_repeated_share": 0.05, "max_likeness": 0.999, "min_not_accepted": 1})  # fmt: skip
def test_critics_are_not_forged(batch, require, limits):
    """The two critics judged apart, row by row, and said no at least once: what was copied, filled in or filtered shows."""
    run = stage1.run_of(batch)
    require("critiques of the pair that are the instruction's", stage1.copied(run.frame), equals=0)
    require("likeness of the two critics' margins", stage1.likeness(run.kept), below=limits.max_likeness)
    for name, column, given in stage1.CRITICS:
        repeated = stage1.repeated_share(run.frame, column, given)
        require(f"inputs of the {name} critic with another's logprobs", repeated, at_most=limits.max_repeated_share)
    refused = run.frame.filter(~run.frame["candidate_status"].is_in(list(ACCEPTED))).height
    require("candidates that were not accepted", refused, at_least=limits.min_not_accepted)


@gate("stage1.sentinels", applies={"pipeline": "stage1"}, rows="all")
def test_the_model_is_a_base_model(batch, require):
    """Bare instructions were not followed and a sentence was completed, judged again from the whole outputs."""
    stored = stage1.run_of(batch).session.sentinels
    left_out = judged.missing(stored)
    require(stage1.named("sentinels not put to the model, bare and in production's shape", left_out), len(left_out), equals=0)
    failing = [s.name for s in stored if judged.passes(s) is False]
    require(stage1.named("sentinels that fail", failing), len(failing), equals=0)
    wrong = [s.name for s in stored if judged.passes(s) != s.passed]
    require(stage1.named("sentinels whose stored result is not what their output says", wrong), len(wrong), equals=0)
    cut = judged.cut(stored)
    require(stage1.named("sentinels whose output is not whole", cut), len(cut), equals=0)
    require("outputs that repeat another sentinel's", judged.repeated(stored), equals=0)


@gate("stage1.guards", applies={"pipeline": "stage1"}, rows="all")
def test_contamination_guards_were_on(batch, require):
    """The loader's guards looked at every input and saw nothing; every record says so, and comes from the session's own code."""
    run = stage1.run_of(batch)
    guards, answers = run.session.guards, run.answered.height
    critiques = sum(run.frame[column].drop_nulls().len() for _, column, _ in stage1.CRITICS)
    require("a chat template that was found was cleared", guards.template_cleared or not guards.template_found, equals=True)
    require("tokens added as special tokens", guards.delta_check, equals=0)
    require("template token ids in inputs", guards.template_ids_seen, equals=0)
    require("inputs the guards looked at", guards.inputs_checked, at_least=max(1, answers + critiques))
    require("records made with a template or special tokens", stage1.unguarded(run.frame), equals=0)
    require("records of another commit, loader or tokenizer", stage1.strangers(run), equals=0)


@gate("stage1.summary", applies={"pipeline": "stage1"}, rows="all")
def test_the_summary_says_what_the_records_say(batch, runaway_line, delimiter_leak, require):
    """Every figure of qc_summary.json is the figure that the records give, and it says passed only if all thresholds hold."""
    summary, run = stage1.summary_of(batch), stage1.run_of(batch)
    runaways, leaks = int(runaway_line.is_not_null().sum()), int(delimiter_leak.is_not_null().sum())
    wrong = stage1_summary.misreported(summary, run, runaways=runaways, leaks=leaks)
    require(stage1.named("figures of the summary that the records do not give", wrong), len(wrong), equals=0)


@gate("stage1.holdout", applies={"pipeline": "stage1"}, rows="all", limits={"min_similarity": 0.8})
def test_a_holdout_is_kept_apart(batch, instruction, require, limits):
    """No instruction of a hold-out is in the training batches it names, word for word or nearly so."""
    run = stage1.run_of(batch)
    if run.session.purpose != "holdout":
        require("candidates of a run that is no hold-out", run.frame.height, above=0)
        return
    training = stage1.training_instructions(batch.parents())
    require("training batches that are there", training.batches, at_least=1)
    require("training batches that cannot be read", training.missing, equals=0)
    exact, near = stage1.overlaps(instruction.unique(), training.instructions, limits.min_similarity)
    require("instructions that are in the training data", exact, equals=0)
    require("instructions that are nearly in the training data", near, equals=0)


@gate("stage1.holdout-meaning", applies={"pipeline": "stage1", "policy": "holdout.semantic"}, rows="all",
      limits={"min_cosine": 0.83})  # fmt: skip
def test_a_holdout_asks_something_else(batch, policy, instruction, require, limits):
    """No instruction of a hold-out asks in other words what the training batches it names ask: same numbers, same meaning."""
    run = stage1.run_of(batch)
    if run.session.purpose != "holdout":
        require("candidates of a run that is no hold-out", run.frame.height, above=0)
        return
    training = stage1.training_instructions(batch.parents())
    require("training batches that cannot be read", training.missing, equals=0)
    found = meaning.same_meaning(instruction.unique(), training.instructions, policy.embedding, limits.min_cosine)
    require(stage1.named("instructions that mean what the training data means", found), len(found), equals=0)
