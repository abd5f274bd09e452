"""Compiled kernels against slow and obvious Python, over any Unicode text."""

from __future__ import annotations

import ast
import math
import os
import re
import subprocess
import sys
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pytest_distill.measuring.folding import collapsed, folded, folded_beyond_ascii
from pytest_distill.measuring.kernels import join, overlap, repetition, text, unicode
from pytest_distill.measuring.kernels.buffers import flat

KERNELS = Path(text.__file__).parent
compiled = settings(deadline=None)  # the first call of a kernel compiles it
SPICE = "a ab .…#•- \n\n\r\n\t\x0b\x1c\x85\u2028 中文字 ไทย é e\u0301 ß İ 😀 १२ 1,000 3.14 !? The the of\u00a0and\u3000"
texts = st.lists(
    st.text(st.one_of(st.sampled_from(SPICE), st.characters(codec="utf-8")), max_size=60)
    | st.sampled_from(["", " ", "\n", "a b " * 30]),
    min_size=1,
    max_size=6,
)
repetitive = st.lists(st.lists(st.sampled_from(["ab", "c", "de", "中", "x"]), max_size=40).map(" ".join), min_size=1, max_size=4)


def series(values: list[str]) -> pl.Series:
    return pl.Series(values, dtype=pl.String)


# ---- buffers


@compiled
@given(texts, st.integers(0, 3), st.integers(1, 40))
def test_slices_and_chunks_come_through_and_blocks_cover_them(values: list[str], skip: int, size: int) -> None:
    column = pl.concat([series(values), series(values)], rechunk=False)[skip:]
    buffers = flat(column)
    rows = [bytes(buffers.data[a:b]).decode() for a, b in zip(buffers.offsets, buffers.offsets[1:], strict=False)]
    assert rows == column.to_list()
    again = [
        (first + i, bytes(b.data[b.offsets[i] : b.offsets[i + 1]])) for first, b in buffers.blocks(size) for i in range(len(b))
    ]
    assert again == [(i, value.encode()) for i, value in enumerate(rows)]


def test_no_rows_and_empty_rows_are_rows() -> None:
    assert len(flat(series([]))) == 0
    assert flat(series(["", ""])).offsets.tolist() == [0, 0, 0]
    assert len(text.words(flat(series([])))[0]) == 0


def test_nulls_and_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="nulls"):
        flat(pl.Series("t", ["a", None]))
    with pytest.raises(TypeError, match="not String"):
        flat(pl.Series("t", [1]))


# ---- characters


def test_the_table_says_what_python_says() -> None:
    table = unicode.classes()
    for point in [*range(0x3100), *range(0x4E00, 0x110000, 97)]:
        if not 0xD800 <= point < 0xE000:
            character, flags = chr(point), int(table[point])
            assert bool(flags & unicode.SPACE) == character.isspace(), hex(point)
            assert bool(flags & unicode.ALPHA) == character.isalpha(), hex(point)
            assert bool(flags & unicode.ALNUM) == character.isalnum(), hex(point)
            assert bool(flags & unicode.WORD) == (unicodedata.category(character)[0] in "LNM"), hex(point)
            assert bool(flags & unicode.BREAK) == (len(f"a{character}b".splitlines()) == 2), hex(point)


# ---- words and tokens


def solo_split(value: str) -> list[str]:
    table = unicode.classes()
    return "".join(f" {c} " if table[ord(c)] & unicode.SOLO else c for c in value).split()


@compiled
@given(texts)
def test_words_are_equal_where_their_hashes_are(values: list[str]) -> None:
    hashes, bounds = text.words(flat(series(values)))
    expected = [solo_split(value) for value in values]
    assert np.diff(bounds).tolist() == [len(words) for words in expected]
    names: dict[int, str] = {}
    for value, word in zip(hashes.tolist(), (w for words in expected for w in words), strict=True):
        assert names.setdefault(value, word) == word
    assert len(set(names.values())) == len(names)


