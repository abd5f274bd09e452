"""`distill export`: a dataset leaves, if and only if the newest run of exactly these bytes is sealed and the seal still holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill import ledger, storage
from pytest_distill.batch import digest
from pytest_distill.batch.batch import UNHASHED, Batch, open_batch
from pytest_distill.contracts.attestation import Envelope, pre_authentication_encoding
from pytest_distill.errors import Code, DistillError
from pytest_distill.policy import changes
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release import incidents, signing
from pytest_distill.release.card import dataset_card
from pytest_distill.release.croissant import croissant
from pytest_distill.release.data import Format, write_data
from pytest_distill.release.runs import SealedRun, sealed_run
from pytest_distill.release.seal import SEAL, seal_of
from pytest_distill.release.tokens import write_tokens
from pytest_distill.release.verdict import PUBLIC_EVIDENCE, VERDICT, public
from pytest_distill.release.verify import CARD, CROISSANT, ENVELOPE, PAE, SEAL_FILES, SIGNATURE, verify

if TYPE_CHECKING:
    import numpy as np
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


def export(workspace: Workspace, batch_id: str, out: Path, format: Format, sign: Path | None = None) -> Path:  # noqa: A002 - as the command says it
    """Writes the remaining rows of a sealed batch to the new folder `out`; returns it. Refused exports leave nothing behind.

    Raises E-EXPORT-EXISTS, E-KEY, E-BATCH-NOTFOUND, E-BATCH-CORRUPT, E-UNSEALED, E-SEAL-INVALID, E-SEAL-STALE, E-LEDGER,
    E-POLICY-CHANGE, E-INCIDENT while a blocking incident is not closed (refusals that mean a violation open one), or
    E-MANIFEST-COMMIT when the disk refuses. The finished folder is verified before it appears under its name.
    """
    incidents.refuse_blocked(workspace)
    try:
        return _export(workspace, batch_id, out, format, sign)
    except DistillError as error:
        incidents.met(workspace, error, batch=batch_id)
        raise


def _export(workspace: Workspace, batch_id: str, out: Path, form: Format, sign: Path | None) -> Path:
    target = Path(out).resolve()
    if target.exists() or target.is_symlink():
        raise DistillError(
            Code.EXPORT_EXISTS, f"{out} already exists", "Name a folder that does not; nothing is ever overwritten."
        )
    for kept in (workspace.batches, workspace.state):
        if target.resolve().is_relative_to(kept.resolve()):
            raise DistillError(Code.USAGE, f"{out} lies in {kept}, where only the tool writes", "Choose another folder.")
    key = signing.load_private_key(sign) if sign else None
    batch = open_batch(workspace.batch_folder(batch_id))
    changes.check(workspace)
    run = sealed_run(workspace, batch)
    rejected = rejected_rows(run)
    with storage.atomic_folder(target) as folder:
        _write(folder, workspace, batch, run, rejected, form, key)
        if digest.check(batch.folder, unhashed=UNHASHED) != batch.sha256:
            raise DistillError(Code.BATCH_CORRUPT, f"{batch_id} changed while it was exported", "Find out what wrote to it.")
        verify(folder)
        _still_sealed(workspace, batch, run)
        # Before the folder appears: there may be an audit line without an export, never an export without its line.
        ledger.append(
            workspace.ledger,
            "export",
            batch=batch_id,
            run=run.record.run_id,
            format=form,
            rows=run.record.rows.remaining,
            sums_sha256=storage.sha256_file(folder / digest.SUMS),
            signed=key is not None,
        )
    return target


def _still_sealed(workspace: Workspace, batch: Batch, run: SealedRun) -> None:
    """Writing took a while, in which others work too: a newer run, another policy or an incident says no all the same."""
    now = workspace if workspace.implicit else workspaces.load(workspace.root)
    incidents.refuse_blocked(now)
    changes.check(now)
    if sealed_run(now, batch).verdict != run.verdict:
        raise DistillError(Code.UNSEALED, f"{batch.id} was judged again while it was exported", "Export it again.")


def rejected_rows(run: SealedRun) -> np.ndarray:
    """Positions of the quarantined rows: int64, sorted, unique. Raises E-SEAL-INVALID when they are not those of the evidence."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = np.empty(0, dtype=np.int64)
    if run.quarantine is not None:
        try:
            column = pq.ParquetFile(pa.BufferReader(run.quarantine)).read(columns=["row"])["row"]
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DistillError(Code.SEAL_INVALID, f"the quarantine of run {run.record.run_id} does not read: {error}") from error
        if column.null_count or column.type != pa.int64():
            raise DistillError(Code.SEAL_INVALID, f"the quarantine of run {run.record.run_id} holds a row without a position")
        rows = np.unique(column.to_numpy())
    counted = run.record.rows
    if len(rows) != counted.quarantined or (len(rows) and not 0 <= rows[0] <= rows[-1] < counted.batch):
        raise DistillError(
            Code.SEAL_INVALID, f"the quarantine of run {run.record.run_id} holds {len(rows)} rows, not {counted.quarantined}"
        )
    return rows


def _write(
    folder: Path,
    workspace: Workspace,
    batch: Batch,
    run: SealedRun,
    rejected: np.ndarray,
    form: Format,
    key: EllipticCurvePrivateKey | None,
) -> None:
    card = workspace.policy.card
    files = write_data(batch, rejected, folder, form)
    if batch.kind == "tokens":
        write_tokens(batch, len(rejected), folder)
    storage.write_bytes(folder / CARD, dataset_card(batch, run.record, card, files, form).encode())
    storage.write_json(folder / CROISSANT, croissant(batch, run, card, folder, files, form))
    storage.write_bytes(folder / VERDICT, run.verdict)
    storage.write_bytes(folder / PUBLIC_EVIDENCE, public(run.record).to_bytes())
    digest.write_sums(folder, unhashed=SEAL_FILES)
    sums = (folder / digest.SUMS).read_bytes()
    seal = seal_of(run.record, run.verdict, sums=sums, ledger=run.position).to_bytes()
    storage.write_bytes(folder / SEAL, seal)
    if key is not None:
        signature = signing.sign(key, seal)
        storage.write_bytes(folder / PAE, pre_authentication_encoding(seal))
        storage.write_bytes(folder / SIGNATURE, signature)
        storage.write_bytes(folder / ENVELOPE, Envelope.around(seal, signature).to_bytes())
