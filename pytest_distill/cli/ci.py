"""`distill ci`: the dataset files of a change, judged by the policy and gates of its base, and told where it is reviewed."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.ci.annotations import Note
    from pytest_distill.ci.check import Checked
    from pytest_distill.cli.common import Subparsers

GLOBS = ("data/**/*.jsonl",)


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    parser = subparsers.add_parser("ci", parents=[common], help="judge the dataset files of a change", description=__doc__)
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    judge = actions.add_parser(
        "judge",
        parents=[common],
        help="judge the dataset files that differ between two commits",
        description="Judges every dataset file that HEAD changes, by the policy and gates of BASE. HEAD is data only: nothing of "
        "it is checked out or runs. Exit: 0 all passed, 1 not.",
    )
    judge.add_argument("--base", metavar="REF", help="the commit that judges, and that rows are compared with")
    judge.add_argument("--head", metavar="REF", help="the commit that is judged")
    judge.add_argument("--staged", action="store_true", help="judge what is staged, by the staged policy (for a pre-commit hook)")
    judge.add_argument(
        "--globs", metavar="GLOB", nargs="+", default=list(GLOBS), help=f"which files; !GLOB leaves out ({' '.join(GLOBS)})"
    )
    judge.add_argument("--kind", choices=("sft", "preference", "rag", "text"), help="default: told from the columns")
    judge.add_argument("--map", action="append", default=[], metavar="NEW=OLD", help="column NEW is called OLD in the files")
    judge.add_argument("--summary", metavar="FILE", type=Path, help="a Markdown summary, for a comment")
    judge.add_argument("--key", default="datasets", help="tells this summary from others on the same pull request (datasets)")
    judge.add_argument("--annotations", action="store_true", help="GitHub annotations on stdout, on the lines of the files")
    judge.add_argument("--code-quality", metavar="FILE", type=Path, help="the same as a GitLab code quality report")
    judge.add_argument("--out", metavar="DIR", type=Path, help="report, verdict and log of every file")
    judge.set_defaults(run=run_judge)
    comment = actions.add_parser(
        "comment",
        parents=[common],
        help="put a summary on a GitHub pull request, or update it there",
        description="Writes FILE as a comment, or updates the comment with the same hidden first line. The token is read from "
        "GITHUB_TOKEN, the address of the API from GITHUB_API_URL.",
    )
    comment.add_argument("file", metavar="FILE", type=Path)
    comment.add_argument("--pull-request", metavar="N", type=int, required=True)
    comment.add_argument("--repository", metavar="OWNER/NAME", help="default: GITHUB_REPOSITORY")
    comment.add_argument("--author", metavar="LOGIN", help="the account the token belongs to (github-actions[bot])")
    comment.set_defaults(run=run_comment)


def run_judge(args: argparse.Namespace) -> int:
    from pytest_distill import storage
    from pytest_distill.ci import annotations, comment
    from pytest_distill.errors import Code, DistillError

    if not re.fullmatch(r"[A-Za-z0-9._-]{1,50}", args.key):
        raise DistillError(Code.USAGE, f"--key {args.key!r}", "Use letters, digits, '.', '_' and '-', at most 50.")
    _put(args.summary, comment.refused("The judging did not reach its end; its log says why.", args.key))
    with storage.scratch_folder() as scratch:
        try:
            checked = _check(args, scratch)
        except DistillError as error:
            _put(args.summary, comment.refused(str(error), args.key))
            raise
        found = annotations.notes(checked)
        _put(args.summary, comment.summarise(checked, args.key))
        if args.code_quality is not None:
            storage.write_bytes(args.code_quality, annotations.gitlab(found))
    for line in _told(checked, found, annotations=args.annotations, quiet=args.quiet):
        _line(line)
    return int(not checked.ok)


def _put(file: Path | None, text: str) -> None:
    from pytest_distill import storage

    if file is not None:
        storage.write_bytes(file, text.encode("utf-8", "replace"))


def _told(checked: Checked, found: list[Note], *, annotations: bool, quiet: bool) -> Iterator[str]:
    """What goes to stdout: a line a file, and the findings as annotations or, for people, as lines."""
    from pytest_distill.ci.annotations import PER_LEVEL, github, plain

    for result in checked.results:
        verdict = "deleted" if result.change.after is None else result.after.record.verdict if result.after else result.refusal
        yield plain(f"{verdict}: {result.path}")
    if not checked.results:
        yield plain("no dataset file changed")
    if annotations:
        yield from github(found)
    elif not quiet:
        for note in found[: 2 * PER_LEVEL]:
            place = note.path if note.line is None else f"{note.path}:{note.line}"
            yield plain(f"{note.level} {note.gate} {place}  {note.text}")


def _check(args: argparse.Namespace, scratch: Path) -> Checked:
    from pathlib import PurePosixPath

    from pytest_distill.ci import annotations, check
    from pytest_distill.ci.repository import Repository
    from pytest_distill.cli.ingest import mapping_of
    from pytest_distill.errors import Code, DistillError

    if args.staged == (args.base is not None or args.head is not None) or (args.base is None) != (args.head is None):
        raise DistillError(Code.USAGE, "what to judge is not said", "Give --base REF and --head REF, or --staged.")
    place = (args.workspace or Path()).resolve()
    repository = Repository(Path())
    if not place.is_relative_to(repository.root.resolve()):
        raise DistillError(Code.USAGE, f"{place} lies outside the repository {repository.root}", "Name a folder of it.")
    how: dict[str, Any] = {
        "globs": tuple(glob for word in args.globs for glob in word.split()),
        "workspace": PurePosixPath(place.relative_to(repository.root.resolve()).as_posix()),
        "kind": args.kind,
        "mapping": mapping_of(args.map),
    }
    asked = check.staged(repository, **how) if args.staged else check.between(repository, args.base, args.head, **how)
    say = (lambda _: None) if args.quiet else (lambda text: _line(annotations.plain(text)))
    return check.check(repository, asked, scratch, out=args.out, say=say)


def _line(text: str) -> None:
    """Whatever the locale: a path may hold bytes that are no text, and `one_line` has shown those as escapes."""
    sys.stdout.buffer.write(f"{text}\n".encode("utf-8", "backslashreplace"))
    sys.stdout.buffer.flush()


def run_comment(args: argparse.Namespace) -> None:
    from pytest_distill.ci import github
    from pytest_distill.cli.common import say
    from pytest_distill.errors import Code, DistillError

    token, repository = os.environ.get("GITHUB_TOKEN"), args.repository or os.environ.get("GITHUB_REPOSITORY")
    if not token or not repository:
        missing = "GITHUB_TOKEN" if not token else "GITHUB_REPOSITORY"
        raise DistillError(
            Code.USAGE, f"{missing} is not set", "A GitHub workflow sets it: env: GITHUB_TOKEN: ${{ github.token }}."
        )
    try:
        body = args.file.read_text(encoding="utf-8")
    except OSError as error:
        raise DistillError(
            Code.SOURCE, f"{args.file} cannot be read: {error.strerror}", "`distill ci judge --summary` makes it."
        ) from error
    api = os.environ.get("GITHUB_API_URL") or github.API
    thread = github.Thread(repository, args.pull_request, token, args.author or github.BOT, api)
    say(args, f"comment {thread.put(body)}")
