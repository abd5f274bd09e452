"""The little language of transforms, and the refusal of transforms that are more than a function of their row."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.evidence import functions, purity, transforms, values

ROW = {"a": "x", "n": 2, "deep": {"list": ["p", {"q": True}]}, "none": None, "zero": 0, "text": "t"}
SIG = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("constant", "constant"),
        (3, 3),
        (False, False),
        ("{a}", "x"),
        ("{n}", 2),
        ("{zero}", 0),
        ("{deep.list.1.q}", True),
        ("{deep.list.9}", None),
        ("{deep.a.b}", None),
        ("{none}", None),
        ("{gone}", None),
        ("r:{a}:{n}:{deep.list.1.q}", "r:x:2:true"),
        ("r:{a}:{gone}", None),
        ("{@sig}", "0123456789abcdef"),
        (["{gone}", "{none}", "{n}", "{a}"], 2),
        ({"join": ["{a}", "{gone}", "{deep.list.0}"], "by": "-"}, "x-p"),
        ({"join": ["{gone}"]}, None),
        ({"map": "{a}", "to": {"x": "accept"}}, "accept"),
        ({"map": "{a}", "to": {"y": "accept"}}, None),
        ({"map": "{a}", "to": {"y": "accept"}, "otherwise": "reject"}, "reject"),
        ({"map": "{gone}", "to": {}, "otherwise": "reject"}, None),
        ({"function": "upper"}, "X"),
    ],
)
def test_a_value_is_taken_from_the_row(spec, expected) -> None:
    found = values.value(spec, {"upper": lambda row: row["a"].upper()}, "here")(ROW, SIG)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("spec", "holds"),
    [
        ("{a}", True),
        ("{zero}", False),
        ("{gone}", False),
        ({"is": "{n}", "equals": 2}, True),
        ({"is": "{n}", "equals": True}, False),
        ({"is": "{zero}", "equals": False}, False),
        ({"is": "{n}", "at_least": 2}, True),
        ({"is": "{n}", "above": 2}, False),
        ({"is": "{a}", "above": 2}, False),
        ({"is": "{gone}", "below": 2}, False),
        ({"is": "{n}", "at_most": 1}, False),
        ({"is": "{a}", "one_of": ["x", "y"]}, True),
        ({"is": "{a}", "ends_with": "x"}, True),
        ({"is": "{n}", "ends_with": "2"}, False),
    ],
)
def test_a_condition_holds_or_not(spec, holds: bool) -> None:
    assert values.condition(spec, {}, "here")(ROW, SIG) is holds


@pytest.mark.parametrize("spec", ["{a", "a}b", [], {}, {"function": "gone"}, {"join": "a"}, {"map": "{a}"}, {"what": 1}, None])
def test_what_is_no_value_is_refused_by_its_place(spec) -> None:
    with pytest.raises(DistillError, match="stream s, text") as caught:
        values.value(spec, {}, "stream s, text")
    assert caught.value.code is Code.POLICY


@pytest.mark.parametrize("spec", [{"is": "{a}"}, {"is": "{a}", "equals": 1, "above": 2}, {"is": "{a}", "like": 1}])
def test_a_condition_that_is_none_is_refused(spec) -> None:
    with pytest.raises(DistillError, match="a condition has"):
        values.condition(spec, {}, "here")


MINIMAL = """
schema_version = 1
[[stream]]
name = "runs"
class = "verdict-bearing"
scored_by = "markers"
[stream.fields]
run_id = "{id}"
task_id = "{task}"
timestamp = "{at}"
text = {text}
[[stream.success]]
marker = "fine"
when = "{{ok}}"
"""


def own(folder: Path, text: str = '"{said}"', code: str | None = None, body: str = MINIMAL) -> tuple[transforms.Stream, ...]:
    (folder / "evidence.toml").write_text(body.replace("{text}", text).replace("{{ok}}", "{ok}"))
    if code is not None:
        (folder / "mine.py").write_text(code)
    return transforms.load(folder)


def test_a_workspace_adds_streams_of_its_own_and_functions_beside_them(tmp_path: Path) -> None:
    streams = own(tmp_path, '{ function = "mine.py:shout" }', "def shout(row):\n    return row['said'].upper()\n")
    stream = next(stream for stream in streams if stream.name == "runs")
    assert len(streams) == len(transforms.load()) + 1
    from evidence_strategies import PLACE

    record = stream.record({"id": "1", "task": "t", "at": "2026-01-01T00:00:00Z", "said": "yes", "ok": 1}, PLACE)
    assert (record.text, record.success_markers, record.scored_by) == ("YES", ("fine",), "markers")


def test_the_digest_of_a_transform_covers_table_and_function(tmp_path: Path) -> None:
    def digest(text: str, code: str) -> str:
        return next(s for s in own(tmp_path, text, code) if s.name == "runs").sha256

    function = '{ function = "mine.py:f" }'
    first = digest(function, "def f(row): return row['a']\n")
    assert digest(function, "def f(row): return row['a']\n") == first
    assert digest(function, "def f(row): return row['b']\n") != first
    assert digest('{ join = ["x", "y"] }', "def f(row): return row['a']\n") != first


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("schema_version = 1", "schema_version = 2"), "schema_version"),
        (('run_id = "{id}"', ""), "lack 'run_id'"),
        (('run_id = "{id}"', 'run_id = "{id}"\nwhen = "x"'), "no field 'when'"),
        (('class = "verdict-bearing"', 'class = "rumour"'), "class"),
        (('scored_by = "markers"', 'scored_by = "mood"'), "scored_by"),
        (('name = "runs"', 'name = "runs"\nfile = "../runs.jsonl"'), "leaves the streams folder"),
        (('name = "runs"', 'name = "runs"\nfile = "audits.jsonl"'), "read one file"),
        (('name = "runs"', 'name = "a/b"'), "name"),
        (("[[stream]]", "[[stream"), "is no TOML"),
    ],
)
def test_a_transform_file_that_is_wrong_is_refused(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    assert change[0] in MINIMAL
    with pytest.raises(DistillError, match=said) as caught:
        own(tmp_path, '"x"', body=MINIMAL.replace(*change))
    assert caught.value.code is Code.POLICY


IMPURE = {
    "a clock": ("import datetime\ndef f(row): return datetime.datetime.now().isoformat()", "reads the clock"),
    "a clock by its bare name": ("from time import time\ndef f(row): return time()", "reads the clock"),
    "a clock of a class": ("from datetime import datetime\ndef f(row): return str(datetime.utcnow())", "reads the clock"),
    "a clock behind a helper": ("import time\ndef g(): return time.time()\ndef f(row): return g()", "reads the clock"),
    "a clock imported inside": ("def f(row):\n    import time\n    return time.time()", "reads the clock"),
    "a clock in a comprehension": ("import time\ndef f(row): return [time.time() for _ in row]", "reads the clock"),
    "the environment": ("import os\ndef f(row): return os.environ['X']", "reads the environment"),
    "the environment by name": ("from os import environ\ndef f(row): return environ.get('X')", "reads the environment"),
    "chance": ("import random\ndef f(row): return random.random()", "draws on chance"),
    "a file": ("def f(row): return open('x').read()", "reaches outside"),
    "a module's list": ("seen = []\ndef f(row):\n    seen.append(row)\n    return len(seen)", "keeps state between calls"),
    "a module's table": ("seen = {}\ndef f(row):\n    seen[row['a']] = 1\n    return len(seen)", "keeps state between calls"),
    "a global": ("n = 0\ndef f(row):\n    global n\n    n += 1\n    return n", "keeps state between calls"),
    "a default": ("def f(row, seen=[]):\n    return len(seen)", "keeps state between calls"),
    "a closure": ("def make():\n    seen = []\n    return lambda row: seen.append(row)\nf = make()", "keeps state between calls"),
    "an object": ("class F:\n    def __call__(self, row): return 1\nf = F()", "whose state nobody can see"),
}


@pytest.mark.parametrize("what", IMPURE)
def test_a_transform_that_is_no_function_of_its_row_is_caught(tmp_path: Path, what: str) -> None:
    code, said = IMPURE[what]
    with pytest.raises(DistillError, match=said):
        own(tmp_path, '{ function = "mine.py:f" }', code)


@pytest.mark.parametrize(
    "code",
    [
        "def f(row): return row.get('time')",
        "WORDS = {'a': 1}\ndef f(row): return WORDS.get(row['a'])",
        "import re\ndef f(row): return re.sub('x', 'y', row['a'])",
        "import json\ndef f(row): return json.dumps(row, sort_keys=True)",
        "from datetime import datetime\ndef f(row): return datetime.fromisoformat(row['ts']).isoformat()",
        "def f(row):\n    found = []\n    found.append(row['a'])\n    return found[0]",
        "WORDS = {'a': 1}\ndef f(row):\n    found = {}\n    found['x'] = WORDS.get(row['a'])\n    return found",
    ],
)
def test_an_honest_function_is_spared(tmp_path: Path, code: str) -> None:
    assert own(tmp_path, '{ function = "mine.py:f" }', code)


@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_the_shipped_functions_are_pure(name: str) -> None:
    assert purity.impurities(functions.FUNCTIONS[name]) == []
    assert functions.FUNCTIONS[name]({}) is None


@pytest.mark.parametrize("place", ["../mine.py:f", "gone.py:f", "mine.py:g"])
def test_a_function_that_is_not_there_is_refused(tmp_path: Path, place: str) -> None:
    with pytest.raises(DistillError):
        own(tmp_path, f'{{ function = "{place}" }}', "def f(row): return 1")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"ts": 1772323200123}, "2026-03-01T00:00:00.123Z"),
        ({"ts": 0}, "1970-01-01T00:00:00.000Z"),
        ({"ts": True}, None),
        ({"ts": "2026"}, None),
        ({"ts": 10**18}, None),
    ],
)
def test_milliseconds_become_a_time(row, expected) -> None:
    assert functions.epoch_milliseconds(row) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"total_events": 3, "ok_events": 3}, True),
        ({"total_events": 3, "ok_events": 2}, False),
        ({"total_events": 0, "ok_events": 0}, None),
        ({"total_events": 2, "ok_events": 3}, None),
        ({"ok_events": 3}, None),
    ],
)
def test_events_are_all_well_only_where_both_counts_say_so(row, expected) -> None:
    assert functions.all_events_ok(row) is expected
