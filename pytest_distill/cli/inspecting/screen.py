"""The screen: a row, what is known of it, and one key for what one thinks of it. No row is read as markup or control."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Footer, Input, Static

from pytest_distill.cli.inspect import row_facts, row_head, shown_text
from pytest_distill.cli.inspecting.facts import Neighbour
from pytest_distill.errors import one_line

if TYPE_CHECKING:
    from pytest_distill.cli.inspecting.sitting import Sitting
    from pytest_distill.contracts.inspection import Judgement

REASONS: Final = (
    "not true",
    "does not do what was asked",
    "cut off or broken",
    "goes on after the answer",
    "unclear or nonsense",
    "unsafe or rude",
)
HELP: Final = """\
g          good: could stand in the dataset as it is
b, u       bad, unsure (counts as a defect): a number for a reason, or your own words
z          take back what you said last
n, p       next and previous row that the filter shows (also → and ←)
o          next row that nobody has judged
f          show all rows, or only the open, good, bad or unsure ones
↑ ↓ PgUp PgDn Home End   scroll the row;  Tab: the other pane
q          leave; what you said is kept, and the next call goes on

Every answer is stored before the next row is shown. The batch's digest drew the rows."""


class Reason(ModalScreen[str | None]):
    """Why a row is not good: a number while nothing was typed, or free text and Enter."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "back")]

    def __init__(self, judgement: str) -> None:
        super().__init__()
        self.judgement = judgement

    def compose(self) -> ComposeResult:
        listed = "\n".join(f"{number}  {reason}" for number, reason in enumerate(REASONS, start=1))
        with Vertical(id="box"):
            yield Static(Text(f"Why {self.judgement}? A number, or your own words and Enter; Esc goes back.\n\n{listed}\n"))
            yield Input(placeholder="in your own words")

    def on_input_changed(self, event: Input.Changed) -> None:
        if len(event.value) == 1 and event.value.isdigit() and 1 <= int(event.value) <= len(REASONS):
            self.dismiss(REASONS[int(event.value) - 1])

    def on_input_submitted(self, event: Input.Submitted) -> None:
        if event.value.strip():
            self.dismiss(event.value.strip())


class Help(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter,space", "dismiss(None)", "back")]

    def compose(self) -> ComposeResult:
        with Vertical(id="box"):
            yield Static(Text(HELP))


class InspectApp(App[None]):
    """`neighbours` and `measures` are of the sitting's rows, in its order."""

    CSS = """
    #top { height: auto; background: $panel; padding: 0 1; }
    #row { width: 2fr; padding: 0 1; }
    #side { width: 1fr; padding: 0 1; border-left: solid $panel; }
    #row:focus, #side:focus { background: $boost; }
    .-narrow #panes { layout: vertical; }
    .-narrow #row { width: 1fr; height: 2fr; }
    .-narrow #side { width: 1fr; height: 1fr; border-left: none; border-top: solid $panel; }
    ModalScreen { align: center middle; }
    #box { width: 90%; max-width: 84; height: auto; max-height: 90%; padding: 1 2; background: $surface; border: round $primary; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (96, "-wide")]  # noqa: RUF012 - typed by the base class
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "good", "good"),
        Binding("b", "defect('bad')", "bad"),
        Binding("u", "defect('unsure')", "unsure"),
        Binding("z", "undo", "undo"),
        Binding("n,right", "move(1)", "next", key_display="n"),
        Binding("p,left", "move(-1)", "previous", key_display="p"),
        Binding("o", "open", "next open"),
        Binding("f", "filter", "filter"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("q", "quit", "leave"),
    ]

    def __init__(
        self, sitting: Sitting, neighbours: Sequence[Neighbour | None], measures: Sequence[list[tuple[str, str]]], *, title: str
    ) -> None:
        super().__init__()
        self.sitting, self.neighbours, self.measures = sitting, neighbours, measures
        self.title = title

    def compose(self) -> ComposeResult:
        yield Static(id="top")
        with Horizontal(id="panes"):
            with VerticalScroll(id="row"):
                yield Static(id="text")
            with VerticalScroll(id="side"):
                yield Static(id="facts")
        yield Footer()

    def on_mount(self) -> None:
        if not self.is_headless:
            self.set_interval(1.0, self._leave_with_the_terminal)
        self.show()
        self.query_one("#row").focus()

    def show(self, message: str = "") -> None:
        """Puts the row where the sitting is on the screen, and a message above it."""
        sitting, place = self.sitting, self.sitting.place
        top = Text(f"{self.title}  row {place + 1} of {len(sitting.rows)}", style="bold")
        top.append(f" · showing {sitting.shown}\n{sitting.progress()}", style="not bold")
        top.append(f"\n{message}" if message else "", style="reverse not bold")
        self.query_one("#top", Static).update(top)
        row = {**sitting.row, "decision": sitting.decision.model_dump() if sitting.decision else None}
        self.query_one("#text", Static).update(shown_text(row_facts(row), head=row_head(row)))
        self.query_one("#facts", Static).update(beside(self.measures[place], self.neighbours[place]))
        self.query_one("#row", VerticalScroll).scroll_home(animate=False)
        self.query_one("#side", VerticalScroll).scroll_home(animate=False)

    def action_good(self) -> None:
        self._say("good", "")

    def action_defect(self, judgement: Judgement) -> None:
        def said(reason: str | None) -> None:
            if reason is not None:
                self._say(judgement, reason)

        self.push_screen(Reason(judgement), said)

    def _say(self, judgement: Judgement, reason: str) -> None:
        self.sitting.decide(judgement, reason)
        self.show("" if self.sitting.inspection.open else "Every row is judged. q leaves; p, n and z still work.")

    def _leave_with_the_terminal(self) -> None:
        # Where the signal of a hang-up is ignored, Textual reads the end of a closed terminal for ever, with a whole core.
        if not os.isatty(0):
            self.exit()

    def action_undo(self) -> None:
        self.show("" if self.sitting.undo() else "Nothing was said in this sitting.")

    def action_move(self, step: int) -> None:
        self.show("" if self.sitting.move(step) else f"No further row (showing {self.sitting.shown}).")

    def action_open(self) -> None:
        self.show("" if self.sitting.to_open() else "Every row is judged.")

    def action_filter(self) -> None:
        self.sitting.next_filter()
        self.show()

    def action_help(self) -> None:
        self.push_screen(Help())


def beside(measures: Sequence[tuple[str, str]], neighbour: Neighbour | None) -> Text:
    """What stands beside a row: its measures, and the nearest gold row."""
    text = Text()
    for name, value in measures:
        text.append(f"{name} ", style="dim").append(f"{value}\n")
    if neighbour is None:
        return text.append("\nno gold set: distill gold add", style="dim")
    text.append(f"\nnearest gold row, {neighbour.near:.2f} by {neighbour.by}\n", style="bold")
    for name in ("case", "instruction", "response"):
        lines = "\n".join(one_line(line) for line in str(neighbour.row.get(name, "")).split("\n"))
        text.append(f"{name} ", style="dim").append(f"{lines}\n")
    return text


def run(sitting: Sitting, neighbours: Sequence[Neighbour | None], measures: Sequence[Any], *, title: str) -> None:
    """Shows the screen until it is left."""
    InspectApp(sitting, neighbours, measures, title=title).run()
