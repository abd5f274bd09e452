"""Git read through its plumbing: what changed, the bytes of a blob, and what is refused."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest
from pull_request import Upstream, environment

from pytest_distill.ci.repository import Repository
from pytest_distill.errors import Code, DistillError


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Upstream:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return Upstream(
        tmp_path / "repo", {"data/a.jsonl": b"one\n", "data/raw/b.jsonl": b"b\n", "c.jsonl": b"c\n", "distill.toml": b""}
    )


def test_globs_choose_and_leave_out(upstream: Upstream) -> None:
    head = upstream.propose({"data/a.jsonl": b"two\n", "data/raw/b.jsonl": b"x\n", "c.jsonl": b"x\n", "data/x/y/z.jsonl": b"z\n"})
    repository = Repository(upstream.folder)

    def paths(*globs: str) -> list[str]:
        return [change.path for change in repository.changes(upstream.base, head, globs)]

    assert paths("data/**/*.jsonl") == ["data/a.jsonl", "data/raw/b.jsonl", "data/x/y/z.jsonl"]
    assert paths("data/**/*.jsonl", "!data/raw/**") == ["data/a.jsonl", "data/x/y/z.jsonl"]
    assert paths("*.jsonl") == ["c.jsonl"]
    assert paths("--output=owned") == []


def test_only_what_the_branch_changed_counts(upstream: Upstream) -> None:
    head = upstream.propose({"data/a.jsonl": b"two\n"})
    upstream.git("checkout", "--quiet", "main")
    main = upstream.commit({"c.jsonl": b"meanwhile\n"})
    repository = Repository(upstream.folder)
    assert repository.merge_base(main, head) == upstream.base
    assert repository.names(repository.merge_base(main, head), head) == ["data/a.jsonl"]


def test_bytes_of_any_name_are_taken_as_they_are(upstream: Upstream, tmp_path: Path) -> None:
    name = b"data/\xff\n;$(id).jsonl".decode("utf-8", "surrogateescape")
    head = upstream.propose({name: b"\x00rows\r\n"})
    (change,) = Repository(upstream.folder).changes(upstream.base, head, ["data/**"])
    assert (change.path, change.status) == (name, "added")
    assert change.after is not None
    Repository(upstream.folder).take(change.after, tmp_path / "rows")
    assert (tmp_path / "rows").read_bytes() == b"\x00rows\r\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"), (None, "symbolic link")],
)
def test_what_holds_no_rows_itself_is_refused(upstream: Upstream, tmp_path: Path, data: bytes | None, said: str) -> None:
    head = upstream.propose({"data/n.jsonl": data} if data else {}, links={} if data else {"data/n.jsonl": "../distill.toml"})
    repository = Repository(upstream.folder)
    (change,) = repository.changes(upstream.base, head, ["data/n.jsonl"])
    assert change.after is not None
    with pytest.raises(DistillError, match=said) as told:
        repository.take(change.after, tmp_path / "rows")
    assert told.value.code is Code.FORMAT


def test_the_judge_is_written_out_without_touching_the_clone(upstream: Upstream, tmp_path: Path) -> None:
    upstream.propose({"distill.toml": b"# proposed\n", ".distill/cache/x": b"x"})
    before = upstream.git("status", "--porcelain"), upstream.git("rev-parse", "HEAD")
    repository = Repository(upstream.folder)
    repository.extract(
        upstream.git("rev-parse", "HEAD"), tmp_path / "judge", without=[PurePosixPath(".distill"), PurePosixPath("data")]
    )
    written = {path.relative_to(tmp_path / "judge").as_posix() for path in (tmp_path / "judge").rglob("*") if path.is_file()}
    assert written == {"distill.toml", "c.jsonl"}
    assert (upstream.git("status", "--porcelain"), upstream.git("rev-parse", "HEAD")) == before


@pytest.mark.parametrize("ref", ["nobody", "--all", "HEAD:data"])
def test_what_is_no_commit_is_refused(upstream: Upstream, ref: str) -> None:
    with pytest.raises(DistillError, match="has no commit") as told:
        Repository(upstream.folder).commit(ref)
    assert told.value.code is Code.GIT


def test_histories_that_never_met_are_not_compared(upstream: Upstream) -> None:
    upstream.git("checkout", "--quiet", "--orphan", "other")
    other = upstream.commit({"c.jsonl": b"other\n"})
    with pytest.raises(DistillError, match="no common ancestor"):
        Repository(upstream.folder).merge_base(upstream.base, other)


def test_a_folder_that_is_no_clone_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(DistillError, match="not a git repository"):
        Repository(tmp_path)
