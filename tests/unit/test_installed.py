"""Which distributions are installed, as a digest of a verdict names them: read quickly, and as the standard library reads it."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pytest_distill.suite import digest


def test_as_importlib_reads_it() -> None:
    # In a process of its own: what other tests import adds places where distributions lie.
    code = """
from importlib import metadata
from pytest_distill.suite import digest
slowly = {f"{d.metadata['Name'].lower()}=={d.version}" for d in metadata.distributions() if d.metadata["Name"]}
assert set(digest.installed()[1:]) == slowly, slowly ^ set(digest.installed()[1:])
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("folder", "file", "text", "named"),
    [
        ("a.dist-info", "METADATA", "Metadata-Version: 2.4\nName: Some.Thing \nVersion:  1.2\n\nName: body\n", "some.thing==1.2"),
        ("b.egg-info", "PKG-INFO", "Version: 3\r\nName: old\r\n\r\n", "old==3"),
        ("c.dist-info", "METADATA", "Summary: nameless\n\nName: body\nVersion: 1\n", None),
        ("d.dist-info", "RECORD", "", None),
    ],
)
def test_headers_of_a_distribution(tmp_path: Path, folder: str, file: str, text: str, named: str | None) -> None:
    place = tmp_path / folder
    place.mkdir()
    (place / file).write_bytes(text.encode())
    assert digest._named(metadata.Distribution.at(place)) == named
