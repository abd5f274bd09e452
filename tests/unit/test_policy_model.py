"""distill.toml: what it says is what rules, and its digest is that of its bytes and of the bytes it names."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.model import Policy
from pytest_distill.policy.workspace import Workspace

FULL = """
schema_version = 1
[tokenizer]
path = "tokenizer.json"
[language]
allowed = ["en", "de"]
min_confidence = 0.5
[[contamination.benchmarks]]
name = "tiny"
path = "tiny.jsonl"
fields = ["question"]
[leakage]
markers = ["###"]
[privacy]
allow = ["example.com"]
[privacy.patterns]
badge = 'EMP-\\d{6}'
[required]
gates = ["own.gate"]
[gates."own.gate"]
whole = 3
share = 0.5
on = true
word = "w"
words = ["a", "b"]
[[waivers]]
gate = "own.gate"
reason = "r"
who = "w"
expires = 2027-01-31
"""


def make(root: Path, text: str = FULL, benchmark: str = "tiny.jsonl") -> Path:
    (root / benchmark).parent.mkdir(parents=True, exist_ok=True)
    (root / "distill.toml").write_text(text)
    (root / "tokenizer.json").write_text("{}")
    (root / benchmark).write_text('{"question": "?"}\n')
    return root


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(DistillError) as caught:
        workspaces.load(make(tmp_path, text))
    assert caught.value.code is Code.POLICY
    return caught.value.message


def test_what_is_written_is_what_rules(tmp_path: Path) -> None:
    policy = workspaces.load(make(tmp_path)).policy
    assert policy.language.allowed == ("en", "de")
    assert policy.gates["own.gate"] == {"whole": 3, "share": 0.5, "on": True, "word": "w", "words": ("a", "b")}
    assert [type(v) for v in policy.gates["own.gate"].values()] == [int, float, bool, str, tuple]
    assert policy.waivers[0].expires.isoformat() == "2027-01-31"
    assert policy.tokenizer.path is not None
    assert policy.tokenizer.path.resolved == tmp_path / "tokenizer.json"
    assert policy.contamination.benchmarks[0].path.resolved == tmp_path / "tiny.jsonl"


def test_a_policy_survives_its_own_dump(tmp_path: Path) -> None:
    policy = workspaces.load(make(tmp_path)).policy
    assert Policy.model_validate(policy.model_dump()) == policy
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


def test_an_empty_file_is_the_default_policy(tmp_path: Path) -> None:
    assert workspaces.load(make(tmp_path, "")).policy == Policy()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[langauge]", "langauge"),
        ("[language]\nalowed = ['en']", "[language] alowed does not exist"),
        ("[language]\nallowed = ['English']", "language.allowed.0"),
        ("[language]\nmin_confidence = 1.5", "language.min_confidence"),
        ("[language]\nmin_confidence = nan", "language.min_confidence"),
        ("[duplicates]\nsimilarity = 0", "duplicates.similarity"),
        ("[tokenizer]\npath = 'gone.json'", "distill.toml names gone.json, which is no file"),
        ("[tokenizer]\npath = '.'", "distill.toml names ., which is no file"),
        ("[[contamination.benchmarks]]\nname = 'a'\npath = 'tiny.jsonl'\nfields = []", "fields"),
        ("[[contamination.benchmarks]]\nname = 'a'\npath = 'tiny.jsonl'\nfields = ['q']\n" * 2, "two benchmarks have one name"),
        ("[[waivers]]\ngate = 'a'\nreason = 'r'\nwho = 'w'\nexpires = 2027-01-31\n" * 2, "two waivers name one gate"),
        ("[[waivers]]\ngate = 'a'\nreason = ' '\nwho = 'w'\nexpires = 2027-01-31\n", "reason"),
        ("[[waivers]]\ngate = 'a'\nreason = 'r'\nwho = 'w'\n", "expires"),
        ("schema_version = 2", "schema_version"),
        ("[gates.a]\nx = inf", "gates.a.x"),
        ("a = ", "distill.toml is no TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


def digest(root: Path) -> str:
    return workspaces.load(root).policy.sha256


def test_the_digest_depends_on_bytes_and_not_on_where_they_lie(tmp_path: Path) -> None:
    here = make(tmp_path / "here")
    there = Path(shutil.copytree(here, tmp_path / "deep" / "there"))
    assert digest(here) == digest(there)
    (there / "tokenizer.json").write_text("[]")
    assert digest(here) != digest(there)
    (there / "tokenizer.json").write_text("{}")
    assert digest(here) == digest(there)
    (there / "distill.toml").write_text(FULL + "# a word more\n")
    assert digest(here) != digest(there)


def test_a_tables_digest_depends_on_its_own_values_and_files(tmp_path: Path) -> None:
    policy = workspaces.load(make(tmp_path / "a")).policy
    there = make(tmp_path / "b", FULL.replace("0.5\n[[", "0.6\n[[").replace("tiny.jsonl", "deep/other.jsonl"), "deep/other.jsonl")
    other = workspaces.load(there).policy
    assert policy.table_digest("tokenizer") == other.table_digest("tokenizer")
    assert policy.table_digest("language") != other.table_digest("language")
    assert policy.table_digest("contamination") == other.table_digest("contamination"), "a name is no content"
    (tmp_path / "a" / "tiny.jsonl").write_text('{"question": "!"}\n')
    assert workspaces.load(tmp_path / "a").policy.table_digest("contamination") != other.table_digest("contamination")


SEMANTIC = (
    '[contamination]\nsemantic = true\n[[contamination.benchmarks]]\nname = "tiny"\npath = "tiny.jsonl"\nfields = ["question"]\n'
)
OTHER_MODEL = '[embedding]\nweights = "model.safetensors"\n'


@pytest.mark.parametrize(
    ("asks", "gate", "limit"),
    [
        (SEMANTIC, "contamination.meaning", "min_score"),
        ("[holdout]\nsemantic = true\n", "stage1.holdout-meaning", "min_cosine"),
    ],
)
def test_a_bound_of_one_model_judges_no_cosines_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asks: str, gate: str, limit: str
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"another model")

    def policy(text: str) -> Policy:
        return workspaces.load(make(tmp_path, text)).policy

    policy(asks)
    policy(OTHER_MODEL)
    assert refused(tmp_path, asks + OTHER_MODEL).startswith(f"{gate}: {limit} was fitted with all-MiniLM-L6-v2")
    assert policy(f'{asks}{OTHER_MODEL}[gates."{gate}"]\n{limit} = 0.5\n').gates[gate] == {limit: 0.5}
    monkeypatch.setattr("pytest_distill.policy.model.FITTED_WITH", hashlib.sha256(b"another model").hexdigest())
    policy(asks + OTHER_MODEL)


@pytest.mark.parametrize("name", ["gates", "sha256", "model_config", "nothing", "waivers"])
def test_only_tables_can_be_asked_for(name: str) -> None:
    with pytest.raises(DistillError, match="the policy has no table"):
        Policy().table(name)


def test_a_workspace_is_the_nearest_folder_with_a_policy(tmp_path: Path) -> None:
    root = make(tmp_path / "ws")
    deep = root / "a" / "b"
    deep.mkdir(parents=True)
    assert workspaces.load(start=deep).root == root.resolve()
    (root / "a" / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert workspaces.load(start=deep).root == root.resolve(), "a pyproject without our table is none of ours"
    (root / "a" / "pyproject.toml").write_text("[tool.distill.language]\nallowed = ['de']\n")
    found = workspaces.load(start=deep)
    assert found.root == (root / "a").resolve()
    assert found.policy.language.allowed == ("de",)


def test_no_workspace_is_refused_unless_none_is_needed(tmp_path: Path) -> None:
    with pytest.raises(DistillError) as caught:
        workspaces.load(tmp_path)
    assert caught.value.code is Code.WORKSPACE
    found = workspaces.load(start=tmp_path, allow_implicit=True)
    assert found.implicit
    assert found.policy == Policy()


def test_run_folders_are_numbered_and_never_shared(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, Policy())
    made = [workspace.new_run_folder("demo").name for _ in range(3)]
    (workspace.runs / "demo" / "notes").mkdir()
    (workspace.runs / "demo" / "1000000").mkdir()
    assert made == ["000001", "000002", "000003"]
    assert [f.name for f in workspace.run_folders("demo")] == [*made, "1000000"]
    assert workspace.new_run_folder("demo").name == "1000001"


@pytest.mark.parametrize("name", ["", "..", "a/b", "a\n", "-a", "a" * 101])
def test_what_is_no_batch_id_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DistillError) as caught:
        Workspace(tmp_path, Policy()).batch_folder(name)
    assert caught.value.code is Code.USAGE
