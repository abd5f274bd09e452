from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from pytest_distill.stages.stopping import stopping

LOOP = """
import os, signal, sys
from pytest_distill.stages.stopping import stopping
with stopping() as stop:
    for unit in range(3):
        os.kill(os.getpid(), signal.{name}) if unit == 1 else None
        print("stored", unit, flush=True)
        stop.check()
"""


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_the_unit_at_work_is_finished_before_the_run_ends(name: str, status: int) -> None:
    done = subprocess.run([sys.executable, "-c", LOOP.format(name=name)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (status, ["stored", "0", "stored", "1"])


def test_a_second_signal_does_not_wait() -> None:
    with stopping():
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(SystemExit, match="143"):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stopping() as stop:
        assert not stop.requested
    assert signal.getsignal(signal.SIGTERM) is before
