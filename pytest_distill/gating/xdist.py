"""With pytest-xdist, all gates run in one worker.

Batch gates need the quarantine of all row gates, and a gate takes a fraction of a millisecond: the work is in the scan,
which is parallel by itself. One worker keeps the judgement in one process; if it dies, its gates did not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from pytest_distill.batch.batch import Batch


class OneScope(LoadScopeScheduling):  # type: ignore[misc]
    """Loadscope scheduling in which everything is one scope."""

    def _split_scope(self, nodeid: str) -> str:  # noqa: ARG002
        return "distill"


class OneWorker:
    """Registered on the controller: hands the run to the workers, and schedules all items onto one of them."""

    def __init__(self, batch: Batch, folder: Path | None) -> None:
        self.batch = batch
        self.folder = folder

    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput["distill_batch"] = str(self.batch.folder)
        node.workerinput["distill_run"] = str(self.folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> OneScope:
        return OneScope(config, log)
