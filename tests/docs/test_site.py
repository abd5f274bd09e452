"""The check of the built site notices what a reader would stumble over. The site itself is built by `make site`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site() -> ModuleType:
    spec = importlib.util.spec_from_file_location("site_of_docs", ROOT / "docs" / "site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_and_nothing_else(site: ModuleType) -> None:
    assert site.left_out() == []


@pytest.mark.parametrize(
    ("markup", "fault"),
    [
        ('<a href="b.html#there">b</a><a href="#here">here</a><a href="https://example.org/">out</a><img src="a%20b.png">', None),
        ('<a href="c.html">c</a>', "a.html leads to c.html, which is not there"),
        ('<a href="b.html#gone">b</a>', "a.html leads to b.html#gone, and there is no such heading"),
        ('<img src="c.png">', "a.html leads to c.png, which is not there"),
        ('<a href="../outside.html">up</a>', "a.html leads to ../outside.html, which is not there"),
        ('<script src="https://cdn.example/x.js"></script>', "a.html loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//fonts.example/x.css">', "a.html loads //fonts.example/x.css"),
    ],
)
def test_what_leads_nowhere_or_comes_from_elsewhere_is_found(
    site: ModuleType, markup: str, fault: str | None, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    (tmp_path / "outside.html").touch()
    (folder / "a b.png").touch()
    (folder / "b.html").write_text('<h2 id="there">There</h2>')
    (folder / "a.html").write_text(f'<h2 id="here">Here</h2>{markup}')
    assert list(site.faults(folder)) == ([fault] if fault else [])
