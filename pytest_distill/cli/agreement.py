"""`distill agreement FILE --verifier critic`: how far an automated verifier agrees with people, before it may stand alone.

FILE holds rows that people judged, as JSON lines: instruction, response, judgement (good, bad or unsure) and who. A batch's id
takes what people said of its rows in `distill inspect` instead. Rows that people were unsure of are left out. Cohen's kappa and
its interval are recorded for exactly this verifier: another model, prompt or threshold has to be measured again.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_distill.cli.common import Subparsers
    from pytest_distill.policy.workspace import Workspace


def add_parser(subparsers: Subparsers, common: argparse.ArgumentParser) -> None:
    from pytest_distill.cli.common import add_json_option
    from pytest_distill.cli.inspecting.verifying import add_options

    parser = subparsers.add_parser(
        "agreement", parents=[common], help="how far an automated verifier agrees with people", description=__doc__
    )
    parser.add_argument("source", metavar="FILE|ID", help="rows that people judged: a file of JSON lines, or an inspected batch")
    add_options(parser, required=True)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from pytest_distill import storage
    from pytest_distill.cli.common import open_workspace, print_json, say
    from pytest_distill.cli.inspecting.verifying import pair, verifying
    from pytest_distill.contracts.verifier import SharedRow
    from pytest_distill.release.agreement import keep, why_not_alone

    workspace = open_workspace(args)
    rows, source, sha256 = _judged(workspace, args.source)
    pairs = [pair(row, f"{source}, row {number}") for number, row in enumerate(rows, start=1)]
    go_on = "A measurement is of all rows or none: measure again under a new limit."
    with verifying(workspace, args, len(pairs), go_on=go_on) as verifier:
        words = verifier.judge(pairs)
    shared: dict[str, SharedRow] = {}
    for row, texts, said in zip(rows, pairs, words, strict=True):
        digest = storage.sha256_bytes(storage.canonical_json(texts))
        word = "good" if said.judgement == "good" else "bad"
        shared[digest] = SharedRow(row_sha256=digest, who=row["who"], people=row["judgement"], verifier=word, score=said.score)
    found = keep(workspace, verifier.identity, list(shared.values()), source=source, source_sha256=sha256)
    why_not = why_not_alone(found, workspace.policy)
    if args.json:
        print_json(
            {"agreement": found.model_dump(mode="json"), "verifier": found.verifier.id, "may_stand_alone": why_not is None}
        )
    else:
        for shared_row, (instruction, response) in zip(shared.values(), dict.fromkeys(pairs), strict=True):
            if shared_row.people != shared_row.verifier:
                say(args, f"people say {shared_row.people}: {instruction} | {response}")
        print_line = f"{found.verifier.name}: kappa {found.kappa:.3f} (95%: {found.low:.3f} to {found.high:.3f})"
        say(args, f"{print_line}, {len(found.rows)} rows; {'may stand alone' if why_not is None else why_not}")
    return 0 if why_not is None else 1


def _judged(workspace: Workspace, source: str) -> tuple[list[dict[str, Any]], str, str]:
    """The rows that people called good or bad, where they come from, and a digest of that. Raises E-SOURCE-*, E-USAGE."""
    from pytest_distill import storage
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.release.inspection import begin, rows_at

    path = Path(source)
    if path.is_file():
        return _from_file(path), path.name, storage.sha256_file(path)
    batch = open_batch(workspace.batch_folder(source))
    inspection = begin(workspace, batch)
    people = {said.row: said for said in inspection.decisions if said.verifier is None and said.judgement != "unsure"}
    found = [
        {**values, "judgement": people[row].judgement, "who": people[row].who}
        for row, values in zip(sorted(people), rows_at(batch, sorted(people)), strict=True)
    ]
    return found, batch.id, batch.sha256


def _from_file(path: Path) -> list[dict[str, Any]]:
    from pytest_distill.batch.ingest.formats import read_records
    from pytest_distill.errors import Code, DistillError

    found = []
    for number, row in enumerate(read_records(path), start=1):
        who = row.get("who")
        if row.get("judgement") not in ("good", "bad", "unsure") or not (isinstance(who, str) and who.strip()):
            what = f"{path}, line {number} has no judgement (good, bad, unsure) or nobody who judged"
            raise DistillError(
                Code.FORMAT, what, 'A line is {"instruction": …, "response": …, "judgement": "bad", "who": "Ada"}.'
            )
        if row["judgement"] != "unsure":
            found.append(row)
    return found
