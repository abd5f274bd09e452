"""What connects classifier and batches: labelled rows out of batches, and a derived batch with a domain in every row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pytest_distill.batch.batch import Batch
from pytest_distill.contracts.domain import DOMAINS, WEIGHTS, DomainData, DomainName
from pytest_distill.contracts.manifest import How, ModelUse
from pytest_distill.contracts.quarantine import Reason
from pytest_distill.errors import Code, DistillError
from pytest_distill.pipelines.grading.derive import Rejection, derived
from pytest_distill.pipelines.grading.domain.head import Classifier
from pytest_distill.pipelines.grading.domain.training import Labelled
from pytest_distill.pipelines.grading.texts import texts_of
from pytest_distill.pipelines.models.hidden import Backbone
from pytest_distill.policy.workspace import Workspace

PIPELINE: Final = "domain"
COLUMN: Final = "domain"


def labelled(batches: Sequence[Batch], label: str, group: str | None) -> Labelled:
    """Rows of all batches that carry a label; blank rows, and rows without one, are left out.

    Raises E-COLUMN where a column is not there or no text, E-DOMAIN for a label that is none of the sixteen.
    """
    texts: list[str] = []
    labels: list[DomainName] = []
    groups: list[str] = []
    data = []
    for batch in batches:
        said, grouped = _column(batch, label), _column(batch, group) if group else [""] * batch.rows
        before = len(texts)
        for row, (text, name, family) in enumerate(zip(texts_of(batch), said, grouped, strict=True)):
            if name is None or not text.strip():
                continue
            if name not in DOMAINS:
                raise DistillError(
                    Code.DOMAIN, f"{batch.id} row {row}: {name!r} is no domain", f"There are {', '.join(DOMAINS)}."
                )
            texts.append(text)
            labels.append(DOMAINS[DOMAINS.index(name)])
            groups.append(f"{batch.id}\0{row}" if family is None else family)
        data.append(DomainData(batch=batch.id, sha256=batch.sha256, rows=len(texts) - before))
    return Labelled(texts, labels, groups if group else None, label, group, tuple(data))


def stamp(
    workspace: Workspace, batch: Batch, new_id: str, classifier: Classifier, backbone: Backbone, *, command: Sequence[str] = ()
) -> Batch:
    """A derived batch with the column `domain`. Blank rows have none: they go to its quarantine.

    Raises E-BACKBONE for a model that is not the one the classifier was trained on, and what `derived` raises.
    """
    known = classifier.record.backbone
    if backbone.sha256 != known.sha256:
        raise DistillError(
            Code.BACKBONE,
            f"{backbone.name} ({backbone.sha256[:12]}…) is not the model of this classifier, {known.name} ({known.sha256[:12]}…)",
            "Name the model it was trained on, or train it again on this one.",
        )
    texts = texts_of(batch)
    blank = {row for row, text in enumerate(texts) if not text.strip()}
    states = backbone.last_states(
        [text for row, text in enumerate(texts) if row not in blank], known.layer, max_tokens=known.max_tokens
    )
    found = iter(classifier.domains(states))
    values = [None if row in blank else next(found).model_dump(mode="json") for row in range(len(texts))]
    weights = classifier.record.weights_sha256
    models = (
        ModelUse(name=known.name, revision=f"sha256:{known.sha256}"),
        ModelUse(name=WEIGHTS, revision=f"sha256:{weights}", weights_sha256=weights),
    )
    return derived(
        workspace,
        batch,
        new_id,
        columns={COLUMN: values},
        rejected={row: Rejection(Reason.BLANK, "a blank row has no domain") for row in blank},
        how=How(pipeline=PIPELINE, models=models, parameters={"layer": known.layer, "max_tokens": known.max_tokens}),
        what=f"{batch.id} with the domain of each row",
        why="domains for grading",
        command=command,
    )


def _column(batch: Batch, name: str) -> list[str | None]:
    found = next((column for column in batch.manifest.columns if column.name == name), None)
    if found is None or found.type != "string":
        raise DistillError(Code.COLUMN, f"{batch.id} has no column {name!r} of texts", f"It has {', '.join(batch.column_names)}.")
    values: list[str | None] = batch.column(name).to_list()
    return values
