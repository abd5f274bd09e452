"""The comment on a pull request: one, ours, and the token goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread as Worker

import pytest
from pull_request import GitHub, serving

from pytest_distill.ci.github import BOT, Thread
from pytest_distill.errors import Code, DistillError

BODY = "<!-- pytest-distill: a -->\nhello"


def thread(api: str, token: str = "ghs_secret") -> Thread:
    return Thread("someone/data", 7, token, api=api)


def test_another_key_is_another_comment() -> None:
    github = GitHub()
    with serving(github) as api:
        assert thread(api).put(BODY) == "created"
        assert thread(api).put(BODY.replace(": a ", ": b ")) == "created"
        assert thread(api).put(BODY.replace("hello", "again")) == "updated"
    assert [comment["body"].splitlines()[1] for comment in github.comments] == ["again", "hello"]
    assert {comment["user"]["login"] for comment in github.comments} == {BOT}


def test_a_refusal_is_one_line_without_the_token() -> None:
    with serving(GitHub()) as api, pytest.raises(DistillError) as told:
        thread(api, token="wrong_secret").put(BODY)
    assert told.value.code is Code.COMMENT
    assert "404" in str(told.value)
    assert "wrong_secret" not in str(told.value)


@contextmanager
def redirecting(target: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", target)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    worker = Worker(target=server.serve_forever)
    worker.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        worker.join()
        server.server_close()


def test_the_token_is_not_carried_to_where_an_answer_points() -> None:
    github = GitHub()
    with (
        serving(github) as other,
        redirecting(f"{other}/repos/someone/data/issues/7/comments?page=1") as api,
        pytest.raises(DistillError, match="302"),
    ):
        thread(api).put(BODY)
    assert github.requests == []


@pytest.mark.parametrize("api", ["http://api.example.org", "ftp://127.0.0.2", "file:///etc/passwd"])
def test_a_token_is_sent_over_https_only(api: str) -> None:
    with pytest.raises(DistillError, match="not https"):
        thread(api)


@pytest.mark.parametrize("repository", ["data", "a/b/c", "a/b?x", "../x/y", ""])
def test_a_repository_is_an_owner_and_a_name(repository: str) -> None:
    with pytest.raises(DistillError, match="is no repository"):
        Thread(repository, 7, "t")
