"""Every engine: results in the order of the tasks, few of them in memory, and what goes wrong said in one line."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_distill.engine.chosen import chosen
from pytest_distill.engine.cluster import Ray, parsed
from pytest_distill.engine.engine import Engine, Job, in_order
from pytest_distill.engine.installation import Installation, check, here
from pytest_distill.engine.local import Processes, Threads
from pytest_distill.errors import Code, DistillError


@given(st.lists(st.integers()), st.integers(0, 5))
def test_results_come_in_order_and_few_tasks_are_drawn_ahead(numbers: list[int], ahead: int) -> None:
    drawn = given = 0

    def tasks():
        nonlocal drawn
        for place, number in enumerate(numbers):
            drawn += 1
            yield place, number

    for place, result in in_order(tasks(), lambda number: lambda: number * 2, ahead):
        assert (place, result) == (given, numbers[given] * 2)
        given += 1
        assert drawn - given <= ahead
    assert given == len(numbers)


@pytest.mark.parametrize("engine", [Threads(1), Threads(3), Processes(1), Processes(2)], ids=lambda e: f"{e.workers}")
def test_local_engines_agree(engine: Engine) -> None:
    job = Job(partial, (divmod, 1000))
    assert list(engine.map(job, enumerate(range(1, 40)))) == [(n, divmod(1000, n + 1)) for n in range(39)]
    with pytest.raises(ZeroDivisionError):
        list(engine.map(job, [("a", 1), ("b", 0)]))


def test_a_process_that_dies_is_one_line() -> None:
    with pytest.raises(DistillError, match="a worker process died") as caught:
        list(Processes(2).map(Job(exiting), [(None, 1)]))
    assert caught.value.code is Code.WORKER


def exiting() -> partial[None]:
    import os

    return partial(os._exit)


# -- what Ray is asked for


def test_an_address_needs_the_engine_ray() -> None:
    with pytest.raises(DistillError, match="the engine is local") as caught:
        chosen("local", "127.0.0.1:6379", None, Threads)
    assert caught.value.code is Code.USAGE


@pytest.mark.parametrize("address", ["", "host", "host:", ":6379", "host:0", "host:65536", "host:１", "ray://host:10001", "auto"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(DistillError, match="no address of a Ray cluster") as caught:
        parsed(address)
    assert caught.value.code is Code.USAGE


def test_an_address_where_nothing_answers_is_refused_at_once() -> None:
    import socket

    pytest.importorskip("ray", reason="Ray is not installed: no engine of it was tested")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DistillError, match=f"no Ray cluster answers at 127.0.0.1:{port}") as caught:
        Ray(2, f"127.0.0.1:{port}")
    assert caught.value.code is Code.ENGINE


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "ray" else found(name, *more))
    with pytest.raises(DistillError, match=r"pip install 'pytest-distill\[ray\]'") as caught:
        chosen("ray", None, None, Threads)
    assert caught.value.code is Code.EXTRA


def test_another_installation_is_refused_and_what_differs_is_named() -> None:
    ours = here()
    assert any(version.startswith("polars==") for version in ours.versions)
    check(ours, "the worker")
    with pytest.raises(DistillError, match="other code of pytest-distill"):
        check(Installation("0" * 64, ours.versions), "the worker")
    with pytest.raises(DistillError, match=r"polars==0\.0\.1 on one side only"):
        check(Installation(ours.code, (*ours.versions, "polars==0.0.1")), "the worker")


def test_the_code_of_pipelines_counts(tmp_path: Path) -> None:
    """A worker with another tokenizer.py writes other shards."""
    from pytest_distill.engine import installation

    names = {name for name, _ in installation.code()}
    assert {"pipelines/tokenize/blocks.py", "pytest_distill/engine/work.py", "gates/measures/leakage.py"} <= names
