"""Verify: any changed byte is found, by us and by the commands that docs/verify.md gives to third parties."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sealed_workspace import ID, Sealed, judge, make_workspace, sealed, write_batch

from pytest_distill.batch import digest
from pytest_distill.contracts.attestation import Seal
from pytest_distill.contracts.run import Example, RunRecord
from pytest_distill.errors import Code, DistillError
from pytest_distill.release.data import FORMATS
from pytest_distill.release.export import export
from pytest_distill.release.seal import seal_of
from pytest_distill.release.verify import verify

DOC = Path(__file__).parents[2] / "docs" / "verify.md"
COMMANDS = [
    re.sub(r"^ {3}", "", block, flags=re.MULTILINE) for block in re.findall(r"```sh\n(.*?)```", DOC.read_text(), re.DOTALL)
]
KEYS = re.findall(r"^\$ (openssl .*)$", DOC.read_text(), re.MULTILINE)


def openssl_keys(folder: Path) -> tuple[Path, Path]:
    """A key pair made with the very commands of the documentation."""
    folder.mkdir(exist_ok=True)
    for command in KEYS:
        subprocess.run(["sh", "-ec", command], cwd=folder, check=True, capture_output=True)
    return folder / "key.pem", folder / "pub.pem"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Sealed:
    return sealed(tmp_path_factory.mktemp("ws"))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return openssl_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signed(ready: Sealed, keys: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A signed export, with the signer's public key beside it as docs/verify.md has it."""
    folder = tmp_path_factory.mktemp("signed")
    shutil.copy(keys[1], folder / "pub.pem")
    return export(ready.workspace, ID, folder / "export", "hf", keys[0])


@pytest.fixture(scope="module")
def unsigned(ready: Sealed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(ready.workspace, ID, tmp_path_factory.mktemp("unsigned") / "export", "jsonl")


@pytest.fixture
def copy(signed: Path, tmp_path: Path) -> Path:
    shutil.copy(signed.parent / "pub.pem", tmp_path / "pub.pem")
    return Path(shutil.copytree(signed, tmp_path / "export"))


def by_hand(folder: Path) -> list[int]:
    """Exit statuses of the documented commands, run inside `folder`."""
    return [
        subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, check=False).returncode for command in COMMANDS
    ]


def refused(folder: Path, key: Path | None = None) -> DistillError:
    with pytest.raises(DistillError) as error:
        verify(folder, key)
    return error.value


def test_the_documented_commands_say_yes_to_a_good_export(signed: Path) -> None:
    assert len(COMMANDS) == 5
    assert by_hand(signed) == [0] * 5


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_verifies_without_its_workspace(form: str, keys: tuple[Path, Path], tmp_path: Path) -> None:
    state = sealed(tmp_path / "ws")
    out = export(state.workspace, ID, tmp_path / "out", form, keys[0])  # type: ignore[arg-type]
    shutil.rmtree(state.workspace.root)
    found = verify(out, keys[1])
    assert (found.rows, found.form, found.signed, found.signature_checked) == (4, form, True, True)


def test_a_signature_that_was_not_checked_is_not_said_to_be(signed: Path, unsigned: Path) -> None:
    assert (verify(signed).signed, verify(signed).signature_checked) == (True, False)
    assert (verify(unsigned).signed, verify(unsigned).signature_checked) == (False, False)


