"""The browser, once per session, and the pages it looks at. Without a Chromium, everything here is skipped and says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chrome
import pytest
import scene

# One row for every way a text could become more than a text on a page.
HOSTILE = (
    "<script>window.hit=1;alert(1)</script>",
    "<img src=x onerror='window.hit=1;alert(2)'>",
    "</style></title></textarea></svg><script>window.hit=1</script>",
    "<svg onload=window.hit=1><animate onbegin=window.hit=1 attributeName=x dur=1s>",
    "\"><iframe srcdoc='<script>parent.hit=1</script>'></iframe>",
    "javascript:window.hit=1 <a href=javascript:window.hit=1>click</a>",
    "<link rel=stylesheet href=http://evil.example/x.css><style>@import 'http://evil.example/y.css';</style>",
    "<meta http-equiv=refresh content='0;url=http://evil.example/'>",
    "<base href=http://evil.example/><form action=http://evil.example/><input name=q></form>",
    "\u202egnp.exe \u2066\u2028\x00\x1b[2J\ufeff",
    "-->]]><![CDATA[<script>window.hit=1</script>",
)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if reason := chrome.missing():
        terminalreporter.write_line(f"THE REPORT WAS NOT TESTED IN A BROWSER: {reason}", red=True)


@pytest.fixture(scope="session")
def driver() -> Iterator[Any]:
    if reason := chrome.missing():
        pytest.skip(f"NOT TESTED IN A BROWSER: {reason}")
    with chrome.chrome() as started:
        yield started


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section."""
    return scene.build(tmp_path_factory.mktemp("report") / "workspace") / "report.html"


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on a batch whose ids, texts, sources and reasons all try to break out."""
    folder = tmp_path_factory.mktemp("hostile") / "workspace"
    (folder / "gates").mkdir(parents=True)
    (folder / "distill.toml").touch()
    rows = [
        {
            "id": f"{text}{n}",
            "instruction": f"{text} question {n}",
            "response": f"{text} answer {n}",
            "<img src=x onerror=hit()>": text,
        }
        for n in range(4)
        for text in HOSTILE
    ]
    source = folder / "<img src=x onerror=hit()>.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows) + "{broken\n")
    (folder / "gates" / "test_own.py").write_text(
        "from pytest_distill import gate\n\n"
        "@gate('own.all', rejects='own')\n"
        "def test_own(response, quarantine):\n"
        '    "</td><script>window.hit=1</script><img src=x onerror=alert(3)>"\n'
        "    quarantine(response.str.contains('<', literal=True), found=response.str.slice(0, 9), text=response)\n"
    )
    scene.distill(folder, "ingest", source.name, "--id", "hostile", "--kind", "sft", "--no-progress")
    scene.judge(folder, "hostile")
    return folder / ".distill" / "runs" / "hostile" / "000001" / "report.html"
