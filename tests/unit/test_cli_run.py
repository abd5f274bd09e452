"""`distill run`: pipelines are found by name, and each has its own options."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pytest_distill.cli import run
from pytest_distill.cli.main import main

HEAVY = {"polars", "numpy", "numba", "pyarrow", "pydantic", "tokenizers", "torch", "orjson", "transformers", "rich"}


def test_an_unknown_pipeline_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "nope", "--id", "x"]) == 1
    told = capsys.readouterr().err
    assert told.startswith("ERROR [E-USAGE]: there is no pipeline 'nope'.")
    assert told.count("\n") == 1


def test_a_pipeline_that_lacks_a_library_is_no_unknown_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "half" / "lame"
    folder.mkdir(parents=True)
    (tmp_path / "half" / "__init__.py").touch()
    (folder / "__init__.py").touch()
    (folder / "command.py").write_text("import a_library_that_is_not_there\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(run, "PIPELINES", "half")
    assert run.pipelines() == ["lame"]
    with pytest.raises(ModuleNotFoundError, match="a_library"):
        run.command("lame")


@pytest.mark.parametrize("name", run.pipelines())
def test_the_help_of_a_pipeline_loads_nothing_heavy(name: str) -> None:
    code = f"import sys; from pytest_distill.cli.run import Options; Options.parser('x', {name!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {module.partition(".")[0] for module in done.stdout.split()} & HEAVY == set()


@pytest.mark.parametrize("name", [name for name in run.pipelines() if name != "preprocess"])
def test_a_pipeline_that_knows_no_engine_but_the_local_one_says_so(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run.Options.parser("x", name).parse_args(["--engine", "ray"])
    assert ended.value.code == 2
    assert "argument --engine: invalid choice: 'ray' (choose from" in capsys.readouterr().err