def test_the_same_key_and_run_give_the_same_signature(
    ready: Sealed, signed: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    again = export(ready.workspace, ID, tmp_path / "again", "hf", keys[0])
    assert (again / "seal.sig").read_bytes() == (signed / "seal.sig").read_bytes()


ALL_FILES = ["README.md", "SHA256SUMS", "croissant.json", "evidence.public.json", "verdict.json", "seal.json"]
SIGNED_FILES = [*ALL_FILES, "seal.sig", "seal.pae", "seal.dsse.json", "data/train-00000-of-00003.parquet"]


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_a_signed_export_is_found(data: st.DataObject, signed: Path, keys: tuple[Path, Path]) -> None:
    path = signed / data.draw(st.sampled_from(SIGNED_FILES))
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original) - 1))
    flipped = bytearray(original)
    flipped[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(flipped)
    try:
        assert refused(signed).code is Code.VERIFY
        assert refused(signed, keys[1]).code is Code.VERIFY
    finally:
        path.write_bytes(original)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_an_unsigned_export_is_found(data: st.DataObject, unsigned: Path) -> None:
    path = unsigned / data.draw(st.sampled_from([*ALL_FILES, "data.jsonl"]))
    original = path.read_bytes()
    place = data.draw(st.integers(0, len(original)))
    edit = data.draw(st.sampled_from(["insert", "cut"]))
    path.write_bytes(original[:place] + (b" " + original[place:] if edit == "insert" else b""))
    try:
        if path.read_bytes() != original:
            assert refused(unsigned).code is Code.VERIFY
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize("name", SIGNED_FILES)
def test_the_documented_commands_find_a_changed_file(copy: Path, name: str) -> None:
    path = copy / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    # The envelope is a copy for DSSE tools: by hand the signature is checked on seal.sig and seal.pae.
    assert any(by_hand(copy)) == (name != "seal.dsse.json")
    assert refused(copy).code is Code.VERIFY


@pytest.mark.parametrize("name", ["extra.txt", "data/train-00003-of-00003.parquet", ".hidden", "deep/er.txt"])
def test_a_file_that_was_put_in_is_found(copy: Path, name: str) -> None:
    (copy / name).parent.mkdir(exist_ok=True)
    (copy / name).write_bytes(b"")
    assert any(by_hand(copy))
    assert refused(copy).code is Code.VERIFY


@pytest.mark.parametrize("name", SIGNED_FILES)
def test_a_file_that_was_taken_out_is_found(copy: Path, name: str) -> None:
    (copy / name).unlink()
    assert refused(copy).code is Code.VERIFY


def test_a_symbolic_link_is_found(copy: Path) -> None:
    (copy / "README.md").rename(copy.parent / "README.md")
    (copy / "README.md").symlink_to(copy.parent / "README.md")
    assert "no plain file" in refused(copy).message


def test_a_file_on_the_list_still_has_to_belong(copy: Path) -> None:
    (copy / "payload.py").write_text("import os\n")
    digest.write_sums(copy, unhashed=("seal.json", "seal.sig", "seal.pae", "seal.dsse.json"))
    assert "payload.py does not belong" in refused(copy).message


@pytest.fixture
def loose(unsigned: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unsigned, tmp_path / "export"))


def make_consistent(folder: Path) -> None:
    """Sums and seal again after an edit, as somebody would who knows how: what is left to find is what the evidence says."""
    digest.write_sums(folder, unhashed=("seal.json",))
    record = RunRecord.load(folder / "evidence.public.json")
    seal_of(record, (folder / "verdict.json").read_bytes(), sums=(folder / "SHA256SUMS").read_bytes()).write(folder / "seal.json")


def test_a_row_taken_out_is_found_though_sums_and_seal_agree(loose: Path) -> None:
    lines = (loose / "data.jsonl").read_bytes().splitlines(keepends=True)
    (loose / "data.jsonl").write_bytes(b"".join(lines[1:]))
    make_consistent(loose)
    assert "the data files hold 3 rows, the sealed evidence says 4" in refused(loose).message


def test_evidence_with_another_title_is_not_what_the_verdict_rests_on(loose: Path) -> None:
    path = loose / "evidence.public.json"
    path.write_bytes(path.read_bytes().replace(b"Guards privacy.secrets", b"Guards nothing at all"))
    make_consistent(loose)
    assert "evidence.public.json is not what verdict.json rests on" in refused(loose).message


def test_evidence_that_quotes_rejected_rows_does_not_verify(loose: Path) -> None:
    record = RunRecord.load(loose / "evidence.public.json")
    example = Example(row=1, id="b", source="rows", line=2, text="SECRET")
    gates = tuple(gate.model_copy(update={"examples": (example,)}) for gate in record.gates)
    record.model_copy(update={"gates": gates}).write(loose / "evidence.public.json")
    make_consistent(loose)
    assert "holds text of rejected rows" in refused(loose).message


def test_another_exports_seal_is_refused(copy: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "other")
    judge(workspace, write_batch(workspace.batches / "other"))
    other = export(workspace, "other", tmp_path / "other-export", "hf", keys[0])
    for name in ("seal.json", "seal.sig", "seal.pae", "seal.dsse.json"):
        shutil.copy(other / name, copy / name)
    assert by_hand(copy)[0] == 0  # a good signature by the right key, of something else
    assert any(by_hand(copy))
    assert "is not the seal of this verdict and these sums" in refused(copy, keys[1]).message


