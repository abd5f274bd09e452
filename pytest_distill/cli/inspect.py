"""`distill inspect ID`: a sampling inspection. Some rows, drawn by the batch's digest, and what people say of each.

Shows instruction, response, both critics' margins, the rule that trimmed the completion, and the completion with what was cut
off. On a terminal one key a row answers: g good, b bad, u unsure (these two ask why); what was said is kept, and the next call
goes on. With the extra [inspect] that is a screen, with the row's measures and the nearest gold row beside it (? shows its keys);
without, or with --plain, a prompt. `--answers FILE` takes JSON lines {"row", "judgement", "reason"} instead, and `--verifier` has
a model judge the rows that are open: it counts once `distill agreement` has measured how far people agree with it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

    from pytest_distill.batch.batch import Batch
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.contracts.inspection import Decision, Inspection
    from pytest_distill.policy.workspace import Workspace

CUT_OPENS, CUT_CLOSES = "⟦cut: ", "⟧"
KEYS = {"g": "good", "b": "bad", "u": "unsure"}


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option
    from pytest_distill.cli.inspecting.verifying import add_options

    parser = subparsers.add_parser("inspect", parents=[common], help="look at a sample of the rows", description=__doc__)
    parser.add_argument("batch", metavar="ID")
    parser.add_argument("--answers", metavar="FILE", type=Path, help="decisions from a file of JSON lines; nothing is asked")
    parser.add_argument("--plain", action="store_true", help="a prompt instead of the screen")
    parser.add_argument("--who", metavar="NAME", help="who judges (default: the user's name on this machine)")
    add_options(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.common import open_workspace, print_json, say
    from pytest_distill.errors import Code, DistillError
    from pytest_distill.release.inspection import begin, record

    if args.answers is not None and args.verifier is not None:
        raise DistillError(Code.USAGE, "--answers and --verifier are two ways to answer", "Choose one.")
    workspace = open_workspace(args)
    batch = open_batch(workspace.batch_folder(args.batch))
    inspection = begin(workspace, batch)
    if args.answers is not None:
        inspection = record(workspace, inspection, _answered(args.answers, inspection, args.who))
    rows = list(shown_rows(batch, inspection))
    if args.verifier is not None:
        inspection = _verified(args, workspace, rows, inspection)
        rows = list(shown_rows(batch, inspection))
    if args.json:
        print_json({"batch": batch.id, "batch_sha256": batch.sha256, "rows": rows, "open": list(inspection.open)})
        return
    if args.answers is None and args.verifier is None and sys.stdin.isatty() and sys.stdout.isatty() and rows:
        if not args.plain and importlib.util.find_spec("textual") is not None:
            inspection = _on_screen(args, workspace, batch, rows, inspection)
        else:
            inspection = _ask(rows, inspection, args.who, lambda decision, so_far: record(workspace, so_far, [decision]))
    else:
        for row in rows:
            if args.verifier is None or row["decision"] is None or row["decision"]["judgement"] != "good":
                _print_row(row)
    good, bad, unsure = inspection.count("good"), inspection.count("bad"), inspection.count("unsure")
    say(args, f"{len(inspection.rows)} rows drawn: {good} good, {bad} bad, {unsure} unsure, {len(inspection.open)} not judged")


def _verified(args: argparse.Namespace, workspace: Workspace, rows: list[dict[str, Any]], inspection: Inspection) -> Inspection:
    """The verifier judges what nobody has judged."""
    from pytest_distill.cli.common import say
    from pytest_distill.cli.inspecting.verifying import AT_A_TIME, decisions, verifying
    from pytest_distill.release.agreement import measured, why_not_alone
    from pytest_distill.release.inspection import record

    left = [row for row in rows if row["row"] in inspection.open]
    go_on = "What it said so far is kept: the same command judges the rest under a new limit."
    with verifying(workspace, args, len(left), go_on=go_on, batch=inspection.batch) as verifier:
        why_not = why_not_alone(measured(workspace, verifier.identity.id), workspace.policy)
        if why_not is not None:
            say(args, f"verifier {verifier.identity.name} may not stand alone: {why_not}. Measure it: distill agreement")
        for start in range(0, len(left), AT_A_TIME):
            inspection = record(workspace, inspection, decisions(verifier, left[start : start + AT_A_TIME]))
    return inspection


def _on_screen(
    args: argparse.Namespace, workspace: Workspace, batch: Batch, rows: list[dict[str, Any]], inspection: Inspection
) -> Inspection:
    from pytest_distill.cli.inspecting import facts, screen
    from pytest_distill.cli.inspecting.sitting import Sitting
    from pytest_distill.release.inspection import sampling_plan

    sitting = Sitting(workspace, rows, inspection, sampling_plan(workspace, batch), args.who or _user())
    places = [row["row"] for row in rows]
    screen.run(sitting, facts.neighbours(workspace, rows), facts.measures(workspace, batch, places), title=batch.id)
    return sitting.inspection


def shown_rows(batch: Batch, inspection: Inspection) -> Iterator[dict[str, Any]]:
    """What is shown of each row that was drawn. `kept` and `cut` are the two parts of the raw completion, where there is one."""
    from pytest_distill.release.inspection import rows_at

    decisions = {decision.row: decision for decision in inspection.decisions}
    for row, values in zip(inspection.rows, rows_at(batch, inspection.rows), strict=True):
        completion, response = values.get("completion"), values.get("response")
        kept = cut = None
        if isinstance(completion, str) and isinstance(response, str):
            raw = completion.strip()
            kept, cut = (response, raw[len(response) :]) if raw.startswith(response) else (None, raw)
        decision = decisions.get(row)
        yield {
            "row": row,
            "id": values.get("id"),
            "instruction": values.get("instruction"),
            "response": response,
            "margins": {name: _margin(values.get(f"{name}_critique")) for name in ("instruction", "pair")},
            "trim_rule": values.get("trim_rule"),
            "completion": completion,
            "kept": kept,
            "cut": cut,
            "values": {k: v for k, v in values.items() if isinstance(v, str)} if response is None else None,
            "decision": decision.model_dump(mode="json") if decision else None,
        }


def _margin(critique: Any) -> float | None:
    return float(critique["margin"]) if isinstance(critique, dict) and "margin" in critique else None


def _print_row(row: dict[str, Any]) -> None:
    from pytest_distill.cli.common import console

    console().print(shown_text(row_facts(row), head=row_head(row)), soft_wrap=True)


def row_head(row: dict[str, Any]) -> str:
    return f"row {row['row']:,} · id {_plain(str(row['id']))}"


def row_facts(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What people read of a row: name, text, and the part of the text that was cut off."""
    said = row["decision"]
    facts: list[tuple[str, str, str]] = [(name, value, "") for name, value in (row["values"] or {}).items()]
    if row["values"] is None:
        margins = ", ".join(f"{n} {'none' if m is None else f'{m:.2f}'}" for n, m in row["margins"].items())
        facts = [("instruction", str(row["instruction"]), ""), ("response", row["response"], ""), ("margins", margins, "")]
        if row["completion"] is not None:
            marked = f"{CUT_OPENS}{row['cut']}{CUT_CLOSES}" if row["cut"] else ""
            facts += [("trim rule", row["trim_rule"] or "none: nothing was cut", ""), ("completion", row["kept"] or "", marked)]
    why = f": {said['reason']}" if said and said["reason"] else ""
    facts.append(("judged", f"{said['judgement']} by {said['who']} at {said['at']}{why}" if said else "not yet", ""))
    return facts