TOKEN = re.compile(r"[0-9](?:[0-9]|[.,](?=[0-9]))*|\S")


def slow_tokens(value: str) -> list[str]:
    table, found, at = unicode.classes(), [], 0
    while at < len(value):
        flags = int(table[ord(value[at])])
        if not flags & unicode.WORD:
            at += 1
            continue
        if value[at] in "0123456789":
            end = TOKEN.match(value, at).end()  # type: ignore[union-attr]
        else:
            end = at + 1
            while not flags & unicode.SOLO and end < len(value):
                following = int(table[ord(value[end])])
                if following & unicode.SOLO or not following & unicode.WORD or value[end] in "0123456789":
                    break
                end += 1
        found.append(value[at:end])
        at = end
    return found


@compiled
@given(texts)
@example(["1,000 apples cost 3.14, no 1.5.2! x2 2x 中1文 a_b १२"])
def test_tokens_lie_where_they_are_said_to_lie(values: list[str]) -> None:
    buffers = flat(series(values))
    hashes, starts, ends, bounds = text.tokens(buffers)
    found = [bytes(buffers.data[a:b]).decode() for a, b in zip(starts, ends, strict=True)]
    assert found == [token for value in values for token in slow_tokens(value)]
    assert np.diff(bounds).tolist() == [len(slow_tokens(value)) for value in values]
    for value, token in zip(hashes.tolist(), found, strict=True):
        assert value & 1 == (token[0] in "0123456789")


def test_a_number_is_the_same_with_and_without_thousands() -> None:
    hashes = text.tokens(flat(series(["1,000 1000 1.000 ten"])))[0].tolist()
    assert hashes[0] == hashes[1] != hashes[2]


# ---- statistics


def slow_statistics(value: str, stops: tuple[str, ...]) -> dict[str, int]:
    table = unicode.classes()
    marks = unicode.PUNCTUATION | unicode.TERMINAL
    words, lines, feeds = value.split(), value.splitlines(), value.split("\n")
    plain = [w for w in words if any(not table[ord(c)] & marks for c in w)]
    solid = [line for line in feeds if line.strip()]
    feed_lines = re.split("\n+", value)
    paragraphs = re.split(r"\n{2,}", value.strip())

    def duplicates(parts: list[str]) -> tuple[int, int]:
        seen: set[str] = set()
        extra = [p for p in parts if p in seen or seen.add(p)]  # type: ignore[func-returns-value]
        return len(extra), sum(map(len, extra))

    return {
        "words": len(words),
        "plain_words": len(plain),
        "plain_word_chars": sum(map(len, plain)),
        "alpha_words": sum(any(c.isalpha() for c in w) for w in words),
        "stop_words": len(set(words) & set(stops)),
        "chars": len(value),
        "solid_chars": sum(not c.isspace() for c in value),
        "symbols": sum(not c.isspace() and unicodedata.category(c)[0] not in "LNM" for c in value),
        "hashes": value.count("#"),
        "hashtags": sum(w[0] == "#" and w[1:2].isalnum() for w in words),
        "ellipses": value.count("…") + value.count("..."),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "feeds": value.count("\n"),
        "feed_lines": len(feed_lines),
        "duplicate_lines": duplicates(feed_lines)[0],
        "duplicate_line_chars": duplicates(feed_lines)[1],
        "solid_lines": len(solid),
        "duplicate_solid_lines": duplicates(solid)[0],
        "duplicate_solid_chars": duplicates(solid)[1],
        "terminal_lines": sum(bool(table[ord(line[-1])] & unicode.TERMINAL) for line in solid),
        "short_lines": sum(len(line) <= 30 for line in solid),
        "paragraphs": len(paragraphs),
        "duplicate_paragraphs": duplicates(paragraphs)[0],
        "duplicate_paragraph_chars": duplicates(paragraphs)[1],
    }


