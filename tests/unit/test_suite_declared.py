"""Gate declarations out of the syntax tree: what is written is what is read, and nothing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.errors import Code, DistillError
from pytest_distill.gating.declare import gate
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.model import Policy
from pytest_distill.suite import digest
from pytest_distill.suite.declared import (
    Declared,
    check_policy,
    declared_gates,
    effective_limits,
    not_applicable,
    read_file,
    severity,
    suite_folder,
)

HEAD = "from pytest_distill import gate\n"


def read(tmp_path: Path, text: str) -> list[Declared]:
    file = tmp_path / "test_it.py"
    file.write_text(HEAD + text, encoding="utf-8")
    return list(read_file(file, "workspace"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gates")


word = st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True)
ids = st.lists(word, min_size=1, max_size=4).flatmap(
    lambda words: st.lists(st.sampled_from(".-"), min_size=len(words) - 1, max_size=len(words) - 1).map(
        lambda joints: "".join(w + j for w, j in zip(words, [*joints, ""], strict=True))
    )
)
values = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.text(max_size=10)
limits = st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True).filter(
        lambda n: n.isidentifier() and not n.startswith(("max_rejected", "severity"))
    ),
    values | st.lists(st.text(max_size=5), max_size=3),
    max_size=4,
)
applies = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.lists(st.sampled_from(["sft", "rag", "text", "preference"]), min_size=1, max_size=3) | st.just("sft"),
        "origin": st.sampled_from(["ingested", "generated"]),
        "asks": st.sampled_from(["inspection", "bulk"]),
        "columns": st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=2),
    },
)


@given(
    gate_id=ids, limits=limits, applies=applies, rejects=st.none() | st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True),
    rows=st.sampled_from(["remaining", "all"]), severity=st.sampled_from(["block", "warn"]),
)  # fmt: skip
def test_what_is_written_is_what_is_read_and_what_the_decorator_says(folder: Path, gate_id: str, **facts: Any) -> None:
    arguments = ", ".join(f"{name}={value!r}" for name, value in facts.items())
    (found,) = read(folder, f"@gate({gate_id!r}, {arguments})\ndef test_it(): pass\n")
    assert (found.id, found.rejects, found.rows, found.severity) == (gate_id, facts["rejects"], facts["rows"], facts["severity"])
    assert found.applies == facts["applies"]
    assert {k: list(v) if isinstance(v, tuple) else v for k, v in found.limits.items()} == facts["limits"]
    assert [type(v) for v in found.limits.values()] == [
        tuple if isinstance(v, list) else type(v) for v in facts["limits"].values()
    ]
    mark = gate(gate_id, **facts).mark
    assert mark.args == (found.id,)
    assert mark.kwargs["limits"] == facts["limits"]


@given(st.text(max_size=12))
def test_an_id_is_words_joined_or_it_is_refused(folder: Path, gate_id: str) -> None:
    import re

    text = f"@gate({gate_id!r})\ndef test_it(): pass\n"
    if re.fullmatch(r"[a-z0-9]+([.-][a-z0-9]+)*", gate_id):
        assert read(folder, text)[0].id == gate_id
    else:
        with pytest.raises(DistillError, match="has the gate id"):
            read(folder, text)


def test_gates_are_found_wherever_python_lets_them_be_written(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '''
class TestA:
    class TestB:
        @gate("in.class")
        def test_it(self):
            """What it guards.

            And more."""

if True:
    @gate("in.if")
    def test_if(): pass
else:
    @gate("in.else")
    async def test_else(): pass
try:
    @gate("in.try")
    def test_try(): pass
except ImportError:
    @gate("in.except")
    def test_except(): pass
finally:
    @gate("in.finally")
    def test_finally(): pass
with open("never opened") as f:
    @gate(id="in.with")
    def test_with(): pass
raise SystemExit("this file is never run")
''',
    )
    assert [g.id for g in found] == ["in.class", "in.if", "in.else", "in.try", "in.finally", "in.except", "in.with"]
    assert (found[0].function, found[0].title, found[0].kind) == ("TestA.TestB.test_it", "What it guards.", "batch")
    assert found[1].title == "test_if"


@pytest.mark.parametrize(
    "text",
    [
        "from pytest_distill import gate as g\n@g('a')\ndef test_it(): pass",
        "import pytest_distill as p\nx = p.gate('a')",
        "import pytest\nx = pytest.mark.gate('a')",
        "for n in 'ab':\n    test = gate(n)(print)",
        "def make():\n    return gate",
        "match 1:\n    case 1:\n        @gate('a')\n        def test_it(): pass",
        "test_it = gate('a')(lambda: None)",
    ],
)
def test_a_declaration_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DistillError) as caught:
        read(tmp_path, text)
    assert caught.value.code is Code.GATE


def test_the_standard_suite_is_read_without_running_it(tmp_path: Path) -> None:
    (tmp_path / "distill.toml").write_text("")
    gates = declared_gates(workspaces.load(tmp_path))
    assert len(gates) > 20
    assert {g.origin for g in gates.values()} == {"standard"}
    assert all(g.file.is_relative_to(suite_folder()) for g in gates.values())
    assert all(g.title != g.function for g in gates.values()), "each says in a line what it guards"
    check_policy(gates, Policy())


def gate_of(**facts: Any) -> Declared:
    base: dict[str, Any] = {"id": "a", "title": "t", "origin": "workspace", "file": Path("f"), "line": 1, "function": "test"}
    return Declared(**{**base, **facts})


def policy_of(**settings: Any) -> Policy:
    return Policy.model_validate({"gates": {"a": settings}})


def test_a_policy_sets_what_is_there_and_of_its_kind() -> None:
    row = gate_of(rejects="x", limits={"whole": 3, "share": 0.5, "free": None})
    assert effective_limits(row, policy_of(whole=4, share=1, free="anything", max_rejected_share=0)) == {
        "whole": 4, "share": 1, "free": "anything", "max_rejected_rows": 0, "max_rejected_share": 0.0,
    }  # fmt: skip
    assert effective_limits(row, Policy()) == {
        "whole": 3,
        "share": 0.5,
        "free": None,
        "max_rejected_rows": 0,
        "max_rejected_share": None,
    }
    assert effective_limits(gate_of(), Policy()) == {}


@pytest.mark.parametrize("name", ["max_rejected_rows", "max_rejected_share", "severity"])
def test_a_fixed_gate_has_no_allowance(name: str) -> None:
    with pytest.raises(DistillError, match="this gate is fixed") as caught:
        effective_limits(gate_of(rejects="x", fixed=True), policy_of(**{name: "warn" if name == "severity" else 1}))
    assert caught.value.code is Code.POLICY


def test_severity_is_the_policys_or_the_gates_own() -> None:
    assert severity(gate_of(), Policy()) == "block"
    assert severity(gate_of(severity="warn"), Policy()) == "warn"
    assert severity(gate_of(), policy_of(severity="warn")) == "warn"
    assert severity(gate_of(severity="warn"), policy_of(severity="block")) == "block"


@pytest.mark.parametrize(
    ("conditions", "why"),
    [
        ({}, None),
        ({"kind": "sft"}, None),
        ({"kind": ["rag", "text"]}, "for rag and text batches; this one is sft"),
        ({"origin": ["generated"]}, "for generated batches; this one is ingested"),
        ({"pipeline": "ingest"}, None),
        ({"pipeline": ["stage1", "stage2"]}, "for batches of the pipeline stage1 or stage2; this one is of ingest"),
        ({"columns": ["a", "c"]}, "the batch has no column 'c'"),
        ({"policy": "leakage.markers"}, "the policy sets no leakage.markers"),
        ({"policy": "language.allowed"}, None),
        ({"asks": "bulk"}, "for generated bulk"),
        (
            {"asks": "inspection"},
            "for generated bulk, and the policy asks for no other inspection ([inspection] mode)",
        ),
        ({"kind": "sft", "columns": "a", "policy": ["language.allowed", "tokenizer.path"]}, "the policy sets no tokenizer.path"),
    ],
)
def test_every_condition_has_to_hold(conditions: dict[str, Any], why: str | None) -> None:
    facts = {"kind": "sft", "origin": "ingested", "pipeline": "ingest", "bulk": False}
    found = not_applicable(gate_of(applies=conditions), **facts, columns=("a", "b"), policy=Policy())
    assert found == why


def test_gates_digest_follows_code_and_not_place(tmp_path: Path) -> None:
    digests = []
    for name in ("here", "deep/there"):
        root = tmp_path / name
        (root / "gates").mkdir(parents=True)
        (root / "distill.toml").write_text("")
        (root / "gates" / "test_a.py").write_text("A = 1\n")
        (root / "batches" / "demo").mkdir(parents=True)
        (root / "batches" / "demo" / "data.py").write_text(name)
        (root / "env").mkdir()
        (root / "env" / "pyvenv.cfg").write_text("")
        (root / "env" / "module.py").write_text(name)
        digests.append(digest.gates_digest(workspaces.load(root)))
    assert digests[0] == digests[1]
    (tmp_path / "here" / "helper.py").write_text("")
    assert digest.gates_digest(workspaces.load(tmp_path / "here")) != digests[0]
    (tmp_path / "here" / "helper.py").rename(tmp_path / "here" / "gates" / "helper.py")
    assert digest.gates_digest(workspaces.load(tmp_path / "here")) != digests[0]
