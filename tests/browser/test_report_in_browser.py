"""The report in a real browser: it can be used by everyone, loads nothing, runs nothing, and shows hostile rows as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import axe_core_python
import chrome
import pytest

AXE = Path(axe_core_python.__path__[0]) / "axe.min.js"
RUN_AXE = """
const done = arguments[arguments.length - 1];
axe.run(document, {resultTypes: ["violations"]}).then(
  found => done(found.violations.map(v => [v.impact, v.id, v.nodes.map(n => n.target.join(" "))])),
  error => done([["critical", String(error), []]]));
"""


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_stands_in_the_way_of_anyone(driver: Any, page: Path, scheme: str, width: int) -> None:
    chrome.show(driver, page, scheme=scheme, width=width)
    driver.execute_script("for (const d of document.querySelectorAll('details')) d.open = true")
    driver.execute_script(AXE.read_text())
    found = driver.execute_async_script(RUN_AXE)
    assert found == []


@pytest.mark.parametrize("width", [1280, 768, 320])
def test_no_page_is_wider_than_its_window(driver: Any, page: Path, width: int) -> None:
    chrome.show(driver, page, width=width)
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def network(driver: Any) -> list[dict[str, Any]]:
    """What the browser's network did since it was last asked."""
    messages = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    return [message for message in messages if message["method"].startswith("Network.")]


def requests(driver: Any) -> list[str]:
    urls = [m["params"]["request"]["url"] for m in network(driver) if m["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("data:,", "about:"))]


def test_a_hostile_batch_is_only_text(driver: Any, hostile_page: Path) -> None:
    driver.get("about:blank")
    for log in ("performance", "browser"):
        driver.get_log(log)
    chrome.show(driver, hostile_page)
    assert driver.execute_script("return window.hit") is None
    assert (
        driver.execute_script("return document.querySelectorAll('script,img,iframe,object,embed,link,base,form,animate').length")
        == 0
    )
    assert driver.execute_script("return document.querySelectorAll('style').length") == 1
    handlers = (
        "return [...document.querySelectorAll('*')].flatMap(e => [...e.attributes]).filter(a => a.name.startsWith('on')).length"
    )
    assert driver.execute_script(handlers) == 0
    links = driver.execute_script("return [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))")
    assert all(link.startswith(("#", "./")) for link in links), links
    assert "<script>window.hit=1;alert(1)</script>" in driver.find_element("tag name", "body").text
    assert requests(driver) == [hostile_page.resolve().as_uri()]
    assert [line for line in driver.get_log("browser") if "favicon" not in line["message"]] == []


def test_even_a_script_that_got_in_would_not_run(driver: Any, page: Path, tmp_path: Path) -> None:
    """The policy of the page is the second wall: here the first one is taken down."""
    planted = tmp_path / "planted.html"
    html = page.read_text()
    planted.write_text(html.replace("</main>", "<script>window.hit=1</script><img src='x.png' onerror='window.hit=1'></main>"))
    driver.get_log("performance")
    chrome.show(driver, planted)
    assert driver.execute_script("return window.hit") is None
    failed = [m["params"].get("blockedReason") for m in network(driver) if m["method"] == "Network.loadingFailed"]
    assert failed == ["csp"]


def shown(driver: Any) -> list[tuple[str, str]]:
    """Status and kind of every gate that is on the screen."""
    gates = "return [...document.querySelectorAll('.gates tbody')].filter(b => b.offsetHeight)"
    return [tuple(pair) for pair in driver.execute_script(f"{gates}.map(b => [b.dataset.status, b.dataset.kind])")]


def test_gates_can_be_filtered_by_keyboard_and_without_a_script(driver: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    chrome.show(driver, page)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    driver.get(page.resolve().as_uri())
    everything = shown(driver)
    try:
        driver.find_element("id", "status-all").send_keys(Keys.ARROW_RIGHT)
        assert {status for status, _ in shown(driver)} == {"no"}
        driver.find_element("id", "kind-both").send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        assert set(shown(driver)) == {pair for pair in everything if pair == ("no", "batch")}
        assert {"remark", "yes", "na"} <= {status for status, _ in everything}
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_reasons_open_by_keyboard(driver: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    chrome.show(driver, page)
    closed = next(d for d in driver.find_elements("css selector", ".gates details") if d.get_attribute("open") is None)
    closed.find_element("tag name", "summary").send_keys(Keys.ENTER)
    assert closed.get_attribute("open") is not None


def test_every_section_is_there_and_can_be_reached(driver: Any, page: Path) -> None:
    chrome.show(driver, page)
    ids = driver.execute_script("return [...document.querySelectorAll('main > section')].map(s => s.id)")
    assert ids == [
        "verdict",
        "funnel",
        "gates",
        "distributions",
        "map",
        "together",
        "rows",
        "trend",
        "drift",
        "clauses",
        "receipts",
        "provenance",
    ]
    targets = driver.execute_script("return [...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href'))")
    assert all(driver.find_elements("css selector", target) for target in targets)
    for link in driver.execute_script(
        "return [...document.querySelectorAll('a[href^=\"./\"]')].map(a => a.getAttribute('href'))"
    ):
        assert (page.parent / link).is_file(), link
