"""The generated pages say what the code says."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"), *(ROOT / "tests").rglob("*.md")]

TOML = re.compile(r"^```toml.*?\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gates_page_is_current(generate: ModuleType) -> None:
    assert generate.GATES.read_text() == generate.gates_page(), "run `make docs`"


def test_policy_page_is_current(generate: ModuleType) -> None:
    text = generate.POLICY.read_text()
    assert generate.policy_page(text) == text, "run `make docs`"


def test_contracts_page_is_current_and_names_every_model(generate: ModuleType) -> None:
    from pytest_distill.contracts import ledger, manifest, run, stage1
    from pytest_distill.contracts.base import Contract

    text = generate.CONTRACTS.read_text()
    assert generate.contracts_page(text) == text, "run `make docs`"
    for module in (ledger, manifest, run, stage1):
        for name, model in vars(module).items():
            if isinstance(model, type) and issubclass(model, Contract) and model.__module__ == module.__name__:
                assert f"<!-- fields: {module.__name__.rpartition('.')[2]}.{name} -->" in text


def test_every_policy_shown_is_one_that_the_standard_suite_accepts() -> None:
    from pytest_distill.policy.model import Policy
    from pytest_distill.suite.declared import check_policy, gate_files, read_file, suite_folder

    declared = {gate.id: gate for file in gate_files(suite_folder()) for gate in read_file(file, "standard")}
    shown = [match for page in (ROOT / "README.md", ROOT / "docs" / "policy.md") for match in TOML.findall(page.read_text())]
    assert len(shown) >= 4
    for body in shown:
        check_policy(declared, Policy.model_validate(tomllib.loads(body)))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name} links to {target}"


def test_a_sign_that_markdown_takes_for_a_tag_is_shown(generate: ModuleType) -> None:
    """The pseudo-empty "<noinput>" was an empty pair of quotes on the page."""
    assert generate.plain('"<noinput>" in `<code>`') == '"&lt;noinput>" in `<code>`'
