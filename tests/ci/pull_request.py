"""A git repository with a base branch and pull requests, and the runner's part: the steps of action.yml, run with bash."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

ROOT = Path(__file__).parents[2]
Files = Mapping[str, bytes | None]  # None deletes


def environment() -> dict[str, str]:
    """Without what belongs to the test's own pytest, and with a git that knows nobody's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTEST_", "COV_", "DISTILL_", "GIT", "GITHUB_"))
    }
    who = {f"GIT_{role}_{what}": "someone@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **who, "PATH": path, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}


class Upstream:
    """The repository on the server: `main`, and one branch a pull request."""

    def __init__(self, folder: Path, base: Files) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("config", "uploadpack.allowAnySHA1InWant", "true")  # as GitHub's does
        self.base = self.commit(base)

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, env=environment(), capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def write(self, files: Files) -> None:
        for name, data in files.items():
            path = self.folder / name
            if data is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        self.git("add", "--all")

    def commit(self, files: Files) -> str:
        self.write(files)
        self.git("commit", "--quiet", "--message=change")
        return self.git("rev-parse", "HEAD")

    def propose(self, files: Files, *, links: Mapping[str, str] | None = None) -> str:
        """A pull request: a commit that left `main` at the base."""
        self.git("checkout", "--quiet", "--detach", self.base)
        for name, target in (links or {}).items():
            (self.folder / name).symlink_to(target)
        return self.commit(files)


@dataclass
class Ran:
    """What a run of the action left: each step's status and log, the outputs, and the summary of the run's page."""

    status: dict[str, int] = field(default_factory=dict)
    log: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    summary: str = ""
    uses: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not any(self.status.values())

    @property
    def commands(self) -> list[str]:
        """Lines of the judging step's log that a runner would obey."""
        return [line for line in self.log["judge"].splitlines() if line.lstrip().startswith("::") or "##[" in line]


def run_action(
    upstream: Upstream, head: str, scratch: Path, *, api: str = "http://127.0.0.1:1", depth: bool = False, **inputs: str
) -> Ran:
    """Runs the `run:` steps of action.yml as a runner would, in a fresh clone of the base."""
    action = load(ROOT / "action.yml")
    clone, temporary = scratch / "clone", scratch / "runner"
    temporary.mkdir(parents=True)
    shallow = ["--depth=1", f"file://{upstream.folder}"] if depth else [str(upstream.folder)]
    subprocess.run(
        ["git", "clone", "--quiet", "--branch=main", *shallow, str(clone)], env=environment(), check=True, capture_output=True
    )
    github = {
        "github.event.pull_request.base.sha": upstream.base,
        "github.event.pull_request.head.sha": head,
        "github.event.pull_request.number": "7",
        "github.token": "ghs_secret",
        "github.server_url": "https://github.example",
    }
    context = {f"inputs.{name}": fill(str(value["default"]), github) for name, value in action["inputs"].items()}
    context |= github | {f"inputs.{name}": value for name, value in inputs.items()}
    ran, failed = Ran(), False
    for number, step in enumerate(action["runs"]["steps"]):
        if not applies(str(step.get("if", "")), context, failed=failed):
            continue
        name = str(step["name"])
        if "uses" in step:
            ran.uses.append((step["uses"], {key: fill(value, context) for key, value in step["with"].items()}))
            continue
        output, summary = temporary / f"output-{number}", temporary / f"summary-{number}"
        output.touch(), summary.touch()
        env = environment() | {
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
            "GITHUB_REPOSITORY": "someone/data",
            "GITHUB_API_URL": api,
            "GITHUB_ACTION_PATH": str(ROOT),
            "RUNNER_TEMP": str(temporary),
            **{key: fill(str(value), context) for key, value in step.get("env", {}).items()},
        }
        script = temporary / f"step-{number}.sh"
        script.write_text(step["run"])
        shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(
            shell, cwd=clone, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600, check=False
        )
        ran.status[name], ran.log[name] = done.returncode, done.stdout.decode("utf-8")
        failed = failed or done.returncode != 0
        ran.summary += summary.read_text()
        outputs = dict(line.split("=", 1) for line in output.read_text().splitlines())
        ran.outputs[name] = outputs
        if "id" in step:
            context |= {f"steps.{step['id']}.outputs.{key}": value for key, value in outputs.items()}
    return ran


def load(path: Path) -> Any:
    import yaml

    return yaml.safe_load(path.read_text())


def fill(text: str, context: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{\s*([\w.-]+)\s*\}\}", lambda found: context.get(found[1], ""), text)


def applies(condition: str, context: Mapping[str, str], *, failed: bool) -> bool:
    """The little of the expression language that action.yml uses: always(), == and != with a literal, joined by &&."""
    always = False
    for part in filter(None, (part.strip() for part in condition.split("&&"))):
        if part == "always()":
            always = True
            continue
        found = re.fullmatch(r"([\w.-]+) (==|!=) '([^']*)'", part)
        assert found, f"the test does not know the condition {part!r}"
        if (context.get(found[1], "") == found[3]) != (found[2] == "=="):
            return False
    return always or not failed


class GitHub:
    """A server with the comments of one pull request: listing, creating, updating, as GitHub's API has them."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.comments: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.refuse = refuse

    def add(self, author: str, body: str) -> None:
        self.comments.append({"id": len(self.comments) + 100, "user": {"login": author}, "body": body})


@contextmanager
def serving(github: GitHub) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            page = int(query.rpartition("page=")[2])
            self.answer(path == "/repos/someone/data/issues/7/comments", github.comments[(page - 1) * 100 : page * 100])

        def do_POST(self) -> None:
            github.add("github-actions[bot]", self.sent()["body"])
            self.answer(self.path == "/repos/someone/data/issues/7/comments", github.comments[-1])

        def do_PATCH(self) -> None:
            known = [c for c in github.comments if self.path == f"/repos/someone/data/issues/comments/{c['id']}"]
            body = self.sent()["body"]
            for comment in known:
                comment["body"] = body
            self.answer(bool(known), known[:1])

        def sent(self) -> Any:
            return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, found: bool, value: Any) -> None:
            github.requests.append(self.command)
            allowed = self.headers["Authorization"] == "Bearer ghs_secret"
            status = github.refuse or (200 if found and allowed else 404)
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
