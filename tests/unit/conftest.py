"""What several files of this folder start from."""

from __future__ import annotations

import os

import pytest

from pytest_distill import clock


@pytest.fixture
def pinned(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """One time for all sets; and away from the checkout, whose commit a manifest would name."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setattr(os, "fsync", lambda fd: None)  # nobody pulls the plug here, and a busy disk takes minutes for them
    monkeypatch.setattr(clock, "_pinned", None)
    clock.pin("2026-01-31T12:00:00Z")
