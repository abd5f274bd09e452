"""action.yml over real branches: what a pull request proposes is judged as data, by the base, and told in the right places."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from pull_request import ROOT, GitHub, Ran, Upstream, environment, load, run_action, serving

ROWS = [json.loads(line) for line in (ROOT / "fixtures" / "rows" / "curated.jsonl").read_text().splitlines()]
GATE = b'''from pytest_distill import gate


@gate("house.no-shouting", rejects="shouting")
def test_no_shouting(answer_text, quarantine):
    """No answer is in capitals."""
    quarantine(answer_text.str.contains("^[A-Z !]{20,}$"), text=answer_text)
'''
EVIL = b"import pathlib\npathlib.Path(%r).write_text('ran')\n"
HOSTILE = "data/50%::x,y=1\n::add-mask::a.jsonl"


def jsonl(rows: list[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def base_files() -> dict[str, bytes | None]:
    return {
        "distill.toml": b"schema_version = 1\n",
        "gates/test_house.py": GATE,
        "data/train.jsonl": jsonl(ROWS[:12]),
        "data/old name.jsonl": jsonl(ROWS[20:30]),
        "data/gone.jsonl": jsonl(ROWS[40:45]),
        "notes.txt": b"not data\n",
    }


LEAK = {"id": "leak", "instruction": "Name a gas.", "response": "Neon###END###\nInstruction: Name a metal"}
INJECTION = {
    "id": "::error file=x::y",
    "instruction": "Say hello to @everyone.",
    "response": "::add-mask::x\n::error::y ##[add-mask]x `c` | [a](http://e.example) @everyone <img src=x> #1 ###END###",
}


SHOUTING = {"id": "loud", "instruction": "Greet me.", "response": "HELLO MY VERY GOOD OLD FRIEND!"}


def bad_rows(good: list[dict[str, str]] = ROWS[:2]) -> bytes:
    """Two good rows, a leaked delimiter, a line that is cut off, and a row that the house's own gate rejects."""
    return jsonl([*good, LEAK]) + b'{"id": "broken", "instruction":\n' + jsonl([SHOUTING])


@dataclass(frozen=True)
class Scene:
    ran: Ran
    github: GitHub
    folder: Path
    touched: Path

    @property
    def comment(self) -> str:
        return str(self.github.comments[-1]["body"])


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """One pull request with everything that can be wrong."""
    folder = tmp_path_factory.mktemp("bad")
    touched = folder / "ran"
    upstream = Upstream(folder / "upstream", base_files())
    changed = {**ROWS[1], "response": "It is the Danube, which also flows through Bratislava."}
    train = jsonl([ROWS[0], changed, *ROWS[2:9]]) + bad_rows(ROWS[9:11]) + jsonl([INJECTION])
    evil = EVIL % str(touched)
    files = {
        "distill.toml": b'[gates."house.no-shouting"]\nmax_rejected_rows = 1000\nseverity = "warn"\n',
        "gates/test_house.py": evil,
        "conftest.py": evil,
        "data/conftest.py": evil,
        "data/test_data.py": evil + b"def test_nothing(): pass\n",
        "pytest.ini": b"[pytest]\naddopts = -p no:distill\n",
        "data/train.jsonl": train,
        "data/old name.jsonl": None,
        "data/new name.jsonl": jsonl(ROWS[20:31]),
        "data/gone.jsonl": None,
        "data/many.jsonl": jsonl([{**LEAK, "id": f"leak-{n}", "instruction": f"Name gas {n}."} for n in range(2000)]),
        "data/nothing.jsonl": b"no row\n",
        HOSTILE: jsonl([ROWS[50], LEAK]),
    }
    head = upstream.propose(files, links={"data/link.jsonl": "../distill.toml"})
    github = GitHub()
    github.add("mallory", "<!-- pytest-distill: datasets -->\nall is well")
    with serving(github) as api:
        ran = run_action(upstream, head, folder, api=api, install="false")
    (folder / "comment.md").write_text(github.comments[-1]["body"])
    return Scene(ran, github, folder, touched)


def test_a_bad_pull_request_fails_and_is_told_why(bad: Scene) -> None:
    assert {name: status for name, status in bad.ran.status.items() if status} == {"judge": 1}, bad.ran.log["judge"]
    assert bad.ran.outputs["judge"]["verdict"] == "FAILED"
    assert bad.ran.summary == bad.comment
    assert "## ❌ Datasets: 5 of 7 changed dataset files did not pass" in bad.comment


