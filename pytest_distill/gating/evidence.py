"""Evidence: what a gate leaves while it runs. `require` and `quarantine` write it; the judge reads it.

Bounds are evaluated here and not by a bare assert, so a decision does not hang on how Python was started, and a figure is
kept even when it is green. A figure counts only if the gate really used a column or the batch: looking one up is not use.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from pytest_distill.contracts.manifest import LINE_COLUMN, SOURCE_COLUMN
from pytest_distill.contracts.run import Bound, Example, Figure
from pytest_distill.errors import Code, DistillError, one_line
from pytest_distill.suite.declared import Declared

if TYPE_CHECKING:
    from pytest_distill.contracts.manifest import Manifest
    from pytest_distill.gating.population import Population

EXAMPLES = 5
CONTEXT = 60  # characters shown on each side of what was found


class GateFailedError(AssertionError):
    """A gate's figures are out of bounds. The text lists every figure, not only the first that failed."""


@dataclass
class Evidence:
    """What one gate has left so far."""

    gate: Declared
    limits: dict[str, Any]
    population: Population
    figures: list[Figure] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    mask: pl.Series | None = None
    found: pl.Series | None = None
    why: pl.Series | None = None
    examples: list[Example] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows of the population that the gate declares."""
        return len(self.population.all) if self.sees_all else self.population.remaining_count

    @property
    def sees_all(self) -> bool:
        return self.gate.kind == "row" or self.gate.rows == "all"

    def add(self, name: str, value: Any, bound: Bound, unit: str | None) -> None:
        number = as_number(value)
        if number is None:
            self.figures.append(Figure(name=name, value=None, bound=bound, ok=False, unit=unit, rows=self.rows))
            self.problems.append(
                f"{Code.EVIDENCE.value}: {name} is {one_line(repr(value))[:80]}, which is no number: cannot tell"
            )
            return
        self.figures.append(Figure(name=name, value=number, bound=bound, ok=holds(number, bound), unit=unit, rows=self.rows))

    def failures(self) -> list[str]:
        return [*self.problems, *(describe(f) for f in self.figures if not f.ok and f.value is not None)]


def as_number(value: Any) -> float | int | str | bool | None:
    """A plain finite number (or a string or bool, for `equals`); None when the value can be no figure."""
    if hasattr(value, "item") and not isinstance(value, pl.Series):
        value = value.item()
    if isinstance(value, (bool, str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return None


def holds(value: Any, bound: Bound) -> bool:
    if bound.op == "equals":
        return bool(value == bound.value) and isinstance(value, bool) == isinstance(bound.value, bool)
    if isinstance(value, (str, bool)) or isinstance(bound.value, (str, bool)):
        return False
    tests = {
        "below": value < bound.value,
        "at_most": value <= bound.value,
        "above": value > bound.value,
        "at_least": value >= bound.value,
    }
    return bool(tests[bound.op])


def describe(figure: Figure) -> str:
    unit = f" {figure.unit}" if figure.unit and figure.unit not in figure.name.split() else ""
    shown = f"{figure.value:.6g}" if isinstance(figure.value, float) else f"{figure.value}"
    return f"{figure.name} is {shown}{unit}, allowed is {figure.bound}{unit}"


class Require:
    """The `require` fixture: `require("median answer tokens", value, below=40, unit="tokens")`.

    Exactly one bound: below (<), at_most (<=), above (>), at_least (>=) or equals. The figure is recorded either way, and the
    gate fails at its end when any bound does not hold, so that one run shows every figure. A value that is None, NaN or
    infinite fails: what cannot be told is "no".
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def __call__(
        self,
        name: str,
        value: Any,
        *,
        below: float | None = None,
        at_most: float | None = None,
        above: float | None = None,
        at_least: float | None = None,
        equals: float | str | bool | None = None,
        unit: str | None = None,
    ) -> None:
        given = {"below": below, "at_most": at_most, "above": above, "at_least": at_least, "equals": equals}
        bounds = {op: as_number(limit) for op, limit in given.items() if limit is not None}
        if len(bounds) != 1 or None in bounds.values():
            raise DistillError(
                Code.EVIDENCE, f"require({name!r}) needs exactly one bound that is a number", 'require("x", x, below=3)'
            )
        ((op, limit),) = bounds.items()
        self._evidence.add(str(name), value, Bound.model_validate({"op": op, "value": limit}), unit)


