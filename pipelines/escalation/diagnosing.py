"""A frontier model reads a few rows of a batch that fell below gold, and says why. It writes no row.

Allowed only with the purpose `diagnosis`, metered, and bounded by `escalation.MAX_ITEMS` rows over the whole escalation.
"""

from __future__ import annotations

import argparse
import json
import os

from pytest_distill.batch.batch import Batch, open_batch
from pytest_distill.cli import common as shared
from pytest_distill.contracts.manifest import REQUIRED_COLUMNS, Declaration
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.models import metering
from pytest_distill.pipelines.models.backend import Sampling
from pytest_distill.pipelines.models.registry import ModelChoice, open_model
from pytest_distill.policy.allowance import Task, tier
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import escalation, incidents

GO_ON = "It was not asked: show it fewer rows, or raise the limit in distill.toml."
LONGEST = 600  # characters of a text that are shown


def diagnose(workspace: Workspace, given: argparse.Namespace) -> None:
    """Asks, and records the answer. Raises E-ESCALATION, E-FRONTIER (a local model, or one without that purpose), E-BUDGET."""
    found = escalation.refuse_diagnosis(workspace, given.number, given.rows)
    if tier(workspace.policy, given.model, given.server) == "local":
        raise DistillError(
            Code.FRONTIER, f"{given.model} is a local model, and local output is what fell below gold",
            'List a frontier model in [[models]] with the purpose "diagnosis".',
        )  # fmt: skip
    batch = open_batch(workspace.batch_folder(found.batch))
    rows = min(given.rows, batch.rows)
    said = Declaration(
        cost_class="med", justification=given.justification or f"escalation {found.number}: {found.why}", purpose="diagnosis"
    )
    with (
        incidents.noted(workspace, found.batch),
        metering.session(workspace, Task(items=rows, said=said), batch=found.batch, go_on=GO_ON) as running,
    ):
        model = open_model(_choice(given))
        sampling = Sampling(max_new_tokens=given.max_new_tokens)
        answer = model.backend.generate([question(batch, rows, found.why)], sampling, [0])[0].text.strip()
        used = running.used
    done = escalation.diagnosed(workspace, found.number, model=given.model, items=rows, finding=answer)
    shared.say(given, f"escalation {done.number} is {done.state}: {rows} rows, {used.calls} call, "
               f"{used.tokens_read + used.tokens_written:,} tokens, cost {used.cost:g}")  # fmt: skip
    print(answer)  # noqa: T201 - what was asked for


def question(batch: Batch, rows: int, why: str) -> str:
    """The one prompt: what the batch should be, in what it is below gold, and the rows, as a page that ends in `Diagnosis:`."""
    columns = REQUIRED_COLUMNS.get(batch.kind, batch.column_names[:2])
    frame = batch.frame(list(columns)).head(rows)
    shown = [json.dumps({k: str(v)[:LONGEST] for k, v in row.items()}, ensure_ascii=False) for row in frame.iter_rows(named=True)]
    listed = "\n".join(f"{number}. {text}" for number, text in enumerate(shown, start=1))
    return (
        f"Rows of a dataset were found to be worse than its gold set ({why}).\nThe dataset: {batch.manifest.what}\n\n{listed}\n\n"
        "What is wrong with the rows, and what in the specification or prompt would prevent it.\nDiagnosis:"
    )


def _choice(given: argparse.Namespace) -> ModelChoice:
    key = None
    if given.key_variable is not None:
        key = os.environ.get(given.key_variable)
        if not key:
            raise DistillError(Code.USAGE, f"there is no environment variable {given.key_variable}", "It has to hold the key.")
    backend = "server" if given.server else "transformers"
    return ModelChoice(
        model=given.model, backend=backend, url=given.server, tokenizer=given.tokenizer, key=key, batch_size=1
    )  # fmt: skip
