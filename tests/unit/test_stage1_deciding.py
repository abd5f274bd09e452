"""What a stage 1 run decides over its union: new or said before, kept or surplus, kept apart from training."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_distill.contracts.stage1 import StoredCritique
from pytest_distill.contracts.stage1_run import Prospect
from pytest_distill.pipelines.stage1.apart import KeptApart, normal
from pytest_distill.pipelines.stage1.deciding import Tally, statuses


def prospect(instruction: str, response: str, outcome: str = "accepted") -> Prospect:
    good = StoredCritique(
        is_good=True, predicted_label="A", logp_a=-0.25, logp_b=-2.25, margin=2.0, confident=True, confidence_threshold=1.0
    )
    return Prospect(
        list=0, seed=0, outcome=outcome, instruction=instruction, instruction_critique=good, prompt="p", completion=response,
        response=response, pair_critique=good, raw_tokens=1, clean_tokens=1, hit_token_limit=False,
    )  # fmt: skip


def test_the_first_accepted_pairs_are_kept_and_the_rest_is_surplus() -> None:
    made = [prospect(f"Say the number {n}.", f"{n} it is.") for n in range(4)]
    made.insert(1, prospect("Say it.", "", "response_empty"))
    assert statuses(made, count=2, similarity=0.8) == ["kept", "response_empty", "kept", "surplus", "surplus"]


def test_what_was_asked_before_is_a_duplicate_whatever_was_answered() -> None:
    made = [
        prospect("Name a river.", "The Nile."),
        prospect("name  a RIVER", "Another answer, the Rhine."),
        prospect("Name a sea.", "Red."),
    ]
    assert statuses(made, count=9, similarity=0.8) == ["kept", "duplicate", "kept"]


def test_a_rejected_pair_does_not_make_a_later_one_a_duplicate() -> None:
    made = [prospect("Name a river.", "A dog.", "pair_bad"), prospect("Name a river.", "The Nile.")]
    assert statuses(made, count=9, similarity=0.8) == ["pair_bad", "kept"]


def test_nearly_the_same_text_is_a_duplicate() -> None:
    words = "one two three four five six seven eight nine ten eleven twelve"
    made = [prospect("Count up to twelve for me.", words), prospect("Count up to twelve for me, now.", words)]
    assert statuses(made, count=9, similarity=0.4) == ["kept", "duplicate"]
    assert statuses(made, count=9, similarity=1.0) == ["kept", "kept"]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["accepted", "pair_bad"])), max_size=30), st.integers(1, 8))
def test_a_prefix_of_a_run_is_decided_as_the_whole_is(rows: list[tuple[str, str]], count: int) -> None:
    """So a run may stop at the first unit at which there is enough, and a longer union keeps the same rows."""
    made = [prospect(f"Say {letter}.", f"{letter} and {number}", outcome) for number, (letter, outcome) in enumerate(rows)]
    whole = statuses(made, count=count, similarity=0.8)
    for end in range(len(made)):
        assert statuses(made[:end], count=count, similarity=0.8) == whole[:end]
    assert whole.count("kept") == min(count, len({letter for letter, outcome in rows if outcome == "accepted"}))
    tally = Tally(count, 0.8)
    tally.add(made)
    assert tally.enough() == (whole.count("kept") == count)


def test_what_the_training_data_asks_is_held_word_for_word_or_nearly() -> None:
    apart = KeptApart(["Name three rivers that flow through the north of Germany.", "Hi there!"])
    assert apart.holds("name three  rivers that flow through the north of Germany")
    assert apart.holds("Name three rivers that flow through the north of Germany today.")
    assert apart.holds("hi there")
    assert not apart.holds("Name three rivers that flow through the south of France.")
    assert not apart.holds("Hi")
    assert not KeptApart([]).holds("Name three rivers.")


@given(st.lists(st.text(max_size=12), max_size=6), st.text(max_size=12))
def test_every_training_instruction_is_held(texts: list[str], other: str) -> None:
    apart = KeptApart(texts)
    assert all(apart.holds(text) for text in texts)
    assert KeptApart(apart.texts).texts == apart.texts
    assert normal(normal(other)) == normal(other)
