"""Builds the documentation as a site and checks it: `make site`, into build/site. Needs zensical; asks no network.

Strict: a link to a page, a file or a heading that is not there fails, and so do a page that the navigation leaves out and
anything that a reader's browser would load from elsewhere.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SITE = ROOT / "build" / "site"
# Elements that load what they name, as soon as the page is opened.
LOADING = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
LINKS_ONLY = {"canonical", "next", "prev", "alternate"}


class Page(HTMLParser):
    """What a built page loads, what it links to, and which places of it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.places: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.places.update(filter(None, (given.get("id"), given.get("name"))))
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if (name := LOADING.get(tag)) and given.get(name) and given.get("rel") not in LINKS_ONLY:
            self.loads.append(given[name])


def read(page: Path) -> Page:
    found = Page()
    found.feed(page.read_text(encoding="utf-8"))
    return found


def faults(site: Path) -> Iterator[str]:
    """Every link of the built site that leads nowhere, and everything that it loads from elsewhere."""
    pages = {page: read(page) for page in sorted(site.rglob("*.html")) if page.name != "404.html"}
    for page, found in pages.items():
        where = page.relative_to(site)
        yield from (f"{where} loads {url}" for url in found.loads if urlsplit(url).netloc or url.startswith("//"))
        for url in (*found.loads, *found.links):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not target.exists() or not target.is_relative_to(site):
                yield f"{where} leads to {url}, which is not there"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].places | {"__skip"}:
                yield f"{where} leads to {url}, and there is no such heading"


def left_out() -> list[str]:
    """Pages that the navigation does not name, and names in it that are no page."""
    nav = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]["nav"]
    named = [page for section in nav for entries in section.values() for entry in entries for page in entry.values()]
    there = [page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")]
    return [f"the navigation has no {page}" for page in sorted({*there} - {*named})] + [
        f"the navigation names {page}, which is not there" for page in sorted({*named} - {*there})
    ]


def build() -> None:
    """Runs zensical, and removes the scripts that it copied along from docs/."""
    shutil.rmtree(SITE, ignore_errors=True)
    SITE.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean", "--config-file", str(ROOT / "zensical.toml")]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout)
    for script in SITE.glob("*.py"):
        script.unlink()


def main() -> int:
    found = left_out()
    build()
    found += faults(SITE)
    for fault in found:
        print(fault, file=sys.stderr)  # noqa: T201
    pages = len(list(SITE.rglob("*.html")))
    print(f"{pages} pages in {SITE.relative_to(ROOT)}, {len(found)} faults")  # noqa: T201
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
