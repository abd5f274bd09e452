"""`distill verify`: anyone checks an export, with nothing but the folder and, if it is signed, the signer's public key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_distill import storage
from pytest_distill.batch import digest
from pytest_distill.contracts.attestation import Envelope, Seal, pre_authentication_encoding
from pytest_distill.contracts.run import RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.data import Format, count_rows, find_data
from pytest_distill.release.seal import SEAL, seal_of
from pytest_distill.release.signing import is_signed_by, load_public_key
from pytest_distill.release.tokens import EXPORTED, exported_tokens
from pytest_distill.release.verdict import PUBLIC_EVIDENCE, VERDICT

CARD = "README.md"
CROISSANT = "croissant.json"
ENVELOPE = "seal.dsse.json"
PAE = "seal.pae"
SIGNATURE = "seal.sig"
SIGNED_FILES = (ENVELOPE, PAE, SIGNATURE)
# Not in SHA256SUMS: they vouch for it.
SEAL_FILES = (SEAL, *SIGNED_FILES)


@dataclass(frozen=True)
class Verified:
    """What an export that verifies holds. `signature_checked` is false without a key, signed or not."""

    batch_id: str
    batch_sha256: str
    run_id: str
    form: Format
    rows: int
    files: tuple[str, ...]
    gates: int
    waived: tuple[str, ...]
    signed: bool
    signature_checked: bool


def verify(folder: Path, key: Path | None = None) -> Verified:
    """Checks sums, file list, evidence, verdict, seal and row counts against each other, and the signature with `key`.

    Raises E-VERIFY saying what differs, E-KEY when `key` is no P-256 public key. Without a key the export is known to be whole
    and consistent, not who made it: whoever can rewrite all of it can make another consistent one.
    """
    public_key = load_public_key(key) if key else None
    if not (folder / digest.SUMS).is_file():
        raise DistillError(Code.VERIFY, f"{folder} is no export: it holds no {digest.SUMS}", "Name the folder of an export.")
    with _as_verification(folder):
        _plain_files_only(folder)
        digest.check(folder, unhashed=SEAL_FILES)
        sums = (folder / digest.SUMS).read_bytes()
        names = sorted(digest.read_sums(folder))
        form, data = find_data(names)
        tokens = exported_tokens(folder)
        expected = {CARD, CROISSANT, VERDICT, PUBLIC_EVIDENCE, *data, *(tokens.files if tokens else ())}
        if different := sorted(expected ^ set(names)):
            raise _refused(f"{different[0]} {'is missing' if different[0] in expected else 'does not belong into an export'}")
        evidence, verdict = (folder / PUBLIC_EVIDENCE).read_bytes(), (folder / VERDICT).read_bytes()
        record = RunRecord.from_bytes(evidence, name=PUBLIC_EVIDENCE)
        if any(gate.examples for gate in record.gates):
            raise _refused(f"{PUBLIC_EVIDENCE} holds text of rejected rows")
        found = (folder / SEAL).read_bytes()
        seal = seal_of(record, verdict, sums=sums, ledger=Seal.from_bytes(found, name=SEAL).predicate.ledger)
        if found != seal.to_bytes():
            raise _refused(f"{SEAL} is not the seal of this verdict and these sums")
        _evidence_is_the_verdicts(verdict, evidence)
        rows = sum(count_rows(folder / name) for name in data)
        if rows != record.rows.remaining:
            raise _refused(f"the data files hold {rows} rows, the sealed evidence says {record.rows.remaining}")
        if (record.kind == "tokens") != (tokens is not None) or (tokens is not None and tokens.documents != rows):
            raise _refused(f"{EXPORTED}/ does not hold the {rows} documents of the sealed evidence")
        signature = _signature(folder, seal.to_bytes())
        if public_key is not None and signature is None:
            raise _refused("it is not signed, so the key has nothing to check")
        if public_key is not None and signature is not None and not is_signed_by(public_key, seal.to_bytes(), signature):
            raise _refused(f"{SIGNATURE} was not made with the key that belongs to {key}")
    return Verified(
        batch_id=record.batch_id,
        batch_sha256=record.batch_sha256,
        run_id=record.run_id,
        form=form,
        rows=rows,
        files=tuple(names),
        gates=len(record.gates),
        waived=tuple(gate.id for gate in record.gates if gate.status == "waived"),
        signed=signature is not None,
        signature_checked=public_key is not None,
    )


def _plain_files_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise _refused(f"{path.relative_to(folder)} is no plain file")
        if path.is_dir() and path.relative_to(folder) not in (Path("data"), Path(EXPORTED)):
            raise _refused(f"{path.relative_to(folder)} does not belong into an export")


def _evidence_is_the_verdicts(verdict: bytes, evidence: bytes) -> None:
    from pytest_distill.contracts.attestation import Verdict

    if Verdict.from_bytes(verdict, name=VERDICT).digest_of(PUBLIC_EVIDENCE) != storage.sha256_bytes(evidence):
        raise _refused(f"{PUBLIC_EVIDENCE} is not what {VERDICT} rests on")


def _signature(folder: Path, seal: bytes) -> bytes | None:
    """The signature, once the three signed files agree with each other and with the seal; None when there are none."""
    present = [name for name in SIGNED_FILES if (folder / name).exists()]
    if not present:
        return None
    if missing := sorted(set(SIGNED_FILES) - set(present)):
        raise _refused(f"{missing[0]} is missing beside {present[0]}")
    signature = (folder / SIGNATURE).read_bytes()
    if (folder / PAE).read_bytes() != pre_authentication_encoding(seal):
        raise _refused(f"{PAE} is not the signed form of {SEAL}")
    if (folder / ENVELOPE).read_bytes() != Envelope.around(seal, signature).to_bytes():
        raise _refused(f"{ENVELOPE} does not hold {SEAL} and {SIGNATURE}")
    return signature


@contextlib.contextmanager
def _as_verification(folder: Path) -> Iterator[None]:
    """Whatever is wrong with the folder is one thing to its reader: it does not verify."""
    try:
        yield
    except DistillError as error:
        if error.code in (Code.KEY, Code.EXTRA):
            raise
        raise DistillError(
            Code.VERIFY, f"{folder} does not verify: {error.message}", "Do not use it; ask who made it."
        ) from error
    except OSError as error:
        raise DistillError(Code.VERIFY, f"{folder} cannot be read: {error}", "Check the path and its permissions.") from error


def _refused(message: str) -> DistillError:
    return DistillError(Code.VERIFY, message)
