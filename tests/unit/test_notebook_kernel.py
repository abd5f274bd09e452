"""`evaluate` in a real notebook kernel: what a person sees below the cell, for every kind of rows that a notebook holds."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="nbclient is not installed: no notebook was run in a kernel")
nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: no notebook was run in a kernel")
pytest.importorskip("ipykernel", reason="ipykernel is not installed: no notebook was run in a kernel")

ROWS = """
from pytest_distill import Batch, evaluate

rows = [{"instruction": f"What is {a} plus {b}?", "response": f"{a} plus {b} is {a + b}."} for a in (3, 4, 5) for b in (21, 34)]
rows.append({"instruction": "Name a metal.", "response": "Iron<b>###END###"})
rows.append({"instruction": "Who helps?", "response": "Write to maria.huber@northwind-mail.com."})
"""
CELLS = {
    "dicts": ROWS + "result = evaluate(rows)\nresult",
    "text": "print(result)\nassert isinstance(result.batch, Batch)\nresult.batch",
    "rejected": "result.rejected",
    "frame": "import pandas\nframed = evaluate(pandas.DataFrame(rows))\nframed",
    "dataset": "import datasets\nloaded = evaluate(datasets.Dataset.from_list(rows))\nloaded",
    "kept": "result.kept",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each cell of the notebook left."""
    folder = tmp_path_factory.mktemp("notebook")
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS.values()]
    notebook = nbformat.v4.new_notebook(cells=cells)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "IPYTHONDIR": str(folder), "JUPYTER_RUNTIME_DIR": str(folder)}
    client = nbclient.NotebookClient(
        notebook, timeout=900, kernel_name="python3", allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute(env=environment)
    return {name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)}


def shown(outputs: list[Any], kind: str) -> str:
    """What the value of the cell is shown as; an error of the cell fails the test with it."""
    assert [o for o in outputs if o.output_type == "error"] == []
    return next(str(o.data[kind]) for o in outputs if o.output_type == "execute_result")


def test_the_display_says_what_failed_and_quotes_the_rows(outputs: dict[str, list[Any]]) -> None:
    html = shown(outputs["dicts"], "text/html")
    assert "FAILED, 6 of 8 rows remain" in html
    no, yes = html.split("<details>")
    assert set(re.findall(r"<b>([a-z]+\.[a-z-]+)</b>", no)) == {"text.delimiter-leak", "privacy.personal-data"}
    assert "row 6" in no
    assert "<mark>###END</mark>" in no
    assert "gates said yes" in yes
    assert "Iron&lt;b&gt;" in html
    assert "maria.huber" not in html


def test_without_html_it_is_lines(outputs: dict[str, list[Any]]) -> None:
    lines = shown(outputs["dicts"], "text/plain").splitlines()
    assert lines[0].endswith(": FAILED, 6 of 8 rows remain")
    assert len(lines) == 3
    assert outputs["text"][0].text.splitlines() == lines
    assert re.fullmatch(r"Batch\(\S+: 8 rows of kind sft, sha256 \w{12}, .*\)", shown(outputs["text"], "text/plain"))


def test_rejected_rows_are_a_frame(outputs: dict[str, list[Any]]) -> None:
    assert "text.delimiter-leak" in shown(outputs["rejected"], "text/html")


@pytest.mark.parametrize("rows", ["frame", "dataset"])
def test_frames_and_datasets_are_judged_as_the_same_rows(outputs: dict[str, list[Any]], rows: str) -> None:
    pytest.importorskip({"frame": "pandas", "dataset": "datasets"}[rows])
    assert shown(outputs[rows], "text/html") == shown(outputs["dicts"], "text/html")


def test_what_was_not_judged_good_is_refused_in_the_cell(outputs: dict[str, list[Any]]) -> None:
    (refused,) = outputs["kept"]
    assert (refused.output_type, refused.ename) == ("error", "DistillError")
    assert refused.evalue.startswith("[E-UNSEALED]")
