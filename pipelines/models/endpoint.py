"""An OpenAI-compatible server over HTTP: JSON out, JSON back, or E-SERVER. Nothing is tried again; runs are resumed."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from pytest_distill.errors import Code, DistillError


class Endpoint:
    """`url` is the server's base, such as http://localhost:8000/v1; `timeout` in seconds. Raises E-SERVER."""

    def __init__(self, url: str, *, key: str | None = None, timeout: float = 120.0) -> None:
        if urlsplit(url).scheme not in ("http", "https"):
            raise DistillError(Code.SERVER, f"{url!r} is no http address", "Example: http://localhost:8000/v1")
        self._base = url.rstrip("/")
        self._headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        self._timeout = timeout

    def open(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The response, to be closed. What urllib raises goes up: some callers know what an answer of 404 means."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(self._base + path, data=data, headers=self._headers)  # noqa: S310  # the scheme was checked
        return urllib.request.urlopen(asked, timeout=self._timeout)  # noqa: S310

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The answer, which has to be a JSON object with at least one choice that is an object."""
        try:
            with self.open(path, body) as response:
                answer = json.load(response)
            choice = answer["choices"][0]
        except urllib.error.HTTPError as error:
            detail = error.read(500).decode("utf-8", "replace")
            raise DistillError(
                Code.SERVER, f"the server answered {error.code}: {detail}", "Check its log and the model's name."
            ) from error
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise self.unusable(error) from error
        if not isinstance(choice, dict):
            raise DistillError(Code.SERVER, "an answer whose choice is no object", "The server does not speak OpenAI's protocol.")
        return dict(answer)

    def unusable(self, error: Exception) -> DistillError:
        return DistillError(Code.SERVER, f"no usable answer from {self._base}: {error!r}", "Is the server up, and is it /v1?")
