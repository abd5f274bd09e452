"""Truncated, runaway and refusing answers, languages and lengths: what must be caught, and what must be left alone."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import polars as pl
import pytest
from fair_answers import FAIR
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.errors import DistillError
from pytest_distill.gates.measures import tokens
from pytest_distill.gates.measures.language import language_confidence, language_guess
from pytest_distill.gates.measures.runaway import runaway_line
from pytest_distill.gates.measures.truncation import truncated_end
from pytest_distill.measuring.kernels.pieces import split
from pytest_distill.measuring.measure import declaration
from pytest_distill.measuring.separable import PATTERNS, is_separable
from pytest_distill.policy import workspace
from pytest_distill.policy.model import Language
from pytest_distill.policy.model import Tokenizer as TokenizerTable

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))
PROSE = (
    "The committee met on Tuesday to discuss the budget for the coming year, and after a long debate it agreed "
    "on most of the points "
)


def series(*texts: str) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def ending(answer: str, **columns: pl.Series) -> str | None:
    return declaration(truncated_end).function(series(answer), **columns)[0]


def runaway(answer: str, prompt: str = "Name a capital.") -> str | None:
    return declaration(runaway_line).function(series(prompt), series(answer))[0]


# --- truncated ---


@pytest.mark.parametrize(
    "answer",
    [
        "Here is the code:",
        "The steps are:\n1. Mix\n2.",
        "Buy:\n- milk\n-",
        "Buy:\n* milk\n* ",
        "It works so:\n\n```python\nprint(1)",
        PROSE + "and",
        PROSE + "of the",
        PROSE + "except one,",
        PROSE + "except the unfin-",
        PROSE + "(as was reported by the",
        PROSE + "which the chair called “a most unhappy",
    ],
)
def test_answers_that_announce_more(answer):
    assert ending(answer) is not None


@pytest.mark.parametrize(
    "answer",
    [
        *FAIR,
        "3.",
        "So\n4.",
        "12:30",
        ":smile:",
        "I am happy :)",
        "and",
        "the",
        "x,",
        PROSE + "(but not all).",
        PROSE + "at hand",
        PROSE + "in the house\n\nYours sincerely,",
        "```python\nx = 1\n```",
        "Because I could not stop for Death –\nHe kindly stopped for me –\nThe Carriage held but just Ourselves –\n" * 3,
        "def f():\n    return {\n        1: 2,",
    ],
)
def test_whole_answers_however_short(answer):
    assert ending(answer) is None


def test_a_generators_own_word_counts_unless_the_text_was_trimmed():
    cut = series("length")
    assert ending("Paris is the capital of", finish_reason=cut) is not None
    assert ending("Paris", finish_reason=series("stop")) is None
    assert ending("Paris.", finish_reason=cut, trim_rule=series("delimiter")) is None
    assert ending("Paris.", finish_reason=cut, trim_rule=series("none")) is not None
    hit = pl.Series([True])
    assert ending("Paris is the capi", hit_token_limit=hit) is not None
    assert ending("Paris is the capital.", hit_token_limit=hit) is None
    assert ending("Paris", hit_token_limit=pl.Series([None], dtype=pl.Boolean)) is None


def test_the_end_that_is_shown_is_whole_words():
    said = "This is how to write the information in your profile, one line for each:"
    assert ending(said) == "in your profile, one line for each:"
    assert ending("word " * 40 + "x" * 60 + "-") == "x" * 39 + "-"


# --- runaway ---


@pytest.mark.parametrize(
    "answer",
    [
        "Paris\n\nInstruction: Name a river.",
        "Paris\nQ: And Rome?",
        "Paris\nQuestion: And Rome?",
        "Paris\n\nNext question",
        "Paris\n\nAnother question: why?",
        "Paris\n\nNew Question",
        "Paris\n\nNow for something harder",
        "Paris\n\nMoving on, name a river.",
        "Paris\nResponse: Rome",
        "Paris\nQ2: And Rome?\nA2: Rome",
    ],
)
def test_answers_that_go_on_to_another_task(answer):
    assert runaway(answer) is not None


@pytest.mark.parametrize(
    "answer",
    [
        *FAIR,
        "A: Paris",
        "Response: Paris",
        "He said: next question, please. Then moving on was easy.",
        "A: Hello\nB: Hi\nA: Bye",
        "The Q: factor",
        "word " * 3000,
        "Questions remain.\nQuestions: none",
        "Instructions:\nSteps",
    ],
)
def test_long_answers_and_running_prose_are_no_runaways(answer):
    assert runaway(answer) is None


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        (
            "Javier has a wife and 3 children. He has 2 dogs and a cat. How many legs do they have?",
            "Each of 5 people has 2 legs: 10.\nJavier has a total of 2 + 1 = 3 pets with four legs.\n10 + 12 = 22",
        ),
        ("Randolph is older than Sydney. How old is he?", "Sydney is 50 years old.\nRandolph is 50+5 = 55\n#### 55"),
        ("The sum of three numbers is 67. Which is the third?", "67 - 60 = 7\nThe sum of the others was given.\n#### 7"),
    ],
)
def test_a_solution_takes_up_the_words_of_its_problem(prompt, answer):
    assert runaway(answer, prompt) is None


def test_what_begins_as_the_prompt_did_is_another_task():
    assert runaway("Hund\nTranslate into German: cat", "Translate into German: dog") is not None
    assert runaway("Paris\nThe capital of Spain is which?", "The capital of France is which?") is not None


@pytest.mark.parametrize(
    "prompt",
    [
        "Write three questions about Rome.",
        "Create a short quiz on rivers",
        "Generate an FAQ",
        "Compose a dialogue in Q&A form",
        "Give me some interview questions",
    ],
)
def test_questions_that_were_asked_for(prompt):
    assert runaway("Here.\nQ: Who?\nA: He.\nQuestion: Why?", prompt) is None


# --- language ---


def confidence(answer: str, prompt: str = "", *allowed: str) -> float | None:
    guess = declaration(language_guess).function(series(prompt), series(answer))
    return declaration(language_confidence).function(guess, Language(allowed=allowed or ("en",)))[0]


GERMAN = "Die Kommission hat am Dienstag beschlossen, den Haushalt für das kommende Jahr zu kürzen, obwohl viele dagegen waren."


def test_long_answers_speak_for_themselves():
    assert confidence(PROSE) > 0.8
    assert confidence(GERMAN) < 0.1
    assert confidence(GERMAN, "", "en", "de") > 0.9
    assert confidence("委员会星期二开会讨论明年的预算，经过长时间的辩论，大家就大部分问题达成了一致意见。") < 0.1


def test_long_text_in_no_language_is_found_out():
    assert confidence("blorf zant quib mrax tolv yig prun dask welf ocht " * 6) < 0.65


@pytest.mark.parametrize(
    "answer", ["4", "Paris", "Hola", "No.", "x = y + 1", "```python\ndef f(x): return x\n```", "", "$$E = mc^2$$"]
)
def test_what_has_no_language_is_judged_with_its_prompt_or_spared(answer):
    assert confidence(answer) is None
    assert (
        confidence(answer, "Answer the following question about the history of the Roman empire as briefly as you can, please.")
        > 0.9
    )
    assert confidence(answer, GERMAN) < 0.1


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: accuracy over 24 languages was not taken")
def test_accuracy_over_languages():
    right = decided = 0
    for path in sorted((SHARED / "language").glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        codes = declaration(language_guess).function(series(*[""] * len(lines)), series(*lines)).struct.field("code").drop_nulls()
        right += int((codes == path.stem).sum())
        decided += len(codes)
        assert (codes == path.stem).mean() >= 0.97, path.stem
    assert right / decided >= 0.995
    assert decided >= 3000


# --- tokens ---


def counted(*texts: str, table: TokenizerTable | None = None) -> list[int]:
    return tokens.count_tokens(series(*texts), table or TokenizerTable()).to_list()


def shipped():
    from importlib import resources

    return tokens._load((resources.files("pytest_distill.fixtures") / tokens.SHIPPED).read_bytes(), "shipped")


def test_the_shipped_tokenizer_counts_single_digits_and_no_special_tokens():
    assert counted("", "4", "1234", "Paris")[:3] == [0, 1, 4]
    assert counted("Paris")[0] >= 1


@given(st.lists(st.text(alphabet=st.sampled_from(list("ab Z9.,;:!?()\n\t'-_é\u00a0日🙂")), max_size=40), max_size=8))
def test_pieces_count_what_the_whole_counts(texts):
    tokenizer, separable = shipped()
    assert separable
    assert counted(*texts) == [len(tokenizer.encode(text, add_special_tokens=False)) for text in texts]


def test_pieces_are_the_text():
    texts = ["", "One, two.  Three\n\nfour", "日本 x", " lead"]
    pieces = split(series(*texts))
    start = 0
    for text, end in zip(texts, pieces.ends.tolist(), strict=True):
        assert "".join(pieces.distinct[i] for i in pieces.ids[start:end]) == text
        start = end


def a_tokenizer(tmp_path: Path, pattern: str | None, **changes) -> TokenizerTable:
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary = {c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None)
    steps = [byte_level] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated"), byte_level]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=50)
    declared = json.loads(tokenizer.to_str()) | changes
    (tmp_path / "tokenizer.json").write_text(json.dumps(declared))
    return workspace.parse(b'[tokenizer]\npath = "tokenizer.json"\n', tmp_path, name="distill.toml").tokenizer


@pytest.mark.parametrize("pattern", [None, *sorted(PATTERNS)])
def test_tokenizers_of_known_families_are_counted_by_pieces(tmp_path, pattern):
    table = a_tokenizer(tmp_path, pattern)
    assert is_separable(json.loads((tmp_path / "tokenizer.json").read_text()))
    assert counted("abc de", "é", table=table) == [6, 2]  # truncation and padding in the file are switched off


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
@given(st.text(alphabet=st.sampled_from(list("abZ9 .,;:!?()\n\r\t'_é\u00a0日🙂")), max_size=60))
def test_no_cut_is_inside_a_match_of_a_known_pattern(pattern, text):
    from tokenizers import Regex, pre_tokenizers

    matcher = pre_tokenizers.Split(Regex(pattern), "isolated")
    whole = [piece for piece, _ in matcher.pre_tokenize_str(text)]
    pieces = split(series(text))
    assert [part for i in pieces.ids for part, _ in matcher.pre_tokenize_str(pieces.distinct[i])] == whole


def test_other_pipelines_are_counted_text_by_text(tmp_path):
    table = a_tokenizer(tmp_path, r"\w+|\W+", normalizer={"type": "Lowercase"})
    assert not is_separable(json.loads((tmp_path / "tokenizer.json").read_text()))
    assert counted("ABC de", table=table) == [6]


def test_a_file_that_is_no_tokenizer(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    table = workspace.parse(b'[tokenizer]\npath = "tokenizer.json"\n', tmp_path, name="distill.toml").tokenizer
    with pytest.raises(DistillError, match="E-POLICY"):
        counted("x", table=table)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: equality of both ways of counting was not tried on real rows")
def test_both_ways_of_counting_agree_on_real_rows():
    with gzip.open(SHARED / "code" / "codegen_instruct.json.gz") as file:
        texts = [row["response"] for row in json.load(file)]
    tokenizer, _ = shipped()
    assert counted(*texts) == tokens._encoded_lengths(tokenizer, series(*texts)).tolist()
