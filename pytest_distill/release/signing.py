"""Keys and signatures: ECDSA over P-256 with SHA-256, in the forms that OpenSSL reads. Needs the extra [sign]."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_distill.contracts.attestation import pre_authentication_encoding
from pytest_distill.errors import Code, DistillError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

MAKE_KEYS = "Make one with: openssl ecparam -name prime256v1 -genkey -noout -out key.pem"


def load_private_key(path: Path) -> EllipticCurvePrivateKey:
    """A P-256 private key from an unencrypted PEM file. Raises E-KEY, or E-EXTRA-MISSING without `cryptography`."""
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise DistillError(Code.KEY, f"{path} is encrypted", f"Decrypt it first: openssl ec -in {path} -out plain.pem") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DistillError(Code.KEY, f"{path} is no PEM private key", MAKE_KEYS) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DistillError(Code.KEY, f"{path} is no ECDSA key on the curve P-256", MAKE_KEYS)
    return key


def load_public_key(path: Path) -> EllipticCurvePublicKey:
    """A P-256 public key from a PEM file. Raises E-KEY, or E-EXTRA-MISSING without `cryptography`."""
    _require_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    hint = "The public key of a signing key: openssl ec -in key.pem -pubout -out pub.pem"
    try:
        key = load_pem_public_key(_read(path))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise DistillError(Code.KEY, f"{path} is no PEM public key", hint) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise DistillError(Code.KEY, f"{path} is no ECDSA key on the curve P-256", hint)
    return key


def sign(key: EllipticCurvePrivateKey, payload: bytes) -> bytes:
    """DER signature over the payload's pre-authentication encoding. Deterministic (RFC 6979)."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        return key.sign(pre_authentication_encoding(payload), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    except UnsupportedAlgorithm as error:
        hint = "Its wheels have it: pip install --force-reinstall 'pytest-distill[sign]'"
        raise DistillError(Code.KEY, "this build of `cryptography` has no deterministic ECDSA", hint) from error


def is_signed_by(key: EllipticCurvePublicKey, payload: bytes, signature: bytes) -> bool:
    """Whether `signature` is `key`'s over the payload's pre-authentication encoding."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key.verify(signature, pre_authentication_encoding(payload), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DistillError(
            Code.KEY, f"cannot read the key {path}: {error.strerror}", "Check the path and its permissions."
        ) from error


def _require_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise DistillError(
            Code.EXTRA, "signatures need the package `cryptography`", "pip install 'pytest-distill[sign]'"
        ) from error