def test_annotations_lie_on_the_very_lines_and_files_take_turns(bad: Scene) -> None:
    errors = [command.removeprefix("::error ").partition("::")[0] for command in bad.ran.commands if "::error" in command]
    assert "file=data/train.jsonl,line=13,title=ingest" in errors
    assert "file=data/many.jsonl,line=1,title=text.delimiter-leak" in errors
    assert any(error.startswith("file=data/link.jsonl,title=E-SOURCE-FORMAT") for error in errors)
    assert len({error.split(",")[0] for error in errors}) == 5


def test_annotations_are_few_and_the_rest_is_counted(bad: Scene) -> None:
    assert sum(command.startswith("::error") for command in bad.ran.commands) == 10
    assert bad.ran.commands[-1].startswith("::notice::")
    assert "more findings" in bad.ran.commands[-1]


def test_a_runner_obeys_nothing_that_comes_from_names_or_rows(bad: Scene) -> None:
    for line in bad.ran.commands:
        assert line.startswith(("::error file=data/", "::warning file=data/", "::notice::")), line
        assert "##[" not in line
    hostile = [line for line in bad.ran.commands if "50%25" in line]
    assert hostile
    assert all(line.startswith("::error file=data/50%25%3A%3Ax%2Cy=1%0A%3A%3Aadd-mask%3A%3Aa.jsonl,") for line in hostile)


def test_the_judge_is_that_of_the_base(bad: Scene) -> None:
    assert not bad.touched.exists()
    assert "house.no-shouting" in bad.comment  # the proposed policy allows what it rejects, the proposed gates lack it
    told = next(line for line in bad.comment.splitlines() if "also edits" in line)
    for name in ("distill.toml", "gates/test_house.py", "conftest.py", "data/conftest.py", "pytest.ini"):
        assert f"`{name}`" in told


def test_rows_are_compared_with_the_base_version(bad: Scene) -> None:
    rows = {line.split("`")[1]: line for line in bad.comment.splitlines() if line.startswith("| `data/")}
    assert rows["data/train.jsonl"] == "| `data/train.jsonl` | **failed** | 14 | 3 | 1 | 1 | 4 |"
    assert rows["data/new name.jsonl"] == "| `data/new name.jsonl` | passed | 11 | 1 | 0 | 0 | 0 |"
    assert rows["data/gone.jsonl"] == "| `data/gone.jsonl` | deleted | | | 5 | | |"
    assert "renamed from `data/old name.jsonl`" in bad.comment
    assert "| `counts.rows` | rows remaining | `10` | `11` | `>= 1` |" in bad.comment


def test_what_is_no_file_of_rows_is_refused(bad: Scene) -> None:
    assert "data/link.jsonl is a symbolic link" in bad.comment
    assert "| `data/nothing.jsonl` | **not judged** |" in bad.comment


def test_markdown_of_rows_and_names_is_inert(bad: Scene) -> None:
    """Read by a CommonMark parser with tables and HTML: outside code spans nothing of the row is left, inside it is whole."""
    from markdown_it import MarkdownIt

    tokens = [
        token
        for block in MarkdownIt("commonmark", {"html": True}).enable("table").parse(bad.comment)
        for token in [block, *(block.children or [])]
    ]
    shown = [token.content for token in tokens if token.type == "code_inline"]
    assert any("@everyone" in text and "<img src=x>" in text and "mask]x `c` | [a](" in text for text in shown)
    assert not [
        token for token in tokens if token.type in ("link_open", "image", "html_inline") and "summary" not in token.content
    ]
    html = [token.content.strip() for token in tokens if token.type == "html_block"]
    assert all(part.startswith(("<!-- pytest-distill", "<details><summary>Why not:", "</details>")) for part in html), html
    assert sum(part.startswith("<details>") for part in html) == sum(part == "</details>" for part in html) == 3
    told = [token.content for token in tokens if token.type == "text"]
    assert not [text for text in told for foreign in ("@everyone", "add-mask", "#1") if foreign in text]
    assert len(bad.comment) < 65_536


def test_somebody_elses_comment_with_our_first_line_is_left_alone(bad: Scene) -> None:
    assert [comment["user"]["login"] for comment in bad.github.comments] == ["mallory", "github-actions[bot]"]
    assert bad.github.comments[0]["body"].endswith("all is well")