@compiled
@given(texts)
@example(
    ["\n", "\n\n", "a\r\nb\r\n", " - x...\n  • y…  \n", "#tag # h\n\na\nb\n\na\nb", "....... . .. ...", "\x1c\x1d", "x\n\n \n\nx"]
)
def test_statistics_are_those_of_obvious_python(values: list[str]) -> None:
    stops = ("the", "of", "a", "be")
    figures, hashes, lengths, bounds = text.statistics(flat(series(values)), stops)
    for row, value in enumerate(values):
        assert dict(zip(text.FIGURES, figures[row].tolist(), strict=True)) == slow_statistics(value, stops), repr(value)
    words = [word for value in values for word in value.split()]
    assert lengths.tolist() == [len(word) for word in words]
    assert len(set(hashes.tolist())) == len(set(words))
    assert bounds[-1] == len(words)


# ---- repetition


def slow_repetition(value: str) -> dict[str, int]:
    words = value.split()
    found = {}
    for n in repetition.TOP:
        grams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        top = Counter(grams).most_common(1)
        found[f"top_{n}"] = len(top[0][0]) * top[0][1] if top else 0
    for n in repetition.DUPLICATE:
        seen: set[tuple[str, ...]] = set()
        at = chars = 0
        while at < len(words) - n + 1:
            gram = tuple(words[at : at + n])
            if gram in seen:
                chars += sum(map(len, gram))
                at += n
            else:
                seen.add(gram)
                at += 1
        found[f"duplicate_{n}"] = chars
    found["loop"] = 0
    for period in range(1, repetition.LONGEST_PERIOD + 1):
        for start in range(len(words)):
            end = start + period
            while end < len(words) and words[end] == words[end - period]:
                end += 1
            if end - start >= 4 * period and end <= len(words):
                found["loop"] = max(found["loop"], end - start)
    return found


@compiled
@given(repetitive | texts)
@example(["a b c d e " * 9, "x", "", "one two"])
def test_repetition_is_that_of_obvious_python(values: list[str]) -> None:
    _, hashes, lengths, bounds = text.statistics(flat(series(values)), ("the",))
    figures = repetition.repetition(hashes, lengths, bounds)
    for row, value in enumerate(values):
        assert dict(zip(repetition.FIGURES, figures[row].tolist(), strict=True)) == slow_repetition(value), repr(value)


# ---- near duplicates


def slow_near_duplicates(values: list[str], size: int, threshold: float) -> list[tuple[int, float]]:
    kept: list[tuple[int, set[tuple[str, ...]]]] = []
    found = []
    for row, value in enumerate(values):
        words = solo_split(value)
        shingles = {tuple(words[i : i + size]) for i in range(len(words) - size + 1)} or ({tuple(words)} if words else set())
        best = (-1, 0.0)
        for other, theirs in kept:
            jaccard = len(shingles & theirs) / len(shingles | theirs)
            if shingles and jaccard >= threshold and jaccard > best[1]:
                best = (other, jaccard)
        if best[0] < 0 and shingles:
            kept.append((row, shingles))
        found.append(best)
    return found


def variations() -> st.SearchStrategy[list[str]]:
    """Texts made of few words, and of one another with a word changed, so that similarities lie on both sides of any bound."""
    word = st.sampled_from(["red", "blue", "sun", "moon", "字", "tree", "the", "a", "of"])
    line = st.lists(word, max_size=14)

    def spread(lines: list[list[str]], edits: list[tuple[int, int, str]]) -> list[str]:
        out = [list(line) for line in lines]
        for which, at, new in edits:
            copy = list(out[which % len(out)])
            if copy:
                copy[at % len(copy)] = new
            out.append(copy)
        return [" ".join(line) for line in out]

    edits = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), word), max_size=12)
    return st.builds(spread, st.lists(line, min_size=1, max_size=5), edits)


