"""What is collected as a gate, from wherever pytest is started and whatever it is told; and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from workbench import Bench, inside

OWN = '@gate("own.size")\ndef test_size(batch, require):\n    require("rows", batch.rows, equals=30)\n'


def test_an_unmarked_test_in_a_gates_folder_taints_the_run(bench: Bench) -> None:
    bench.gates(OWN + "\ndef test_forgotten(batch):\n    pass\n")
    ended = bench.judge()
    assert ended.record.findings == ("gates/test_own.py::test_forgotten is in a gates folder and is no gate: mark it with @gate",)
    assert (ended.record.verdict, ended.code, ended.sealed) == ("FAILED", 1, False)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('NAME = "own.x"\n@gate(NAME)\ndef test_x(): pass', "test_own.py:6 has a @gate argument that is no literal"),
        ('@gate("own." + "x")\ndef test_x(): pass', "has a @gate argument that is no literal"),
        ("@gate()\ndef test_x(): pass", "has the gate id None"),
        ('@gate("Own Size")\ndef test_x(): pass', "has the gate id 'Own Size'"),
        ('@gate("text.blank")\ndef test_x(): pass', "the gate id 'text.blank' is declared twice: "),
        ('@gate("own.x")\ndef test_x(): pass\n@gate("own.x")\ndef test_y(): pass', "the gate id 'own.x' is declared twice: "),
        ('@gate("own.x")\n@gate("own.y")\ndef test_x(): pass', "carries @gate twice"),
        ('@gate("own.x")\nclass TestX:\n    def test_x(self): pass', "puts @gate on a class"),
        ('@gate("own.x", limit={})\ndef test_x(): pass', "gives @gate an argument it does not know: limit"),
        ('@gate("own.x", severity="note")\ndef test_x(): pass', "has the severity 'note'"),
        ('@gate("own.x", rows="some")\ndef test_x(): pass', "has rows='some'"),
        ('@gate("own.x", rejects="Too long")\ndef test_x(): pass', "has the reason code 'Too long'"),
        ('@gate("own.x", applies={"kinds": "sft"})\ndef test_x(): pass', "has applies={'kinds': 'sft'}"),
        ('@gate("own.x", applies={"kind": ["stf"]})\ndef test_x(): pass', "applies where the kind is ['stf']"),
        ('@gate("own.x", applies={"columns": 3})\ndef test_x(): pass', "applies where the columns is 3"),
        ('@gate("own.x", limits={"max-rows": 3})\ndef test_x(): pass', "has limits whose names are no identifiers"),
        ('@gate("own.x", limits={"bound": 1e999})\ndef test_x(): pass', "has the limit bound=inf"),
        ('@gate("own.x", limits={"bound": {"a": 1}})\ndef test_x(): pass', "has the limit bound={'a': 1}"),
        ('@gate("own.x", limits={"severity": 1})\ndef test_x(): pass', "has a limit of its own called severity"),
        ('@gate("own.x", fixed=1)\ndef test_x(): pass', "has fixed=1"),
        ('mine = gate("own.x")\n@mine\ndef test_x(): pass', "uses gate otherwise than to decorate a test"),
        ("def test_x(:\n    pass", "test_own.py does not parse"),
    ],
)
def test_a_gate_that_is_declared_wrongly_is_refused_before_anything_runs(bench: Bench, written: str, said: str) -> None:
    bench.gates(written)
    ended = bench.judge()
    assert ended.code == 4
    assert ended.folder is None
    assert ended.err.startswith("ERROR [E-GATE]: ")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_declaration_that_only_a_run_would_show_taints_the_run(bench: Bench) -> None:
    bench.gates("""
        @getattr(pytest.mark, "ga" + "te")("own.hidden")
        def test_hidden(batch, require):
            require("rows", batch.rows, above=0)
    """)
    ended = bench.judge()
    assert "carries the gate id 'own.hidden', which its source does not declare" in ended.record.findings[0]
    assert not ended.sealed


def test_a_gate_that_is_written_and_never_defined_is_missing(bench: Bench) -> None:
    bench.gates(f"if False:\n    {OWN.replace(chr(10), chr(10) + '    ')}\n")
    ended = bench.judge()
    assert ended.status("own.size") == "did_not_run"
    assert "own.size" in ended.record.required
    assert "it was not collected" in ended.out
    assert not ended.sealed


def test_gates_in_subfolders_with_helpers_and_an_ordinary_conftest_are_fine(bench: Bench) -> None:
    bench.file("gates/__init__.py", "")
    bench.file("gates/deep/__init__.py", "")
    bench.file("gates/deep/helper.py", "ROWS = 30\n")
    bench.file(
        "gates/deep/test_blank.py",
        "from gates.deep.helper import ROWS\nfrom pytest_distill import gate\n" + OWN.replace("30", "ROWS"),
    )
    bench.file(
        "conftest.py",
        """
        import pytest

        def pytest_report_header(config):
            return "hello from the workspace"

        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: item.name, reverse=True)

        @pytest.fixture(autouse=True)
        def settle(request):
            yield
    """,
    )
    ended = bench.judge()
    assert "hello from the workspace" in ended.out
    assert ended.status("own.size") == "passed"
    assert ended.gate("own.size").source == "gates/deep/test_blank.py"
    assert ended.record.verdict == "PASSED", ended.out


def test_suite_and_workspace_are_judged_whatever_paths_are_given(bench: Bench) -> None:
    bench.gates(OWN)
    bench.gates(OWN.replace("own.size", "own.other"), "other")
    bench.file("tests/test_mine.py", "def test_of_the_users_own():\n    pass\n")
    for args in (["gates/test_own.py"], ["gates/test_own.py::test_size"], ["tests"], ["tests/test_mine.py", "gates"]):
        ended = bench.judge(*args)
        assert ended.status("own.other") == "passed", args
        assert ended.record.verdict == "PASSED", args
        assert ("test_mine.py ." in ended.out) is args[0].startswith("tests")


def test_it_works_from_a_subfolder_and_from_elsewhere(bench: Bench, tmp_path: Path) -> None:
    bench.gates(OWN)
    (bench.root / "deep" / "er").mkdir(parents=True)
    for ended in (
        bench.judge(cwd=bench.root / "deep" / "er"),
        bench.judge(f"--distill-workspace={bench.root}", cwd=tmp_path),
        bench.judge(f"--distill-workspace={bench.root.name}", cwd=bench.root.parent),
    ):
        assert ended.status("own.size") == "passed"
        assert ended.record.verdict == "PASSED", ended.out


def test_from_inside_a_batch_nothing_runs(bench: Bench) -> None:
    bench.file("batches/demo/conftest.py", "raise SystemExit('code of a batch ran')\n")
    ended = bench.judge(cwd=bench.root / "batches" / "demo")
    assert ended.code == 4
    assert "is a batch, and code inside a batch never runs" in ended.err


def test_a_pyproject_can_hold_the_policy(bench: Bench) -> None:
    (bench.root / "distill.toml").unlink()
    bench.file("pyproject.toml", '[project]\nname = "mine"\n[tool.distill.gates."own.size"]\nrows = 31\n')
    bench.gates(
        OWN.replace('"own.size"', '"own.size", limits={"rows": 30}')
        .replace("(batch", "(limits, batch")
        .replace("=30", "=limits.rows")
    )
    assert bench.judge().status("own.size") == "failed"


@pytest.mark.parametrize("policy", ["distill.toml", "pyproject.toml"])
@pytest.mark.parametrize("args", [[], ["gates"], ["gates/test_own.py"], ["gates/deep/test_deep.py", "tests"]], ids=" ".join)
def test_without_a_batch_gates_are_left_alone_and_it_is_said(bench: Bench, policy: str, args: list[str]) -> None:
    (bench.root / "distill.toml").unlink()
    bench.file(policy, "[tool.distill]\n" if policy == "pyproject.toml" else "")
    bench.gates(OWN + "\nraise SystemExit('imported')\n")
    bench.file("gates/deep/test_deep.py", "raise SystemExit('imported')\n")
    bench.file("tests/test_mine.py", "def test_of_the_users_own():\n    pass\n")
    with inside(bench.root) as (out, _):
        code = pytest.main(["-p", "no:cacheprovider", "--strict-markers", *args])
    assert "distill: gates/ left alone; judge a batch with --distill-batch=ID" in out.getvalue()
    assert code == (0 if "1 passed" in out.getvalue() else 5)
    assert ("1 passed" in out.getvalue()) is (not args or "tests" in args)


def test_a_folder_called_gates_that_is_no_workspace_is_collected_as_ever(tmp_path: Path) -> None:
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "test_doors.py").write_text("def test_doors():\n    pass\n")
    with inside(tmp_path) as (out, _):
        assert pytest.main(["-p", "no:cacheprovider"]) == 0
    assert "1 passed" in out.getvalue()


def test_a_batch_that_is_not_there_is_refused(bench: Bench) -> None:
    ended = bench.judge(batch="nothing")
    assert ended.code == 4
    assert ended.err.startswith("ERROR [E-BATCH-NOTFOUND]: no batch at ")


def test_a_batch_named_outside_of_a_workspace_is_refused_with_the_way_in(tmp_path: Path) -> None:
    with inside(tmp_path) as (_, err):
        assert pytest.main(["-p", "no:cacheprovider", "--distill-batch=first"]) == 4
    assert err.getvalue().startswith("ERROR [E-BATCH-NOTFOUND]: no batch first: there is no distill.toml in this folder")


BROKEN = {
    "a name that is nothing": (
        '@gate("own.x")\ndef test_x(respnse, require):\n    require("x", 1, at_most=2)\n',
        "setup: it asks for 'respnse', which is no column, measure or fixture. Did you mean response",
    ),
    "a measure misspelt": (
        "@measure(version=1)\ndef link_count(answer_text):\n    return answer_text.str.len_chars()\n"
        '@gate("own.x")\ndef test_x(link_cuont, require):\n    require("x", 1, at_most=2)\n',
        "Did you mean link_count",
    ),
    "a value returned": (
        '@gate("own.x", rejects="x")\ndef test_x(response, quarantine):\n    return response.str.len_chars() > 3\n',
        "it returned a value, which decides nothing: call quarantine(mask)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_beginners_slip_is_told_in_one_line_and_the_rows_are_not_blamed(bench: Bench, name: str) -> None:
    written, said = BROKEN[name]
    bench.gates(written)
    ended = bench.judge()
    assert said in ended.out
    assert "keeper.py" not in ended.out  # no traceback through the plugin
    assert "next: Mend the code of own.x: it came to no figure, whatever the rows are." in ended.out
    assert "Mend the rows" not in ended.out


def test_a_test_that_is_no_gate_and_asks_for_a_gates_fixture_has_no_traceback(bench: Bench) -> None:
    bench.gates("def test_forgotten(quarantine):\n    pass\n")
    ended = bench.judge()
    assert '[E-GATE]: test_forgotten is no gate. Mark it: @gate("your.id").' in ended.out
    assert "keeper.py" not in ended.out
    assert "next: Remove what its findings name." in ended.out


@pytest.mark.parametrize("quiet", [False, True])
def test_a_module_that_cannot_be_imported_is_what_to_mend(bench: Bench, quiet: bool) -> None:
    bench.gates("import no_such_module\n" + OWN)
    ended = bench.judge(*(["-q"] if quiet else []))
    assert "ModuleNotFoundError" in ended.out
    assert "next: Mend what kept own.size from being collected: pytest names it. The other gates wait for that." in ended.out
    assert ended.out.count("it did not run") <= (1 if quiet else 1 + len(ended.record.required))  # once a gate, in the table
    assert "answer.refusal" in ended.out
    assert "distill gates explain" not in ended.out


def test_gates_that_were_left_out_are_to_be_run(bench: Bench) -> None:
    bench.gates(OWN)
    assert "next: Run every gate: pytest --distill-batch=demo" in bench.judge("-k", "size").out
