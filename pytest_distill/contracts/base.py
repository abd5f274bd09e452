"""What all contracts share: frozen, strict about unknown fields, finite numbers only, read and written in one way."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pytest_distill import storage
from pytest_distill.errors import Code, DistillError


class Contract(BaseModel):
    """Base of every format we write."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True, serialize_by_alias=True)

    def to_bytes(self) -> bytes:
        """Canonical bytes: the same model gives the same bytes everywhere."""
        return storage.canonical_json(self.model_dump(mode="json"))

    def write(self, path: Path) -> None:
        storage.write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises E-MANIFEST when the file is missing, malformed, or of a version this release does not know."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise DistillError(Code.MANIFEST, f"cannot read {path}: {error.strerror}", "Was the file moved?") from error
        return cls.from_bytes(data, name=str(path))

    @classmethod
    def from_bytes(cls, data: bytes, *, name: str) -> Self:
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            raise DistillError(Code.MANIFEST, f"{name}: {first_problem(error)}", "It was not written by this release.") from error


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic error as `field: what is wrong`, and how many more there are."""
    problems: list[Any] = error.errors(include_url=False, include_context=False)
    place = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place + ': ' if place else ''}{problems[0]['msg']}{more}"
