"""Figures that tests measured, shown at the end of a run, also of a parallel one."""

from __future__ import annotations

import pytest

FIGURE = "figure"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test says `record_property("figure", "…")`; the line is printed here."""
    passed = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    lines = sorted({str(value) for report in passed for name, value in report.user_properties if name == FIGURE})
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
