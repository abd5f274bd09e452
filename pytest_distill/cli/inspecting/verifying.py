"""Automated verifiers on the command line: their options, opening one, and having it judge rows. Found by name, not imported."""

from __future__ import annotations

import argparse
import importlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_distill.cli import spending
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from pytest_distill.contracts.inspection import Decision
    from pytest_distill.policy.workspace import Workspace

VERIFIERS = {
    "critic": ("pytest_distill.pipelines.verifier.critic", "open_critic"),
    "judge": ("pytest_distill.pipelines.verifier.judge", "open_judging_verifier"),
}
REGISTRY = "pytest_distill.pipelines.models.registry"
AT_A_TIME = 32  # rows whose judgements are kept together: what a ceiling or a kill can lose is less


def add_options(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    group = parser.add_argument_group("verifier")
    group.add_argument("--verifier", choices=sorted(VERIFIERS), required=required, help="a model judges instead of a person")
    group.add_argument("--threshold", type=_nats, metavar="NATS", help="how sure it has to be (default: as stage 1's critics)")
    group.add_argument("--model", metavar="NAME", help="a folder, a cached model, or a server's name of it (default: tiny)")
    group.add_argument("--backend", choices=("transformers", "vllm", "server"), help="default: transformers, or the --server")
    group.add_argument("--revision", metavar="TEXT", help="of a cached model, or what the server's weights are")
    group.add_argument("--server", metavar="URL", help="an OpenAI-compatible server that has the model")
    group.add_argument("--tokenizer", metavar="FOLDER", help="the tokenizer of the server's model")
    group.add_argument("--key-variable", metavar="NAME", help="the environment variable with the server's key")
    group.add_argument("--device", default="cpu", metavar="D", help="cpu (default), cuda:0")
    spending.add_declaration(parser)
    spending.add_limits(parser, "The verifier is not asked beyond them. What [budget] says holds too.")


def _nats(text: str) -> float:
    """A finite number, zero or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is no number of nats from 0 on")
    return value


@contextmanager
def verifying(
    workspace: Workspace, args: argparse.Namespace, rows: int, *, go_on: str, batch: str | None = None
) -> Iterator[Any]:
    """The verifier that the options name, for so many rows: allowed by the policy, counted and limited as every model is.

    Labelling of more than 50 rows is bulk. Raises what `open_verifier` raises, E-FRONTIER, E-COST-CLASS before, E-BUDGET.
    """
    from pytest_distill.policy.allowance import Task

    task = Task(items=rows, said=spending.declaration(args))
    with spending.metered(workspace, task, args, go_on=go_on, batch=batch):
        yield open_verifier(args)


def open_verifier(args: argparse.Namespace) -> Any:
    """The verifier that the options name. Raises E-EXTRA-MISSING, E-MODEL, E-VERIFIER, E-USAGE."""
    choice = importlib.import_module(REGISTRY).ModelChoice
    key = os.environ.get(args.key_variable) if args.key_variable else None
    if args.key_variable and key is None:
        raise DistillError(Code.USAGE, f"the environment has no variable {args.key_variable}")
    asked = {"model": args.model, "revision": args.revision, "url": args.server, "tokenizer": args.tokenizer, "key": key}
    backend = args.backend or ("server" if args.server else "transformers")
    module, function = VERIFIERS[args.verifier]
    given = {} if args.threshold is None else {"threshold": args.threshold}
    if given and args.verifier != "critic":
        raise DistillError(Code.USAGE, "--threshold is a critic's: a judge says good, bad or unsure", "Leave it out.")
    opener = getattr(importlib.import_module(module), function)
    return opener(choice(backend=backend, device=args.device, **{k: v for k, v in asked.items() if v is not None}), **given)


def pair(row: dict[str, Any], place: str) -> tuple[str, str]:
    """Instruction and response of a row. Raises E-KIND where it has none."""
    texts = row.get("instruction"), row.get("response")
    if not (isinstance(texts[0], str) and isinstance(texts[1], str)):
        raise DistillError(Code.KIND, f"{place} has no instruction and response", "A verifier judges pairs of these.")
    return texts[0], texts[1]


def decisions(verifier: Any, rows: Sequence[dict[str, Any]]) -> list[Decision]:
    """What the verifier says of rows as `inspect` shows them."""
    from pytest_distill import clock
    from pytest_distill.contracts.inspection import Decision

    said = verifier.judge([pair(row, f"row {row['row']}") for row in rows])
    who, at, one = f"verifier {verifier.identity.name}", clock.timestamp(), verifier.identity.id
    return [
        Decision(row=row["row"], judgement=word.judgement, reason=word.reason, who=who, at=at, verifier=one)
        for row, word in zip(rows, said, strict=True)
    ]