@settings(max_examples=200, deadline=None)
@given(variations(), st.sampled_from([0.3, 0.5, 0.75, 0.8, 1.0]), st.sampled_from([1, 2, 5]))
def test_near_duplicates_are_exactly_those_of_comparing_all_pairs(values: list[str], threshold: float, size: int) -> None:
    of, jaccard = join.near_duplicates(flat(series(values)), size=size, threshold=threshold)
    assert list(zip(of.tolist(), jaccard.tolist(), strict=True)) == slow_near_duplicates(values, size, threshold)


def test_blocks_and_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(7)
    base = [" ".join(generator.choice(["alpha", "beta", "gamma", "delta", "eps"], 40)) for _ in range(60)]
    values = series(base + [f"{value} tail" for value in base] + base)
    whole = join.near_duplicates(flat(values), size=5, threshold=0.8)
    monkeypatch.setattr("pytest_distill.measuring.kernels.buffers.Flat.blocks.__defaults__", (500,))
    cut = join.near_duplicates(flat(values), size=5, threshold=0.8, threads=3)
    assert [a.tolist() for a in whole] == [a.tolist() for a in cut]
    assert (whole[0] >= 0).sum() == 120


# ---- overlap with known pieces


def index_of(items: list[str]) -> overlap.Index:
    hashes, _, _, bounds = text.tokens(flat(series(items)))
    return overlap.build(hashes, bounds)


def found_in(index: overlap.Index, rows: list[str]) -> overlap.Overlaps:
    hashes, _, _, bounds = text.tokens(flat(series(rows)))
    return overlap.search(index, hashes, bounds)


ITEM = "a farmer keeps 12 sheep and sells 3 of them every market day until only half of the flock is left in the lower field"
OTHER = "during winter the miller grinds 40 sacks of rye for each baker who brought 2 casks of cider to his wooden bridge"


def test_an_item_is_found_whole_wherever_it_stands() -> None:
    found = found_in(
        index_of([ITEM, OTHER]), [OTHER, f"lorem ipsum dolor. {ITEM} sit amet", "nothing of the kind here, only words"]
    )
    assert found.item.tolist() == [1, 0, -1]
    assert found.coverage.tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert found.run[1] == len(re.findall("[a-z]+", ITEM))
    assert (found.start[1], found.end[1]) == (3, 3 + len(ITEM.split()))


def test_changed_numbers_count_as_equal_and_changed_words_as_missing() -> None:
    found = found_in(index_of([ITEM, OTHER]), [ITEM.replace("12", "99"), ITEM.replace("farmer", "banker")])
    assert found.coverage[0] == pytest.approx(1.0)
    assert 0.8 < found.coverage[1] < 1.0


def test_the_same_words_in_another_order_or_far_apart_are_no_copy() -> None:
    words = ITEM.split()
    found = found_in(index_of([ITEM]), [" ".join(reversed(words)), " filler words between ".join(words)])
    assert found.item.tolist() == [-1, -1]


def test_items_of_few_words_count_only_verbatim_with_their_numbers() -> None:
    item = "if n is 1 return 1 else return n"
    found = found_in(index_of([item]), [f"so, {item}!", item.replace("1", "2"), item.replace("else", "then")])
    assert found.coverage.tolist() == [1.0, 0.0, 0.0]


def test_part_of_a_long_item_is_found() -> None:
    generator = np.random.default_rng(3)
    words = [f"w{''.join(generator.choice(list('abcdefgh'), 5))}" for _ in range(1000)]
    found = found_in(index_of([" ".join(words), ITEM]), [" ".join(words[:300]), " ".join(words[520:570])])
    assert found.item.tolist()[0] == 0
    assert found.coverage[0] == pytest.approx(1.0)
    assert found.run[1] == 50


def test_a_family_of_alike_items_is_still_found() -> None:
    family = [ITEM.replace("farmer", f"farmer{'abcdefghij'[n % 10]}{'abcdefghij'[n // 10]}") for n in range(100)]
    assert found_in(index_of(family), [ITEM]).coverage[0] > 0.78


