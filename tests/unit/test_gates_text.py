"""Blank fields, encoding, leakage, ids and pairs: what each measure must catch, and what it must leave alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import polars as pl
import pytest
from fair_answers import FAIR
from hypothesis import given
from hypothesis import strategies as st
from judging import judge

from pytest_distill.gates import test_blank as blank_gate
from pytest_distill.gates import test_length as length_gates
from pytest_distill.gates import test_pairs as pair_gates
from pytest_distill.gates.measures.blank import blank_field, pseudo_empty
from pytest_distill.gates.measures.encoding import encoding_fault
from pytest_distill.gates.measures.ids import repeated_id
from pytest_distill.gates.measures.leakage import delimiter_leak, placeholder, template_leak
from pytest_distill.gates.measures.pairs import same_pair
from pytest_distill.measuring.measure import declaration
from pytest_distill.policy.model import Leakage

SHARED = Path(os.environ.get("DISTILL_SHARED_DATA", "../shared/data"))


def series(*texts: str | None) -> pl.Series:
    return pl.Series(texts, dtype=pl.String)


def found(fixture, *texts: str, prompt: str = "Say it.") -> list[str | None]:
    function = declaration(fixture).function
    answers = series(*texts)
    if "prompt_text" in declaration(fixture).inputs:
        return function(series(*[prompt] * len(texts)), answers).to_list()
    return function(answers).to_list()


def delimiters(*texts: str, markers: tuple[str, ...] = ()) -> list[str | None]:
    return declaration(delimiter_leak).function(series(*texts), Leakage(markers=markers)).to_list()


# --- blank and pseudo-empty ---


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\u200b\u200d", "\ufeff", "\u3164", "\u2800 ", "\u00a0", None])
def test_blank_answers(text):
    got = declaration(blank_field).function("sft", series("p"), series(text).fill_null(""), instruction=series("p"))
    assert got.to_list() == ["response"]


def test_blank_fields_are_named_and_full_ones_pass():
    blank = declaration(blank_field).function
    assert blank("sft", series("x"), series("4"), instruction=series(" ")).to_list() == ["instruction"]
    assert blank("text", series(""), series("\n")).to_list() == ["text"]
    dialogue = "\n\nHuman: hi\n\nAssistant:"
    got = blank(
        "preference",
        series(dialogue, dialogue),
        series(" a", " a"),
        chosen=series(dialogue + " a", dialogue + " a"),
        rejected=series(dialogue + " ", dialogue + " b"),
    )
    assert got.to_list() == ["rejected", None]
    for answer in FAIR:
        assert blank("sft", series("p"), series(answer), instruction=series("p")).to_list() == [None]


def test_a_rejected_row_says_that_the_field_is_blank():
    judgement = judge(blank_gate.test_no_blank_fields, blank_field=series("chosen", None), full_text=series("a talk", "b"))
    assert (judgement.rejected, judgement.found) == ([True, False], ["chosen is blank", None])


@pytest.mark.parametrize(
    "text", ["N/A", "n/a.", "None", "<noinput>", "no input", "No input required.", "-", "...", "TODO", "null", "[insert text]"]
)
def test_pseudo_empty_inputs(text):
    got = declaration(pseudo_empty).function(series("p"), series("a"), instruction=series("Sum up."), input=series(text))
    assert got.to_list() == [text]


@pytest.mark.parametrize(
    "text", ["N/A", "<no output>", "TODO", "nan", "undefined", "[insert your answer here]", "...", "No response"]
)
def test_pseudo_empty_answers(text):
    assert found(pseudo_empty, text, prompt="Who wrote Faust?") == [text]


@pytest.mark.parametrize(
    ("answer", "prompt"),
    [
        ("None", "Which of these numbers is prime: 4, 6, 8?"),
        ("No", "Is it?"),
        ("0", "How many?"),
        ("undefined", "What does this JavaScript expression print?"),
        ("N/A", "Name the year, or write N/A if it is unknown."),
        ("NaN", "What does parseInt('x') return?"),
        ("-", "What is the Morse code for T?"),
        ("Nothing", "What is left?"),
        ("", "An empty answer is blank, not pseudo-empty."),
    ],
)
def test_answers_that_may_be_right(answer, prompt):
    assert found(pseudo_empty, answer, prompt=prompt) == [None]


def test_an_empty_optional_input_is_fine():
    got = declaration(pseudo_empty).function(series("p", "p"), series("a", "a"), input=series("", None))
    assert got.to_list() == [None, None]
    assert found(pseudo_empty, *FAIR) == [None] * len(FAIR)


# --- encoding ---


@pytest.mark.parametrize(
    "text",
    [
        "a\x00b",
        "bell\x07",
        "caf\x82",
        "lost \ufffd sign",
        "\ufeffstart",
        "non\ufdd0character",
        "end\U0001ffff",
        "evil \u202egnp.exe",
        "if x:\u2066 # harmless \u2069",
        "hidden\U000e0041\U000e0042",
        "Itâ€™s fine",
        "cafÃ©",
        "Ã¼ber",
        "Â£300",
        "ðŸ˜€",
        "ÐŸÑ€Ð¸Ð²ÐµÑ‚",
    ],
)
def test_text_that_was_decoded_wrongly_or_hides_characters(text):
    assert found(encoding_fault, text)[0] is not None


@pytest.mark.parametrize(
    "text",
    [
        *FAIR,
        "tab\tand\r\nline",
        "naïve café, Ångström, São Paulo, NÃO, MANHÃ»",
        "„MENÜ“ – „Äpfel“",
        "ÀÉÎÕÜ çà et là",
        "שלום \u2066abc\u2069 עולם",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f wins",
        "Ελληνικά, русский, 日本語, العربية",
        "100 € – “quoted” … ‰ ™",
    ],
)
def test_genuine_text_of_any_language(text):
    assert found(encoding_fault, text) == [None]


@given(
    st.text(alphabet=st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Zs"], max_codepoint=0x2FFF), min_size=1).filter(
        str.isprintable
    )
)
def test_what_is_read_as_the_wrong_encoding_is_caught_and_the_original_is_not(text):
    garbled = text.encode().decode("latin-1")
    original, broken = found(encoding_fault, text, garbled)
    if garbled != text and any("\x80" <= c <= "\x9f" for c in garbled):
        assert broken is not None
    if text.isascii():
        assert original is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared data: naughty strings and 24 languages were not tried")
def test_naughty_strings_and_real_languages():
    naughty = [text for text in json.loads((SHARED / "hostile" / "naughty_strings.json").read_bytes()) if isinstance(text, str)]
    assert 10 <= sum(piece is not None for piece in found(encoding_fault, *naughty)) <= 25
    for path in sorted((SHARED / "language").glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        caught = [piece for piece in found(encoding_fault, *lines) if piece is not None]
        assert len(caught) <= 1 or all("\x80" <= piece <= "\x9f" or "Ã" in piece for piece in caught), (path.name, caught)


# --- delimiters, templates, placeholders ---


@pytest.mark.parametrize(
    "text",
    [
        "Paris\n###END###",
        "Paris ###END",
        "Paris END###",
        "Paris ###",
        "Paris\n###",
        "Paris\n### ",
        "Paris\n##",
        "Paris###",
        "Paris ###EN",
        "Paris ### END ###",
        "ND### more",
        "one ###END### two",
    ],
)
def test_the_delimiter_and_its_fragments(text):
    assert delimiters(text)[0] is not None


@pytest.mark.parametrize(
    "text",
    [
        *FAIR,
        "### Title\n\ntext",
        "### End\n\nThe end of the story.",
        "## Closed heading ##",
        "text\n\n### Closed heading ###",
        "x = 1\n####################\n# part two\ny = 2",
        "#!/bin/sh\n# END of set-up\necho hi",
        "The END was near # really",
        "See issue #3",
    ],
)
def test_headings_and_comments_are_no_delimiters(text):
    assert delimiters(text) == [None]


def test_the_policys_own_markers_are_literal():
    assert delimiters("a <SEP> b", "a.b", markers=("<SEP>", ".*")) == ["<SEP>", None]


@pytest.mark.parametrize(
    "text",
    [
        "Hi<|im_end|>",
        "<|assistant|> Hi",
        "Hi <|eot_id|>",
        "[INST] go [/INST]",
        "<<SYS>> be kind <</SYS>>",
        "Hi</s>",
        "<s> Hi",
        "Hi</s><s>Ho",
        "ok<end_of_turn>",
        "<｜end▁of▁sentence｜>",
        "Paris\n\n### Instruction:\nNext",
        "### Response: Paris",
        "Below is an instruction that describes a task. Do it.",
        "Paris.\nHuman: and Rome?\nAssistant: Rome.",
        "It is good.\nLabel: A",
    ],
)
def test_what_a_prompt_template_leaves(text):
    assert found(template_leak, text)[0] is not None


@pytest.mark.parametrize(
    "text",
    [*FAIR, "<s>old</s> new", "Humans: a history", "### Responses of the jury", "a <| b |> c", "Label: Art"],
)
def test_what_only_looks_like_a_template(text):
    assert found(template_leak, text) == [None]


def test_turns_are_fair_where_a_dialogue_was_asked_for():
    assert found(template_leak, "Human: hi\nAssistant: ho", prompt="Write a dialogue of two robots.") == [None]


def test_a_transcript_as_prompt_asks_for_no_dialogue():
    prompt = "\n\nHuman: let us have a conversation\n\nAssistant:"
    assert found(template_leak, " Sure.\n\nHuman: thanks", prompt=prompt) == ["Human:"]


@pytest.mark.parametrize(
    "text",
    [
        "The <contractor> will pay.",
        "Dear {{name}}, welcome.",
        "Dear [Your Name],",
        "Ask [Insert company] today",
        "Pay ${amount} now",
        "<file_photo> look",
    ],
)
def test_placeholders_nobody_filled_in(text):
    assert found(placeholder, text)[0] is not None


@pytest.mark.parametrize(
    "text",
    [
        *FAIR,
        "<p>Hi <b>there</b></p>",
        "Use <br> or <em> here.",
        "List<String> names = new ArrayList<>();",
        "A `vector<int>` or `<contractor>` in code",
        "```\necho ${HOME} {{x}}\n```",
        "#!/bin/sh\necho ${HOME}",
        "<note><to>Ada</to></note>",
        "see [Your rights](https://example.com)",
        "if a < b and c > d",
        "#include <iostream>\nint main() { return 0; }",
        "It costs $5 {sic}",
    ],
)
def test_code_markup_and_links_are_no_placeholders(text):
    assert found(placeholder, text) == [None]


def test_a_template_that_was_asked_for_and_an_echo_of_the_prompt():
    assert found(placeholder, "Dear [Your Name],", prompt="Write a letter template.") == [None]
    assert found(placeholder, "<city> is a variable", prompt="What is <city>?") == [None]


# --- ids and pairs ---


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["a", "b", "a"], [None, None, "a"]),
        ([1, 2, 1], [None, None, "1"]),
        ([True, False], [None, None]),
        ([None, "x"], ["no id", None]),
        ([1.5, 1.5], [None, "1.5"]),
    ],
)
def test_ids_of_any_type(ids, expected):
    assert declaration(repeated_id).function(pl.Series(ids)).to_list() == expected


def test_pairs_that_differ_in_white_space_and_case_only():
    got = declaration(same_pair).function(series("Yes. ", "4", "No"), series("yes.", "5", "No, never"))
    assert got.to_list() == ["Yes. ", None, None]


def test_a_pair_of_one_answer_is_rejected_and_another_is_not():
    got = judge(pair_gates.test_pairs_differ, same_pair=series("Yes.", None), answer_text=series("Yes.", "4"))
    assert got.rejected == [True, False]


# --- lengths ---


@pytest.mark.parametrize(
    ("gate", "counted", "text", "fitting", "beyond"),
    [
        (length_gates.test_answer_length, "answer_tokens", "answer_text", [0, 2048], [2049]),
        (length_gates.test_prompt_length, "prompt_tokens", "prompt_text", [0, 8192], [8193]),
        (length_gates.test_document_length, "answer_words", "answer_text", [50, 100_000], [0, 49, 100_001]),
    ],
)
def test_lengths_at_their_bounds_fit_and_beyond_them_do_not(gate, counted, text, fitting, beyond):
    counts = [*fitting, *beyond]
    got = judge(gate, **{counted: pl.Series(counts), text: series(*["…"] * len(counts))})
    assert got.rejected == [False] * len(fitting) + [True] * len(beyond)
    assert [found.split()[0] for found in got.found] == [str(count) for count in counts]