def shown_text(facts: Sequence[tuple[str, str, str]], *, head: str) -> Text:
    """A row for a terminal: lines stay lines, and nothing in them is markup or can move the cursor."""
    from rich.text import Text

    shown = Text(f"{head}\n", style="bold")
    for name, value, marked in facts:
        shown.append(f"{name:<12} ", style="dim not bold")
        shown.append(_plain(value), style="not bold").append(_plain(marked), style="red not bold").append("\n")
    return shown


def _plain(text: str) -> str:
    """The text with control characters made visible, but for line ends, behind which it is indented."""
    from pytest_distill.errors import one_line

    return f"\n{' ' * 13}".join(one_line(line) for line in text.split("\n"))


def _user() -> str:
    import getpass

    return getpass.getuser()


def _answered(file: Path, inspection: Inspection, who: str | None) -> list[Decision]:
    """The decisions of a file. Raises E-SOURCE-FORMAT for a line that is none, E-USAGE for a row that was not drawn."""
    from pydantic import ValidationError

    from pytest_distill import clock
    from pytest_distill.batch.ingest.formats import read_records
    from pytest_distill.contracts.base import first_problem
    from pytest_distill.contracts.inspection import Decision
    from pytest_distill.errors import Code, DistillError

    found, name, at = [], who or _user(), clock.timestamp()
    for number, line in enumerate(read_records(file), start=1):
        try:
            decision = Decision.model_validate({"reason": "", **line, "who": name, "at": at})
        except ValidationError as error:
            what = f"{file}, line {number}: {first_problem(error)}"
            raise DistillError(Code.FORMAT, what, 'A line is {"row": 3, "judgement": "bad", "reason": "why"}.') from error
        if decision.row not in inspection.rows:
            drawn = ", ".join(map(str, inspection.rows))
            raise DistillError(Code.USAGE, f"{file}, line {number}: row {decision.row} was not drawn", f"Drawn are {drawn}.")
        found.append(decision)
    return found


def _ask(
    rows: Sequence[dict[str, Any]],
    inspection: Inspection,
    who: str | None,
    store: Callable[[Decision, Inspection], Inspection],
) -> Inspection:
    """Shows the open rows one after the other and stores each answer at once."""
    from pytest_distill import clock
    from pytest_distill.contracts.inspection import Decision

    name = who or _user()
    for row in rows:
        if row["row"] not in inspection.open:
            continue
        _print_row(row)
        key = _key("g good   b bad   u unsure   s skip   q stop ", "gbusq")
        if key == "q":
            break
        if key == "s":
            continue
        reason = "" if key == "g" else _line("why? ")
        inspection = store(Decision.model_validate(
            {"row": row["row"], "judgement": KEYS[key], "reason": reason, "who": name, "at": clock.timestamp()}
        ), inspection)  # fmt: skip
    return inspection


def _key(prompt: str, allowed: str) -> str:
    """One of the allowed keys, without Enter; other keys are passed over. Ctrl-C and Ctrl-D end as q."""
    import termios
    import tty

    descriptor = sys.stdin.fileno()
    settings = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSADRAIN)  # before the prompt, and keeping what was typed ahead
        sys.stdout.write(prompt)
        sys.stdout.flush()
        while (key := sys.stdin.read(1).lower()) not in allowed:
            if key in ("", "\x04"):
                key = "q"
                break
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, settings)
    sys.stdout.write(f"{key}\n")
    return key


def _line(prompt: str) -> str:
    """A line of text that is not blank."""
    while True:
        sys.stdout.write(prompt)
        sys.stdout.flush()
        text = sys.stdin.readline()
        if text.strip() or not text:
            return text.strip() or "no reason given"
