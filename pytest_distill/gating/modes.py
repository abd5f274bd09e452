"""What the plugin has to know about a run before anything heavy is imported: whether it judges at all, and whether it passed."""

from __future__ import annotations

import pytest

PASSED = pytest.StashKey[bool]()


def looks_only(config: pytest.Config) -> bool:
    """True for the modes that show something and judge nothing."""
    modes = ("collectonly", "help", "version", "showfixtures", "show_fixtures_per_test", "markers", "cacheshow")
    return any(config.getoption(mode, None) for mode in modes)
