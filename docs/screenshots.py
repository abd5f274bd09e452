"""Takes the pictures in docs/images: `python docs/screenshots.py`. Needs a Chromium and an emoji font.

Rows are those the project ships. The report in light, dark and on a phone; a run in the terminal; the summary that a pull
request gets; the inspection; and what a notebook shows.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt
from rich.console import Console
from rich.text import Text

from pytest_distill import storage

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
sys.path.insert(0, str(ROOT / "tests" / "browser"))

import chrome  # noqa: E402 - lies beside the tests that use it
import scene  # noqa: E402

SHOWN = 2  # gates of which pictures show what they found
SIGN = "274c"  # the cross before a failed verdict

FRAME = """<!doctype html><meta charset="utf-8"><style>
body{margin:0;padding:24px;font:15px/1.5 system-ui,"Noto Sans","DejaVu Sans",sans-serif}
pre{margin:0;font:13px/1.45 "DejaVu Sans Mono",monospace}
main{max-width:880px;margin:auto;padding:8px 24px;border:1px solid #d0d7de;border-radius:8px}
table{border-collapse:collapse}th,td{padding:6px 13px;border:1px solid #d0d7de}
code{padding:.15em .4em;background:#eff1f3;border-radius:6px;font:85%% "DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
%s</style>%s"""


def terminal(output: str) -> str:
    """What a terminal of 110 columns showed, as HTML: the table, and the first gates that said no."""
    lines = [line for line in output.splitlines(keepends=True) if not line.startswith("rootdir:")]  # a scratch folder
    told = [number for number, line in enumerate(lines) if line.strip().startswith("limits, in distill.toml")]
    output = "".join(lines[: told[SHOWN - 1] + 1])
    console = Console(record=True, width=110, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(output))
    shown = console.export_html(inline_styles=True, code_format="<pre>{code}</pre>")
    return FRAME % ("body{background:#fff;color:#1d1f24}", shown)


def inspection(place: Path, name: str) -> str:
    """The screen of `distill inspect` after four rows, as SVG."""
    from pytest_distill.batch.batch import open_batch
    from pytest_distill.cli.inspect import shown_rows
    from pytest_distill.cli.inspecting import facts, screen
    from pytest_distill.cli.inspecting.sitting import Sitting
    from pytest_distill.policy import gold, workspace
    from pytest_distill.release.inspection import begin, sampling_plan

    here = workspace.load(place)
    gold.add(here, ROOT / "fixtures" / "rows" / "gold.jsonl", who="A. Name", model=None)
    batch = open_batch(here.batch_folder(name))
    drawn = begin(here, batch)
    rows = list(shown_rows(batch, drawn))
    sitting = Sitting(here, rows, drawn, sampling_plan(here, batch), "A. Name")
    measured = facts.measures(here, batch, [row["row"] for row in rows])
    app = screen.InspectApp(sitting, facts.neighbours(here, rows), measured, title=name)

    async def taken() -> str:
        async with app.run_test(size=(118, 30)) as pilot:
            await pilot.press("g", "g", "g", "g")
            await pilot.pause()
            return app.export_screenshot()

    return asyncio.run(taken())


def comment(markdown: str) -> str:
    """The summary as a platform draws it, down to the first gates that said no."""
    markdown = "\n#### ".join(markdown.split("\n#### ")[: SHOWN + 1])
    return FRAME % ("", f"<main>{MarkdownIt('commonmark').enable('table').render(markdown)}</main>")


def notebook() -> str:
    """What stands below a cell that ends with `evaluate(rows)`: curated rows, and those of a crawl that are rows at all."""
    from pytest_distill import evaluate

    rows = []
    for name, most in (("curated", 40), ("scraped", None)):
        for line in (ROOT / "fixtures" / "rows" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()[:most]:
            with contextlib.suppress(json.JSONDecodeError):
                rows.append(json.loads(line))
    judged = evaluate([row for row in rows if "response" in row])
    plain = "body{font-size:13px}th,td{border:0;font-size:13px}thead{border-bottom:1px solid #bdbdbd}"
    return FRAME % (plain, judged._repr_html_())


def main() -> int:
    if reason := chrome.missing():
        sys.exit(reason)
    if not subprocess.run(["fc-list", f":charset={SIGN}:color=true"], capture_output=True, check=True).stdout:
        sys.exit(
            "no font with coloured signs: the summary would begin with a box (Debian: apt-get install fonts-noto-color-emoji)"
        )
    with tempfile.TemporaryDirectory() as folder, chrome.chrome() as driver:
        place = Path(folder, "workspace")
        page = scene.build(place) / "report.html"
        console = place / "terminal.html"
        storage.write_bytes(console, terminal(scene.judge(place, "mixed", "--tb=no", "--color=yes", "-r", "N")).encode())
        asked = place / "comment.html"
        storage.write_bytes(asked, comment(scene.distill(place, "report", "mixed", "--format", "markdown")).encode())
        cell = place / "notebook.html"
        storage.write_bytes(cell, notebook().encode())
        for name, file, scheme, width, height in (
            ("report-light", page, "light", 1280, 1500),
            ("report-dark", page, "dark", 1280, 1500),
            ("report-phone", page, "light", 390, 1500),
            ("terminal", console, "light", 960, None),
            ("pull-request", asked, "light", 940, None),
            ("notebook", cell, "light", 940, None),
        ):
            chrome.show(driver, file, scheme=scheme, width=width)
            storage.write_bytes(IMAGES / f"{name}.png", chrome.picture(driver, height=height))
        inspecting = place / "inspect.svg"
        storage.write_bytes(inspecting, inspection(place, "mixed").encode())
        framed = place / "inspect.html"  # in a page of its own a drawing has a band above and below
        storage.write_bytes(framed, f'<!doctype html><body style="margin:0"><img src="{inspecting.name}" width="1450">'.encode())
        chrome.show(driver, framed, width=1450)
        storage.write_bytes(IMAGES / "inspect.png", chrome.picture(driver, element="img"))
        # The page further down, where the drawings are.
        chrome.show(driver, page, width=1280)
        storage.write_bytes(IMAGES / "report-drawings.png", chrome.picture(driver, element="#distributions, #map"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
