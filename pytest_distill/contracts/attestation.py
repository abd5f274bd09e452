"""The attestations we write: in-toto Statement v1 with a test-result or SLSA verification summary predicate, and DSSE.

Field names and meanings are those of the public specifications (in-toto attestation framework v1, predicate
test-result v0.1, SLSA verification_summary v1, DSSE 1.0); optional fields that we do not use are left out. `timeVerified` is
left out of the summary on purpose: without it the same run gives the same bytes, and the ledger holds the time.
"""

from __future__ import annotations

import base64
from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from pytest_distill import storage
from pytest_distill.contracts.base import Contract
from pytest_distill.contracts.manifest import Sha256
from pytest_distill.contracts.run import Waiver

STATEMENT: Final = "https://in-toto.io/Statement/v1"
TEST_RESULT: Final = "https://in-toto.io/attestation/test-result/v0.1"
SUMMARY: Final = "https://slsa.dev/verification_summary/v1"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"

# RFC 3986: what names a resource starts with a scheme.
Uri = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$")]
Base64 = Annotated[str, StringConstraints(pattern=r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$")]


class Attestation(Contract):
    """Base of the foreign formats: a field without a value is absent, never null."""

    def to_bytes(self) -> bytes:
        return storage.canonical_json(self.model_dump(mode="json", exclude_none=True))


class Digest(Attestation):
    sha256: Sha256


class Subject(Attestation):
    """What a statement is about."""

    name: str = Field(min_length=1)
    digest: Digest


class Resource(Attestation):
    """An in-toto ResourceDescriptor. It must say where it is or what its bytes are."""

    name: str | None = None
    uri: Uri | None = None
    digest: Digest | None = None

    @model_validator(mode="after")
    def identified(self) -> Resource:
        if self.uri is None and self.digest is None:
            raise ValueError("a resource needs a uri or a digest")
        return self


class Results(Attestation):
    """Predicate test-result v0.1. A required gate that did not run is in `failedTests`, a waived one in `warnedTests`."""

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: tuple[Resource, ...]
    passed_tests: tuple[str, ...] = Field(alias="passedTests")
    warned_tests: tuple[str, ...] = Field(alias="warnedTests")
    failed_tests: tuple[str, ...] = Field(alias="failedTests")


class Verdict(Attestation):
    """`verdict.json`: what one run said about one batch, for every required gate."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1, max_length=1)
    predicate_type: Literal["https://in-toto.io/attestation/test-result/v0.1"] = Field(default=TEST_RESULT, alias="predicateType")
    predicate: Results

    def configured(self, name: str) -> Resource | None:
        """The configuration entry called `name`, if there is one."""
        return next((resource for resource in self.predicate.configuration if resource.name == name), None)

    def digest_of(self, name: str) -> str | None:
        """The SHA-256 the verdict gives for `name`, if it gives one."""
        resource = self.configured(name)
        return resource.digest.sha256 if resource and resource.digest else None


class Verifier(Attestation):
    id: Uri


class Position(Attestation):
    """The newest line of the workspace's ledger just before a seal was entered into it: its number and its SHA-256."""

    seq: int = Field(ge=1)
    sha256: Sha256


class Summary(Attestation):
    """Predicate SLSA verification_summary v1, without `timeVerified`."""

    verifier: Verifier
    resource_uri: Uri = Field(alias="resourceUri")
    policy: Resource
    input_attestations: tuple[Resource, ...] = Field(alias="inputAttestations", min_length=1)
    verification_result: Literal["PASSED"] = Field(default="PASSED", alias="verificationResult")
    verified_levels: tuple[str, ...] = Field(alias="verifiedLevels", min_length=1)
    waivers: tuple[Waiver, ...] | None = Field(
        default=None, alias="pkg:pypi/pytest-distill#waivers"
    )  # an extension field must be named by a URI
    ledger: Position | None = Field(default=None, alias="pkg:pypi/pytest-distill#ledger")


class Seal(Attestation):
    """`seal.json`: the summary made from a passing verdict. Its subjects are a batch, and in an export also its SHA256SUMS."""

    type: Literal["https://in-toto.io/Statement/v1"] = Field(default=STATEMENT, alias="_type")
    subject: tuple[Subject, ...] = Field(min_length=1, max_length=2)
    predicate_type: Literal["https://slsa.dev/verification_summary/v1"] = Field(default=SUMMARY, alias="predicateType")
    predicate: Summary


class Signature(Attestation):
    """`sig` is the DER form of an ECDSA signature, so that OpenSSL reads it. No keyid: it is a hint that nothing vouches for."""

    sig: Base64


class Envelope(Attestation):
    """`seal.dsse.json`: a DSSE 1.0 envelope around the bytes of seal.json."""

    payload: Base64
    payload_type: Literal["application/vnd.in-toto+json"] = Field(default=PAYLOAD_TYPE, alias="payloadType")
    signatures: tuple[Signature, ...] = Field(min_length=1, max_length=1)

    @classmethod
    def around(cls, payload: bytes, signature: bytes) -> Envelope:
        return cls(payload=_base64(payload), signatures=(Signature(sig=_base64(signature)),))


def pre_authentication_encoding(payload: bytes) -> bytes:
    """The bytes that a DSSE signature covers: PAE(payloadType, payload)."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
