"""What a person sees of a gate run: one table, the reasons of every no with examples, and what to do next."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_distill.contracts.run import DID_NOT_RUN, Example, Figure, GateRecord
from pytest_distill.errors import one_line
from pytest_distill.gating.judge import GOOD
from pytest_distill.report import words

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_distill.gating.session import Run

WORDS = {
    "passed": "yes",
    "failed": "NO",
    "warned": "warn",
    "waived": "waived",
    "not_applicable": "n/a",
    "did_not_run": "NOT RUN",
}
COLOURS = {
    "passed": "green",
    "failed": "red",
    "did_not_run": "red",
    "warned": "yellow",
    "waived": "yellow",
    "not_applicable": "light",
}


class Terminal:
    """The plugin object that prints. Quiet (-q) leaves the verdict and the reasons of each no."""

    def __init__(self, run: Run, config: pytest.Config) -> None:
        self.run = run
        self.config = config

    def pytest_report_header(self) -> list[str]:
        batch = self.run.batch
        where = "no workspace: default policy" if self.run.workspace.implicit else "policy from the workspace"
        counts = batch.manifest.counts
        lost = f", {counts.quarantined} rejected {batch.manifest.lost}" if counts.quarantined else ""
        return [f"distill: {batch.id}, {batch.kind}, {batch.rows} rows{lost}; {where}"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        out, record = terminalreporter, self.run.record
        if record is None:
            if self.run.error is not None:
                out.write_line(self.run.error.line(), red=True)
                out.write_line("distill: the run did not reach its end; nothing leaves", red=True, bold=True)
            return
        out.section(f"distill: {record.batch_id}")
        verbose = self.config.option.verbose
        if verbose >= 0:
            shown = [g for g in record.gates if verbose > 0 or g.status != "not_applicable"]
            self._table(out, sorted(shown, key=lambda gate: gate.status in GOOD))  # those that said no come first
            left_out = sum(g.status == "not_applicable" for g in record.gates)
            if left_out and verbose == 0:
                out.write_line(f"({left_out} gates do not apply to this batch; -v shows them)")
        # What failed in a call stands under FAILURES already, unless that part was switched off.
        reports = [*out.stats.get("failed", ()), *out.stats.get("error", ())] if self.config.option.tbstyle != "no" else []
        told = {getattr(report, "distill_gate", None) for report in reports}
        idle = [gate for gate in record.gates if gate.why == (DID_NOT_RUN,)] if verbose <= 0 else []
        for gate in record.gates:
            if gate in idle:
                continue
            if gate.why and gate.id not in told and (verbose > 0 or gate.status not in ("passed", "not_applicable")):
                out.write_line("")
                out.write_line("\n".join(reasons(gate)))
        if idle and verbose < 0:  # the table has them otherwise
            out.write_line(f"did not run: {one_line(', '.join(gate.id for gate in idle))}")
        for finding in record.findings:
            out.write_line(f"! {one_line(finding)}", red=True)
        rows = record.rows
        out.write_line(f"rows: {rows.batch} in the batch = {rows.remaining} remaining + {rows.quarantined} quarantined")
        self._elsewhere(out)
        self._report(out)
        self._verdict(out)

    def _elsewhere(self, out: pytest.TerminalReporter) -> None:
        """Which measures a cluster could not compute, for they are found in this process only."""
        elsewhere = self.run.keeper.columns.scan.elsewhere
        if elsewhere is not None and elsewhere.here and self.config.option.verbose >= 0:
            out.write_line(f"measured in this process, for no other finds them: {', '.join(sorted(elsewhere.here))}")

    def _table(self, out: pytest.TerminalReporter, gates: list[GateRecord]) -> None:
        width = max([4, *(len(g.id) for g in gates)])
        out.write_line(f"{'gate'.ljust(width)}  verdict  figure")
        for gate in gates:
            figures = sorted(gate.figures, key=lambda figure: figure.ok)  # what is out of bounds comes first
            shown = "; ".join(figure_text(f) for f in figures[:3]) if figures else (gate.why[0] if gate.why else "")
            if len(figures) > 3:
                shown += f"; and {len(figures) - 3} more"
            line = f"{one_line(gate.id).ljust(width)}  {WORDS[gate.status].ljust(7)}  "
            room = max(20, out._tw.fullwidth - len(line))
            out.write_line(line + clip(one_line(shown), room), **{COLOURS[gate.status]: True})

    def _verdict(self, out: pytest.TerminalReporter) -> None:
        record = self.run.record
        assert record is not None
        if self.run.error is not None:
            out.write_line(self.run.error.line(), red=True)
        if record.verdict == "PASSED":
            out.write_line(f"distill: PASSED, sealed: {self._place('seal.json')}", green=True, bold=True)
            if self.run.exported is not None:
                out.write_line(f"distill: exported to {self.run.exported}", green=True)
            elif self.run.error is None:
                out.write_line(f"next: distill export {record.batch_id} --format jsonl --out DIR")
            return
        no = sum(g.status not in GOOD for g in record.gates)
        why = f"{no} of {len(record.required)} required gates did not say yes" if no else "the run was tainted"
        out.write_line(
            f"distill: {record.verdict}: {why}; nothing leaves. Evidence: {self._place('evidence.json')}", red=True, bold=True
        )
        out.write_line(f"next: {words.verdict(record).todo}")
        if first := next((g.id for g in record.gates if g.status not in GOOD and not all(f.ok for f in g.figures)), None):
            out.write_line(f"      how a gate decides: distill gates explain {one_line(first.split('[')[0])}")
        if any(unquoted(g) for g in record.gates if g.status not in GOOD):
            out.write_line(f"      every rejected row: distill show {record.batch_id} -v")

    def _report(self, out: pytest.TerminalReporter) -> None:
        run = self.run
        if run.unreported is not None:
            out.write_line(f"distill: no report: {run.unreported}", red=True)
        elif run.reported is not None and (self.config.option.verbose >= 0 or self.config.option.distill_report):
            out.write_line(f"report: {self._shown(run.reported)}")
        elif run.reported is None and self.config.option.verbose >= 0:
            out.write_line(f"report: distill report {run.batch.id}")

    def _place(self, name: str) -> str:
        return self._shown(self.run.folder / name)

    def _shown(self, path: Path) -> str:
        try:
            return str(path.relative_to(self.config.invocation_params.dir))
        except ValueError:
            return str(path)


def reasons(gate: GateRecord) -> list[str]:
    """Why a gate said no, five rows it said no to, and where its limits are set: lines that are safe to print."""
    lines = [f"{gate.id}: {one_line(gate.title)}", *(f"  {one_line(text)}" for text in gate.why)]
    lines += [f"    {example_text(example)}" for example in gate.examples]
    if more := unquoted(gate):
        lines.append(f"    … and {more:,} more")
    if gate.limits and gate.status == "failed":
        names = ", ".join(f"{name} = {'unset' if value is None else value}" for name, value in gate.limits.items())
        lines.append(f'  limits, in distill.toml under [gates."{gate.id.split("[")[0]}"]: {one_line(names)}')
    return lines


def unquoted(gate: GateRecord) -> int:
    """How many rows the gate said no to besides those that it quotes."""
    return max(0, gate.rejected - len(gate.examples)) if gate.examples else 0


def figure_text(figure: Figure) -> str:
    value = f"{figure.value:.4g}" if isinstance(figure.value, float) else f"{figure.value}"
    unit = f" {figure.unit}" if figure.unit and figure.unit not in figure.name else ""
    bound = f" ({figure.bound})" if figure.bound is not None else ""
    return f"{figure.name}: {value}{unit}{bound}"


def example_text(example: Example) -> str:
    """One rejected row on one line, the offending piece between » and «: colours alone would not reach everyone."""
    text = example.text
    if example.start is not None and example.end is not None:
        text = f"{text[: example.start]}»{text[example.start : example.end]}«{text[example.end :]}"
    return f"{one_line(example.source)}:{example.line}  {one_line(text)}"


def clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(1, width - 1)] + "…"