def test_artifacts_hold_report_and_verdict(bad: Scene) -> None:
    folder = Path(bad.ran.outputs["judge"]["folder"])
    assert bad.ran.uses == [("actions/upload-artifact@v4", {"name": "distill-datasets", "path": str(folder)})]
    kept = next(path for path in folder.iterdir() if path.name.endswith("data-train.jsonl"))
    assert {path.name for path in kept.iterdir()} == {"report.html", "verdict.json", "evidence.public.json", "pytest.log"}


def test_a_good_pull_request_passes_and_its_comment_is_updated(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream", base_files())
    github = GitHub()
    for number in range(120):
        github.add("someone", f"comment {number}")
    with serving(github) as api:
        for number, rows in enumerate((ROWS[:14], ROWS[:13]), 1):
            head = upstream.propose({"data/train.jsonl": jsonl(rows)})
            ran = run_action(upstream, head, tmp_path / str(number), api=api, depth=True, install="false")
            assert ran.ok, ran.log
            assert ran.outputs["judge"]["verdict"] == "PASSED"
            assert ran.commands == []
            mine = [comment["body"] for comment in github.comments if comment["user"]["login"] == "github-actions[bot]"]
            assert mine == [ran.summary]
            assert f"| passed | {12 + 3 - number} | {3 - number} | 0 | 0 | 0 |" in ran.summary


def test_a_summary_that_cannot_be_posted_leaves_the_verdict_standing(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream", {"README.md": b"no workspace\n"})
    head = upstream.propose({"README.md": b"still none\n"})
    github = GitHub(refuse=403)
    with serving(github) as api:
        ran = run_action(upstream, head, tmp_path, api=api, install="false")
    assert ran.ok
    assert "no dataset file changed" in ran.summary
    assert "no `distill.toml` in" in ran.summary
    assert "[E-COMMENT]: " in ran.log["comment"]
    assert "::warning::" in ran.log["comment"]


def test_a_base_that_cannot_judge_replaces_an_earlier_yes(tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream", {**base_files(), "distill.toml": b"[gatez]\n"})
    head = upstream.propose({"data/train.jsonl": jsonl(ROWS[:3])})
    github = GitHub()
    github.add("github-actions[bot]", "<!-- pytest-distill: datasets -->\n## ✅ Datasets: 1 changed dataset file passed")
    with serving(github) as api:
        ran = run_action(upstream, head, tmp_path, api=api, install="false")
    assert ran.status["judge"] == 1
    assert "were not judged" in github.comments[0]["body"]
    assert "[E-POLICY]" in github.comments[0]["body"]
    assert len(github.comments) == 1


def test_what_is_staged_is_judged_by_what_is_staged(tmp_path: Path) -> None:
    """The pre-commit hook: the first commit has none before it, and one's own policy counts."""
    hook = load(ROOT / ".pre-commit-hooks.yaml")[0]
    upstream = Upstream(tmp_path / "work", {"README.md": b"x\n"})
    upstream.write({"distill.toml": b"", "gates/test_house.py": GATE, "data/a.jsonl": bad_rows()})
    (upstream.folder / "data" / "a.jsonl").write_bytes(jsonl(ROWS[:2]))  # not staged, so not judged
    command = [*hook["entry"].split(), *hook["args"], "--code-quality", "quality.json", "--quiet"]
    done = subprocess.run(command, cwd=upstream.folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    found = json.loads((upstream.folder / "quality.json").read_text())
    lines = {(entry["location"]["lines"]["begin"], entry["check_name"]) for entry in found}
    assert {(3, "text.delimiter-leak"), (4, "ingest"), (5, "house.no-shouting")} <= lines
    assert {entry["location"]["path"] for entry in found} == {"data/a.jsonl"}
    assert len({entry["fingerprint"] for entry in found}) == len(found)


def test_nothing_is_substituted_into_a_script_and_only_two_steps_see_the_token() -> None:
    steps = load(ROOT / "action.yml")["runs"]["steps"]
    assert not [step["name"] for step in steps if "${{" in step.get("run", "")]
    assert [s["name"] for s in steps if "inputs.token" in str(s.get("env"))] == ["fetch base and head", "comment"]


@pytest.mark.parametrize("ref", ["main", "--upload-pack=touch x", "$(id)", "a" * 39])
def test_only_commit_ids_are_fetched(ref: str, tmp_path: Path) -> None:
    upstream = Upstream(tmp_path / "upstream", {"README.md": b"x\n"})
    ran = run_action(upstream, ref, tmp_path, install="false")
    assert ran.status == {"fetch base and head": 1}