@compiled
@given(texts, texts)
def test_any_text_may_be_item_and_row(items: list[str], rows: list[str]) -> None:
    found = found_in(index_of(items), rows + items)
    assert ((found.coverage >= 0) & (found.coverage <= 1 + 1e-9)).all()
    assert (found.item < len(items)).all()


def test_a_heavier_subsequence_is_what_alignment_finds() -> None:
    generator = np.random.default_rng(5)
    room = [np.zeros(64), np.zeros(64), np.zeros(64, np.int32)]
    for _ in range(200):
        piece, row = (generator.integers(1, 6, generator.integers(1, 12)).astype(np.uint64) * np.uint64(2) for _ in range(2))
        weights = generator.random(len(piece))
        weight, run = overlap._align(piece, weights, row, *room)
        table = np.zeros((len(piece) + 1, len(row) + 1))
        longest = 0
        for i, a in enumerate(piece):
            for j, b in enumerate(row):
                table[i + 1, j + 1] = table[i, j] + weights[i] if a == b else max(table[i, j + 1], table[i + 1, j])
                k = 0
                while k <= min(i, j) and piece[i - k] == row[j - k]:
                    k += 1
                longest = max(longest, k)
        assert math.isclose(weight, table[-1, -1])
        assert run == longest


# ---- folding


@compiled
@given(texts)
def test_folding_is_casefold_and_composition(values: list[str]) -> None:
    expected = [unicodedata.normalize("NFC", value.casefold()) for value in values]
    assert folded(series(values)).to_list() == expected
    assert [" ".join(c.split()) for c in collapsed(series(values)).to_list()] == [" ".join(e.split()) for e in expected]


def test_every_character_folds_as_python_folds_it() -> None:
    values = [f"a{chr(point)}b" for point in range(0x30000) if not 0xD800 <= point < 0xE000]
    expected = [unicodedata.normalize("NFC", value.casefold()) for value in values]
    assert folded(series(values)).to_list() == expected
    capitals = series([value.upper() if value.isascii() else value for value in values])
    assert [v.lower() if v.isascii() else v for v in folded_beyond_ascii(capitals).to_list()] == expected


def test_what_looks_the_same_is_the_same_and_a_square_is_no_two() -> None:
    same = collapsed(series(["Straße  É\n", " STRASSE e\u0301", "x² = 4", "x2 = 4"])).to_list()
    assert same[0] == same[1]
    assert same[2] != same[3]


# ---- compiling


def test_no_kernel_calls_a_jitted_function_of_another_file() -> None:
    """numba's cache looks at a function's own file: an edited helper elsewhere would go on running in its old form."""
    trees = {path.stem: ast.parse(path.read_text()) for path in KERNELS.glob("*.py")}
    jitted = {
        node.name: stem
        for stem, tree in trees.items()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and any("njit" in ast.unparse(d) for d in node.decorator_list)
    }
    borrowed = [
        f"{stem} imports {alias.name}"
        for stem, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in jitted and jitted[alias.name] != stem
    ]
    assert jitted
    assert borrowed == []


def test_a_package_folder_that_cannot_be_written_caches_with_the_user(tmp_path: Path) -> None:
    package = tmp_path / "site" / "readonly_kernels"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from numba import njit\n\n\n@njit(cache=True)\ndef twice(x: int) -> int:\n    return 2 * x\n"
    )
    (package / "__pycache__").write_text("a file where the folder of jitted code would be")
    code = "from readonly_kernels import twice; assert twice(21) == 42; print(twice.stats.cache_path)"
    environment = {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "site"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HOME": str(tmp_path),
    }
    environment.pop("NUMBA_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(tmp_path / "cache")
    assert list(Path(done.stdout.strip()).glob("*.nbc"))
