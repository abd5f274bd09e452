"""Figures that tests measured, shown at the end of a run, also of a parallel one; properties that no busy machine turns red."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

FIGURE = "figure"

if find_spec("hypothesis"):  # the environments of generate/ and vllm/ have none
    from hypothesis import HealthCheck, settings

    # How long an example takes says how busy the machine is. In CI the examples are the same every time.
    settings.register_profile(
        "distill", deadline=None, derandomize="CI" in os.environ, suppress_health_check=[HealthCheck.too_slow], print_blob=True
    )
    settings.load_profile("distill")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A test says `record_property("figure", "…")`; the line is printed here."""
    passed = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    lines = sorted({str(value) for report in passed for name, value in report.user_properties if name == FIGURE})
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(line)
