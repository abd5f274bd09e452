"""The screen of `distill inspect`, driven by Textual's pilot, and once in a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import termios
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("textual", reason="no textual: the screen of `distill inspect` was not seen")

from pytest_distill.batch.batch import open_batch
from pytest_distill.batch.write import BatchWriter
from pytest_distill.cli.inspect import shown_rows
from pytest_distill.cli.inspecting import facts
from pytest_distill.cli.inspecting.screen import REASONS, InspectApp
from pytest_distill.cli.inspecting.sitting import Sitting
from pytest_distill.contracts.manifest import How
from pytest_distill.policy import gold
from pytest_distill.policy import workspace as workspaces
from pytest_distill.policy.workspace import Workspace
from pytest_distill.release.inspection import begin, sampling_plan

ROOT = Path(__file__).parents[2]
HOSTILE = "[bold red]markup[/] \x1b[31mred\x1b[0m \x07\x1b]0;title\x07 \u202eright to left"
LONG = "\n".join(f"line {number} of a long answer" for number in range(400))


@pytest.fixture
def place(tmp_path: Path) -> Workspace:
    """Five rows, all of which are drawn, and the gold set that the project ships."""
    (tmp_path / "distill.toml").write_text("[inspection]\nrows = 5\n")
    made = workspaces.load(tmp_path)
    gold.add(made, ROOT / "fixtures" / "rows" / "gold.jsonl", who="Ada", model=None)
    answers = ["Michelangelo painted the ceiling.", HOSTILE, LONG, "Four.", "Blue."]
    folder = made.batch_folder("demo")
    how = How(pipeline="ingest")
    with BatchWriter(folder, id="demo", kind="sft", origin="ingested", what="rows", why="to test", how=how) as writer:
        writer.begin_source("rows.jsonl")
        for number, answer in enumerate(answers):
            row = {"instruction": f"Who painted the ceiling of chapel {number}?", "response": answer}
            writer.add(row, line=number + 1, offset=number * 100)
        writer.end_source(sha256="a" * 64, size=4)
        writer.finish()
    return made


def sitting_at(made: Workspace) -> Sitting:
    batch = open_batch(made.batch_folder("demo"))
    inspection = begin(made, batch)
    return Sitting(made, list(shown_rows(batch, inspection)), inspection, sampling_plan(made, batch), "Ada")


def on_disk(made: Workspace) -> list[tuple[int, str, str]]:
    said = begin(made, open_batch(made.batch_folder("demo"))).decisions
    return [(one.row, one.judgement, one.reason) for one in said]


def drive(made: Workspace, keys: Callable[[Any, InspectApp], Awaitable[None]], size: tuple[int, int] = (120, 40)) -> Sitting:
    """Starts the screen, presses keys, leaves with q."""
    sitting = sitting_at(made)
    places = [row["row"] for row in sitting.rows]
    batch = open_batch(made.batch_folder("demo"))
    measures, near = facts.measures(made, batch, places), facts.neighbours(made, sitting.rows)
    app = InspectApp(sitting, near, measures, title="demo")

    async def go() -> None:
        async with app.run_test(size=size) as pilot:
            await keys(pilot, app)
            await pilot.press("q")

    asyncio.run(go())
    return sitting


def seen(app: InspectApp) -> str:
    """The characters on the screen, line by line."""
    height = app.size.height
    return "\n".join("".join(part.text for part in line) for line in app.screen._compositor.render_strips()[:height])


def test_a_key_a_row_and_every_answer_is_on_disk_at_once(place: Workspace) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        await pilot.press("g")
        assert on_disk(place) == [(0, "good", "")]
        await pilot.press("b", "3")
        assert on_disk(place)[1] == (1, "bad", REASONS[2])
        await pilot.press("u", *"who knows", "enter")
        assert on_disk(place)[2] == (2, "unsure", "who knows")
        await pilot.press("b", "escape", "g")
        assert on_disk(place)[3] == (3, "good", "")

    sitting = drive(place, keys)
    assert sitting.place == 4
    assert "4 of 5 judged · 2 good 1 bad 1 unsure · more defects than allowed" in sitting.progress()
    assert all(said.seconds is not None and said.who == "Ada" for said in sitting.inspection.decisions)


def test_undo_takes_back_and_brings_back_what_stood_there(place: Workspace) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        await pilot.press("g", "g")
        await pilot.press("p", "p", "b", "1")  # row 0 is called bad now
        assert on_disk(place)[0] == (0, "bad", REASONS[0])
        await pilot.press("z")
        assert on_disk(place) == [(0, "good", ""), (1, "good", "")]
        assert app.sitting.place == 0
        await pilot.press("z", "z")
        assert on_disk(place) == []
        await pilot.press("z")
        await pilot.pause()
        assert "Nothing was said" in seen(app)

    drive(place, keys)


def test_the_next_sitting_goes_on_where_this_one_was_left(place: Workspace) -> None:
    async def two(pilot: Any, app: InspectApp) -> None:
        await pilot.press("g", "g")

    async def rest(pilot: Any, app: InspectApp) -> None:
        assert app.sitting.place == 2
        await pilot.press("g", "g", "g")
        await pilot.pause()
        assert "Every row is judged" in seen(app)

    drive(place, two)
    assert not drive(place, rest).inspection.open


def test_moving_and_filtering(place: Workspace) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        await pilot.press("g", "b", "1", "n", "n", "n")
        assert app.sitting.place == 4, "there is no further row"
        await pilot.press("o")
        assert app.sitting.place == 4
        await pilot.press("f", "f", "f")
        assert (app.sitting.shown, app.sitting.place) == ("bad", 1)
        await pilot.press("n", "p")
        assert app.sitting.place == 1, "the filter shows one row"
        await pilot.press("f", "f", "left")
        assert (app.sitting.shown, app.sitting.place) == ("all", 0)

    drive(place, keys)


def test_the_row_its_measures_and_its_gold_neighbour_stand_side_by_side(place: Workspace) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        text = seen(app)
        assert "Michelangelo painted the ceiling." in text
        assert "tokens of the answer" in text
        assert "nearest gold row" in text
        assert "Sistine Chapel" in text
        await pilot.press("question_mark")
        await pilot.pause()
        assert "take back what you said last" in seen(app)
        await pilot.press("escape")
        await pilot.pause()
        assert "take back what you said last" not in seen(app)

    drive(place, keys)


def test_hostile_text_is_shown_and_never_obeyed(place: Workspace) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        await pilot.press("n")
        await pilot.pause()
        text = seen(app)
        assert "[bold red]markup[/]" in text
        assert "\\x1b[31mred\\x1b[0m" in text
        assert "\\u202eright" in text
        assert "\x1b" not in text

    drive(place, keys)


@pytest.mark.parametrize("size", [(120, 40), (60, 20), (40, 12)])
def test_long_rows_scroll_in_wide_and_in_narrow_terminals(place: Workspace, size: tuple[int, int]) -> None:
    async def keys(pilot: Any, app: InspectApp) -> None:
        await pilot.press("n", "n")
        await pilot.pause()
        assert "line 399" not in seen(app)
        await pilot.press("end")
        await pilot.pause()
        await pilot.pause()
        app.query_one("#row").scroll_end(animate=False)
        await pilot.pause()
        assert "not yet" in seen(app), "the last line of a row says whether it was judged"
        assert app.has_class("-narrow") or size[0] >= 96 or app.screen.has_class("-narrow")

    drive(place, keys, size)


def test_the_nearest_gold_row_by_words_and_without_a_gold_set(place: Workspace) -> None:
    rows = [
        {"instruction": "What is 9 times 7?", "response": "63"},
        {"instruction": "Is a bat dangerous?", "response": "It may."},
    ]
    found = facts.neighbours(place, rows)
    assert [one.row["id"] for one in found if one] == ["gold-02", "gold-07"]
    assert found[0] is not None
    assert found[0].near == 1.0
    shutil.rmtree(place.gold)
    assert facts.neighbours(place, rows) == [None, None]


@pytest.mark.skipif(shutil.which("tmux") is None, reason="no tmux: the screen was not driven in a real terminal")
def test_in_a_real_terminal(place: Workspace, tmp_path: Path) -> None:
    """The command itself, in tmux: keys are sent, the screen is captured, and what was said is on disk."""
    socket = ["tmux", "-L", f"distill-{tmp_path.name}-{time.monotonic_ns()}", "-f", "/dev/null"]
    command = [sys.executable, "-m", "pytest_distill.cli.main", "inspect", "demo", "--who", "Ben"]

    def tmux(*words: str) -> str:
        return subprocess.run([*socket, *words], capture_output=True, text=True, check=True, timeout=60).stdout

    def until(text: str) -> str:
        for _ in range(1_200):
            shown = tmux("capture-pane", "-p", "-t", "s")
            if text in shown:
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{text!r} never appeared:\n{shown}")

    inner = f"cd {place.root} && NO_COLOR=1 {' '.join(command)}; echo status=$?; sleep 600"
    tmux("new-session", "-d", "-s", "s", "-x", "110", "-y", "32", inner)
    try:
        shown = until("0 of 5 judged")
        assert "Michelangelo painted the ceiling." in shown
        assert "nearest gold row" in shown
        tmux("send-keys", "-t", "s", "g")
        until("1 of 5 judged")
        tmux("send-keys", "-t", "s", "b")
        until("Why bad?")
        tmux("send-keys", "-t", "s", "-l", "smells odd")
        tmux("send-keys", "-t", "s", "Enter")
        assert "\\x1b[31mred" not in until("2 of 5 judged")
        tmux("send-keys", "-t", "s", "q")
        assert "1 good, 1 bad, 0 unsure, 3 not judged" in until("status=0")
    finally:
        tmux("kill-server")
    assert on_disk(place) == [(0, "good", ""), (1, "bad", "smells odd")]
    record = json.loads(place.inspection("demo").read_bytes())
    assert {said["who"] for said in record["decisions"]} == {"Ben"}


def test_it_ends_with_its_terminal(place: Workspace) -> None:
    """No hang-up is sent here, as where it is ignored: the terminal is gone, and that is all."""
    screen, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (32, 110))
    command = [sys.executable, "-m", "pytest_distill.cli.main", "inspect", "demo", "--who", "Cy"]
    process = subprocess.Popen(command, cwd=place.root, stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    shown = b""
    while b"judged" not in shown:
        shown += os.read(screen, 1 << 16)
    os.close(screen)
    try:
        process.wait(timeout=120)
    finally:
        process.kill()
