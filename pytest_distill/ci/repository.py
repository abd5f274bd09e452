"""A git repository read through its plumbing: which files changed, their bytes, and a trusted tree written out.

What a pull request proposes is never checked out. It is read blob by blob, so no link, attribute or hook of it takes effect.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Literal

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError

EMPTY_TREE = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_STATUS: dict[str, Literal["added", "changed", "renamed", "deleted"]] = {
    "A": "added",
    "C": "added",
    "M": "changed",
    "T": "changed",
    "R": "renamed",
    "D": "deleted",
}
_REGULAR = ("100644", "100755")


@dataclass(frozen=True)
class Blob:
    """One version of a file: where it lies in its tree (as `os.fsdecode` gives it), and the object that holds its bytes."""

    path: str
    mode: str
    sha: str

    @property
    def regular(self) -> bool:
        return self.mode in _REGULAR


@dataclass(frozen=True)
class Change:
    """One changed file. `after` is None for a deleted one, `before` for an added one."""

    status: Literal["added", "changed", "renamed", "deleted"]
    before: Blob | None
    after: Blob | None

    @property
    def path(self) -> str:
        blob = self.after or self.before
        assert blob is not None
        return blob.path


class Repository:
    def __init__(self, folder: Path) -> None:
        """The repository around `folder`. Raises E-GIT when there is none, or when git will not read it."""
        self._folder = folder
        self.root = Path(os.fsdecode(self._git("rev-parse", "--show-toplevel").removesuffix(b"\n")))
        self._git_dir = Path(os.fsdecode(self._git("rev-parse", "--absolute-git-dir").removesuffix(b"\n")))

    def commit(self, ref: str) -> str:
        """The full id of a commit. Raises E-GIT when the repository does not have it."""
        try:
            return self._git("rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").decode().strip()
        except DistillError as error:
            hint = "Fetch it: actions/checkout needs fetch-depth: 0, git fetch the name of the branch."
            raise DistillError(Code.GIT, f"the repository has no commit {ref!r}", hint) from error

    def merge_base(self, one: str, other: str) -> str:
        """Where two commits parted. Raises E-GIT when they have no common ancestor here."""
        try:
            return self._git("merge-base", one, other).decode().strip()
        except DistillError as error:
            message = f"{one[:12]} and {other[:12]} have no common ancestor in this clone"
            raise DistillError(
                Code.GIT, message, "A shallow clone does not reach it: actions/checkout needs fetch-depth: 0."
            ) from error

    def staged(self) -> str:
        """The tree that a commit of the index would hold."""
        return self._git("write-tree").decode().strip()

    def changes(self, before: str, after: str, globs: Sequence[str]) -> list[Change]:
        """Files that differ between two trees and that match a glob (`**` crosses folders; a leading `!` leaves out)."""
        wanted = [f":(top,glob){glob}" for glob in globs if not glob.startswith("!")]
        left_out = [f":(top,glob,exclude){glob[1:]}" for glob in globs if glob.startswith("!")]
        raw = self._git("diff-tree", "-r", "-z", "--raw", "--no-abbrev", "-M", before, after, "--", *wanted, *left_out)
        fields = iter(raw.split(b"\0")[:-1])
        found = []
        for head in fields:
            old_mode, new_mode, old_sha, new_sha, code = head.decode()[1:].split(" ")
            old = os.fsdecode(next(fields))
            new = os.fsdecode(next(fields)) if code[0] in "RC" else old
            status = _STATUS[code[0]]
            found.append(
                Change(
                    status,
                    None if status == "added" else Blob(old, old_mode, old_sha),
                    None if status == "deleted" else Blob(new, new_mode, new_sha),
                )
            )
        return found

    def names(self, before: str, after: str) -> list[str]:
        """Every path that differs between two trees."""
        return [os.fsdecode(name) for name in self._git("diff-tree", "-r", "-z", "--name-only", before, after).split(b"\0")[:-1]]

    def take(self, blob: Blob, target: Path) -> None:
        """Writes the bytes of a blob to a new file. Raises E-SOURCE-FORMAT for links, submodules and Git LFS pointers."""
        if not blob.regular:
            what = "a symbolic link" if blob.mode == "120000" else "a submodule"
            raise DistillError(Code.FORMAT, f"{blob.path} is {what}", "Rows have to be in the file itself.")
        with storage.atomic_file(target, durable=False) as file:
            self._git("cat-file", "blob", blob.sha, out=file)
        with target.open("rb") as written:
            if written.read(len(LFS_POINTER)) == LFS_POINTER:
                hint = "Judge it where the rows are: git lfs pull, then distill check FILE."
                raise DistillError(Code.FORMAT, f"{blob.path} is a Git LFS pointer, and its rows are not in this clone", hint)

    def extract(self, tree: str, folder: Path, *, without: Sequence[PurePosixPath] = ()) -> None:
        """Writes a trusted tree into `folder`, but for the folders `without`. Needs no work tree and touches none."""
        environment = {
            "GIT_INDEX_FILE": str(folder.with_name(f"{folder.name}.index")),
            "GIT_DIR": str(self._git_dir),
            "GIT_WORK_TREE": str(folder),
        }
        folder.mkdir()
        self._git("read-tree", tree, environment=environment, cwd=folder)
        names = self._git("ls-files", "-z", environment=environment, cwd=folder).split(b"\0")[:-1]
        kept = [name for name in names if not any(PurePosixPath(os.fsdecode(name)).is_relative_to(w) for w in without)]
        self._git(
            "checkout-index",
            "--force",
            "-z",
            "--stdin",
            environment=environment,
            cwd=folder,
            given=b"".join(n + b"\0" for n in kept),
        )

    def _git(
        self,
        *arguments: str,
        environment: dict[str, str] | None = None,
        cwd: Path | None = None,
        given: bytes = b"",
        out: IO[bytes] | None = None,
    ) -> bytes:
        """What git said on stdout, or nothing when that goes to the file `out`. Raises E-GIT with git's own first line."""
        try:
            done = subprocess.run(
                ["git", *arguments],
                cwd=cwd or getattr(self, "root", self._folder),
                env={**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", **(environment or {})},
                input=given,
                stdout=out or subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
        except OSError as error:
            raise DistillError(Code.GIT, f"git cannot be started: {error.strerror}", "Install git.") from error
        if done.returncode:
            said = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [f"exit status {done.returncode}"])[0]
            raise DistillError(Code.GIT, f"git {arguments[0]}: {said}", "Run this in a clone of the repository.")
        return done.stdout or b""
