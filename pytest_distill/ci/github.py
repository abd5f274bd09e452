"""The comment on a pull request: written once, found again by its hidden first line, and updated."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from pytest_distill.errors import Code, DistillError

API = "https://api.github.com"
BOT = "github-actions[bot]"
TIMEOUT = 30  # seconds
_PAGE = 100
_PAGES = 50
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to wherever it points."""

    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass(frozen=True)
class Thread:
    """The conversation of one pull request, as an account named `author` writes into it."""

    repository: str
    number: int
    token: str
    author: str = BOT
    api: str = API

    def __post_init__(self) -> None:
        """Raises E-USAGE for a repository that is no owner/name, and for an address a token must not be sent to."""
        if not _REPOSITORY.fullmatch(self.repository):
            raise DistillError(Code.USAGE, f"{self.repository!r} is no repository", "Write owner/name.")
        parts = urlsplit(self.api)
        if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost"):
            raise DistillError(Code.USAGE, f"the API address {self.api!r} is not https", "A token is sent there.")

    def put(self, body: str) -> Literal["created", "updated"]:
        """Updates the comment whose first line is that of `body`, or writes a new one. Raises E-COMMENT."""
        first = body.partition("\n")[0]
        for page in range(1, _PAGES + 1):
            found = self._call("GET", f"issues/{self.number}/comments?per_page={_PAGE}&page={page}")
            for comment in found:
                # Anyone may write our first line into a comment; only one of our own may speak for us.
                mine = comment["user"] is not None and comment["user"]["login"] == self.author
                if mine and (comment["body"] or "").partition("\n")[0].rstrip("\r") == first:
                    self._call("PATCH", f"issues/comments/{int(comment['id'])}", {"body": body})
                    return "updated"
            if len(found) < _PAGE:
                break
        self._call("POST", f"issues/{self.number}/comments", {"body": body})
        return "created"

    def _call(self, method: str, path: str, value: dict[str, str] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the scheme is checked above
            f"{self.api.rstrip('/')}/repos/{self.repository}/{path}",
            data=json.dumps(value).encode() if value is not None else None,
            method=method,
            headers={
                "Authorization": f"Bearer {self.token}",
                "Accept": "application/vnd.github+json",
                "Content-Type": "application/json",
                "User-Agent": "pytest-distill",
                "X-GitHub-Api-Version": "2022-11-28",
            },
        )
        try:
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            error.close()
            hint = (
                "The job needs `permissions: pull-requests: write`; on pull requests from forks only pull_request_target has it."
            )
            raise DistillError(Code.COMMENT, f"{method} {path.partition('?')[0]}: {error.code} {error.reason}", hint) from error
        except (OSError, ValueError) as error:
            raise DistillError(Code.COMMENT, f"{method} {path.partition('?')[0]}: {error}", "Try again.") from error