class Quarantine:
    """The `quarantine` fixture of a row gate: `quarantine(mask, found=pieces, text=answer_text)`, once.

    mask   Series of bool over all rows of the batch, True = reject; a null is an error, because "cannot tell" is "no"
    found  optional Series of str: the offending piece of each rejected row
    text   optional Series of str: where it was found; examples show the piece marked in its surroundings
    why    optional Series of str: which of several limits it is over, or by how much
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    def __call__(
        self,
        mask: pl.Series,
        *,
        found: pl.Series | None = None,
        text: pl.Series | None = None,
        why: pl.Series | None = None,
    ) -> None:
        evidence, rows = self._evidence, len(self._evidence.population.all)
        if evidence.gate.kind != "row":
            raise DistillError(
                Code.GATE, f"{evidence.gate.id} calls quarantine and declares no rejects=", '@gate("…", rejects="reason")'
            )
        if evidence.mask is not None:
            raise DistillError(Code.MASK, f"{evidence.gate.id} calls quarantine twice", "Combine the masks with |.")
        if not isinstance(mask, pl.Series) or mask.dtype != pl.Boolean:
            kind = mask.dtype if isinstance(mask, pl.Series) else type(mask).__name__
            raise DistillError(Code.MASK, f"{evidence.gate.id}: the mask is {kind}, not a Series of bool")
        if len(mask) != rows:
            raise DistillError(Code.MASK, f"{evidence.gate.id}: the mask has {len(mask)} values for {rows} rows")
        if nulls := mask.null_count():
            raise DistillError(
                Code.MASK, f"{evidence.gate.id}: the mask is null for {nulls} rows: cannot tell", "Decide with fill_null(True)."
            )
        for name, series in (("found", found), ("text", text), ("why", why)):
            if series is not None and (not isinstance(series, pl.Series) or series.dtype != pl.String or len(series) != rows):
                raise DistillError(Code.MASK, f"{evidence.gate.id}: {name} is no Series of {rows} strings")
        evidence.mask, evidence.found, evidence.why = mask.rename("mask"), found, why
        self._bound(int(mask.sum()), rows)
        evidence.examples.extend(examples(evidence.population, mask, found, text, why))

    def _bound(self, rejected: int, rows: int) -> None:
        limits, share = self._evidence.limits, self._evidence.limits.get("max_rejected_share")
        if share is not None:
            value = rejected / rows if rows else None
            self._evidence.add("share of rows rejected", value, Bound(op="at_most", value=share), None)
            self._evidence.figures.append(Figure(name="rows rejected", value=rejected, ok=True, unit="rows", rows=rows))
        else:
            bound = Bound(op="at_most", value=limits.get("max_rejected_rows", 0))
            self._evidence.add("rows rejected", rejected, bound, "rows")


def examples(
    population: Population, mask: pl.Series, found: pl.Series | None, text: pl.Series | None, why: pl.Series | None = None
) -> list[Example]:
    """The first rejected rows, each with its position, why, and the text around what was found."""
    rows = mask.arg_true().head(EXAMPLES).to_list()
    if not rows:
        return []
    places = population.positions
    shown = []
    for row in rows:
        piece = found[row] if found is not None else None
        whole = text[row] if text is not None else (piece or "")
        snippet, start, end = excerpt(whole or "", piece)
        reason = f"{why[row][: 2 * CONTEXT]} | " if why is not None and why[row] else ""
        shown.append(
            Example(
                row=row,
                id=str(population.ids[row]),
                source=population.sources[places[SOURCE_COLUMN][row]],
                line=places[LINE_COLUMN][row],
                text=reason + snippet,
                start=None if start is None else len(reason) + start,
                end=None if end is None else len(reason) + end,
            )
        )
    return shown


def excerpt(text: str, piece: str | None) -> tuple[str, int | None, int | None]:
    """`piece` in its surroundings, and where it stands in the excerpt; the text's beginning when there is no piece."""
    if piece and piece == text:  # what was found is all there is to show
        shown = text[: 2 * CONTEXT]
        return shown if shown == text else f"{shown}…", 0, len(shown)
    piece = piece[: 2 * CONTEXT] if piece else piece  # a piece can be a whole document; an example shows its beginning
    at = text.find(piece) if piece else -1
    if at < 0 or piece is None:
        note = f"{piece} | " if piece and piece not in text else ""
        return note + text[: 2 * CONTEXT] + ("…" if len(text) > 2 * CONTEXT else ""), None, None
    start, end = max(0, at - CONTEXT), min(len(text), at + len(piece) + CONTEXT)
    head = "…" if start else ""
    return f"{head}{text[start:end]}{'…' if end < len(text) else ''}", len(head) + at - start, len(head) + at - start + len(piece)


class Limits:
    """The `limits` fixture: this gate's own limits, with the policy's values in place."""

    def __init__(self, gate: str, values: dict[str, Any]) -> None:
        self.__dict__.update(values)
        self._gate = gate

    def __getattr__(self, name: str) -> Any:
        raise DistillError(Code.GATE, f"{self._gate} has no limit {name!r}", f'@gate(…, limits={{"{name}": …}})')

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "_gate":
            raise DistillError(Code.GATE, f"limits are set in distill.toml, not in a gate ({name})")
        super().__setattr__(name, value)


class Tracked(pl.Series):
    """A column handed to a gate. Any operation on it goes through `_s`, and that is how use is told from look-up."""

    @property
    def _s(self) -> Any:
        mark = self.__dict__.get("_mark")  # absent on what polars derives from a handed column
        if mark is not None:
            mark()
        return self.__dict__["_plain"]

    @_s.setter
    def _s(self, value: Any) -> None:
        self.__dict__["_plain"] = value


class TrackedManifest:
    """The manifest handed to a gate: reading a fact of it is use, asking for the fixture is not."""

    def __init__(self, manifest: Manifest, used: set[str]) -> None:
        self.__dict__.update(_manifest=manifest, _used=used)

    def __getattr__(self, name: str) -> Any:
        self._used.add("manifest")
        return getattr(self._manifest, name)


def tracked(series: pl.Series, name: str, used: set[str]) -> pl.Series:
    """`series` as a Series whose first use by the gate adds `name` to `used`."""
    handed = Tracked.__new__(Tracked)
    handed.__dict__["_plain"] = series.clone()._s  # shares the memory; a gate that writes into it reaches nobody else
    handed.__dict__["_mark"] = lambda: used.add(name)
    return handed