def test_a_rewritten_export_has_no_signature_of_the_right_key(copy: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """Someone drops a row, makes sums and seal again, and signs with a key of their own: consistent, and refused by the key."""
    from pytest_distill.contracts.attestation import Envelope, pre_authentication_encoding
    from pytest_distill.release.signing import load_private_key, sign

    their_key, their_public = openssl_keys(tmp_path / "theirs")
    with (copy / "README.md").open("a") as card:
        card.write("All rights granted.\n")
    digest.write_sums(copy, unhashed=("seal.json", "seal.sig", "seal.pae", "seal.dsse.json"))
    record = RunRecord.load(copy / "evidence.public.json")
    seal = seal_of(record, (copy / "verdict.json").read_bytes(), sums=(copy / "SHA256SUMS").read_bytes()).to_bytes()
    signature = sign(load_private_key(their_key), seal)
    for name, data in {
        "seal.json": seal,
        "seal.sig": signature,
        "seal.pae": pre_authentication_encoding(seal),
        "seal.dsse.json": Envelope.around(seal, signature).to_bytes(),
    }.items():
        (copy / name).write_bytes(data)
    assert verify(copy, their_public).signature_checked
    assert refused(copy, keys[1]).code is Code.VERIFY
    assert by_hand(copy)[0] != 0


def test_an_unsigned_export_does_not_pass_for_a_signed_one(unsigned: Path, keys: tuple[Path, Path]) -> None:
    assert "it is not signed" in refused(unsigned, keys[1]).message


def test_a_stripped_signature_is_noticed_with_the_key(copy: Path, keys: tuple[Path, Path]) -> None:
    for name in ("seal.sig", "seal.pae", "seal.dsse.json"):
        (copy / name).unlink()
    assert not verify(copy).signed
    assert "it is not signed" in refused(copy, keys[1]).message


def test_a_folder_that_is_no_export_says_so(tmp_path: Path) -> None:
    assert "is no export" in refused(tmp_path).message
    assert "is no export" in refused(tmp_path / "nowhere").message


def test_what_openssl_calls_a_key_we_do_too(ready: Sealed, keys: tuple[Path, Path], signed: Path, tmp_path: Path) -> None:
    for command, match in {
        "openssl genrsa -out key.pem 2048": "no ECDSA key on the curve P-256",
        "openssl ecparam -name secp384r1 -genkey -noout -out key.pem": "no ECDSA key on the curve P-256",
        "openssl ecparam -name prime256v1 -genkey -noout | openssl ec -aes128 -passout pass:x -out key.pem": "is encrypted",
        "echo nonsense > key.pem": "is no PEM private key",
        "rm key.pem": "cannot read the key",
    }.items():
        subprocess.run(["sh", "-ec", command], cwd=tmp_path, check=True, capture_output=True)
        with pytest.raises(DistillError, match=match) as error:
            export(ready.workspace, ID, tmp_path / "out", "jsonl", tmp_path / "key.pem")
        assert error.value.code is Code.KEY
        assert not (tmp_path / "out").exists()
    assert refused(signed, keys[0]).code is Code.KEY  # the private key is no public one


def test_without_the_extra_it_says_what_to_install(unsigned: Path, keys: tuple[Path, Path]) -> None:
    code = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from pathlib import Path\nfrom pytest_distill.errors import DistillError\n"
        "from pytest_distill.release.verify import verify\n"
        "folder, key = map(Path, sys.argv[1:])\nverify(folder)\n"
        "try:\n    verify(folder, key)\nexcept DistillError as error:\n    print(error.line())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(unsigned), str(keys[1])], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("ERROR [E-EXTRA-MISSING]")
    assert "pip install 'pytest-distill[sign]'" in done.stdout


def test_the_seal_binds_sums_and_batch(signed: Path, ready: Sealed) -> None:
    seal = Seal.load(signed / "seal.json")
    assert {s.name: s.digest.sha256 for s in seal.subject} == {
        "SHA256SUMS": digest.storage.sha256_file(signed / "SHA256SUMS"),
        ID: ready.batch.sha256,
    }
    assert json.loads((signed / "seal.dsse.json").read_bytes())["payloadType"] == "application/vnd.in-toto+json"
