"""What we use of pytest and xdist that they do not promise. A failing test says what broke and why we need it."""

from __future__ import annotations

import inspect

import pytest
from _pytest.fixtures import FixtureFunctionDefinition
from _pytest.runner import call_and_report
from xdist.scheduler import LoadScopeScheduling


class Look:
    """Notes what items and session look like in a real session."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []
        self.session: pytest.Session | None = None
        self.requests: dict[str, object] = {}
        self.config: pytest.Config | None = None

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.session, self.items, self.config = session, list(session.items), session.config

    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
        self.requests[fixturedef.argname] = request


@pytest.fixture
def look(pytester: pytest.Pytester) -> Look:
    pytester.makepyfile("""
        import pytest

        @pytest.fixture
        def inner():
            return 1

        @pytest.fixture(scope="session")
        def outer():
            return 2

        @pytest.fixture
        def late():
            return 3

        @pytest.mark.usefixtures("outer")
        def test_it(inner, request):
            assert request.getfixturevalue("late") == 3
    """)
    seen = Look()
    assert pytester.inline_run(plugins=[seen]).ret == 0
    return seen


def test_item_fixtureinfo_name2fixturedefs_is_the_closure_the_plan_is_read_from(look: Look) -> None:
    """Broken: no measure is planned ahead, and replaced fixtures in closures are not found."""
    closure = look.items[0]._fixtureinfo.name2fixturedefs  # type: ignore[attr-defined]
    assert {"inner", "outer"} <= set(closure)
    assert "late" not in closure
    assert closure["inner"][-1].func() == 1


def test_session_fixturemanager_getfixturedefs_says_what_a_name_means_to_an_item(look: Look) -> None:
    """Broken: a workspace's measures cannot find their inputs, and raw columns may hide existing fixtures."""
    assert look.session is not None
    manager = look.session._fixturemanager
    (found,) = manager.getfixturedefs("late", look.items[0])
    assert found.func() == 3
    assert not manager.getfixturedefs("nobody", look.items[0])
    assert manager.getfixturedefs("tmp_path", look.session), "the session itself is accepted as the asking node"


def test_fixture_function_definition_gives_its_name_and_the_function_it_wraps() -> None:
    """Broken: the keeper cannot write down which functions stand behind require, quarantine and the raw columns."""

    @pytest.fixture(name="called")
    def function() -> int:
        return 1

    assert isinstance(function, FixtureFunctionDefinition)
    assert function.name == "called"
    assert function._get_wrapped_function()() == 1


def test_an_attribute_set_on_a_fixtures_function_is_on_the_definition_that_pytest_hands_out(look: Look) -> None:
    """Broken: a measure is no longer recognised behind its fixture."""
    definition = look.items[0]._fixtureinfo.name2fixturedefs["inner"][-1]  # type: ignore[attr-defined]
    definition.func.__distill_probe__ = 1
    assert look.session is not None
    (found,) = look.session._fixturemanager.getfixturedefs("inner", look.items[0])
    assert found.func.__distill_probe__ == 1


def test_a_fixtures_request_knows_the_test_it_is_set_up_for_at_every_scope(look: Look) -> None:
    """Broken: a protected fixture that is replaced at a wider scope and asked for late is not found."""
    for name in ("inner", "outer", "late"):
        assert look.requests[name]._pyfuncitem is look.items[0]  # type: ignore[attr-defined]


def test_config_args_and_args_source_tell_what_was_asked_for_and_can_be_set(look: Look) -> None:
    """Broken: suite and workspace gates are not collected, or explicit paths are taken for testpaths."""
    assert look.config is not None
    assert isinstance(look.config.args, list)
    assert look.config.args_source in pytest.Config.ArgsSource
    assert {"ARGS", "INVOCATION_DIR", "TESTPATHS"} <= {source.name for source in pytest.Config.ArgsSource}


def test_call_and_report_runs_an_item_through_the_real_hooks_without_logging_it() -> None:
    """Broken: the canary cannot be sent, so rewritten outcomes are not found."""
    assert list(inspect.signature(call_and_report).parameters)[:3] == ["item", "when", "log"]


def test_load_scope_scheduling_splits_scopes_in_one_place() -> None:
    """Broken: gates spread over several workers, and batch gates judge without the quarantine of the others."""
    assert list(inspect.signature(LoadScopeScheduling._split_scope).parameters) == ["self", "nodeid"]
    assert list(inspect.signature(LoadScopeScheduling.__init__).parameters) == ["self", "config", "log"]


def test_known_args_namespace_holds_paths_before_any_conftest_is_read(pytester: pytest.Pytester) -> None:
    """Broken: a batch folder given as an argument is not recognised before its conftest runs."""
    seen = {}

    class Early:
        @pytest.hookimpl(tryfirst=True)
        def pytest_load_initial_conftests(self, early_config: pytest.Config) -> None:
            seen["paths"] = early_config.known_args_namespace.file_or_dir

    pytester.makepyfile("def test_it(): pass")
    pytest.main([str(pytester.path), "-p", "no:cacheprovider", "--collect-only", "-q"], plugins=[Early()])
    assert seen["paths"] == [str(pytester.path)]
