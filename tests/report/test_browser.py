"""Every page in a browser: wide and narrow, light and dark; neither its console nor axe-core complains of anything."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from toy import TINY_SPACE, Toy, accuracy, latency, oracle

import nastk
from nastk.cli import run
from nastk.report.serve import StudyServer
from nastk.reproduce import everything
from nastk.reproduce.items import Cell, Outcome

BROWSER = next(filter(None, map(which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium here")

WAITS = 10_000
"""Milliseconds until something that is drawn in a moment counts as missing, on a busy machine."""

SIZES = ((1400, 1000), (400, 800))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the extra `test` has playwright")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NASTK_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def table(here: Path) -> None:
    """27 networks with accuracies, and latencies on a board."""
    Path("tiny.py").write_text(TINY_SPACE)
    options = ("1", "2", "4")
    archs = [(a, b, c) for a in options for b in options for c in options]
    lines = [f"{'_'.join(x)},{50 + 3 * int(x[0]) + int(x[1]) * 2.5},{sum(map(int, x)) + 0.25}" for x in archs]
    Path("values.csv").write_text("\n".join(["arch,acc,ms", *lines]) + "\n")
    columns = ("--column", "acc:val_accuracy", "--column", "ms:latency", "--device", "board")
    assert run(["data", "import", "values.csv", "--space", "tiny.py:Tiny", *columns]) == 0


def look(browser: Any, address: str, check: Callable[[Any, bool], None]) -> None:
    """Open a page in each size and scheme, and `check` it with the page and whether it is wide.

    axe-core, which takes the longest, sees it wide and light, and narrow and dark.
    """
    from axe_playwright_python.sync_playwright import Axe

    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    for width, height in SIZES:
        for scheme in ("light", "dark"):
            where = f"{width} px, {scheme}"
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme)
            page.goto(address)
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{where}: {wide} px to scroll"
            if (width > 1000) == (scheme == "light"):
                faults = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
                assert not faults, f"{where}: " + "; ".join(f"{v['id']}: {v['nodes'][0]['html']}" for v in faults)
            check(page, width > 1000)
            assert not said, f"{where}: {said}"
    context.close()


def copied(page: Any, button: Any) -> str:
    """What a click on a button copies."""
    button.click()
    page.get_by_text("copied", exact=True).first.wait_for(timeout=WAITS)
    return str(page.evaluate("navigator.clipboard.readText()"))


def column(page: Any, table: Any, k: int) -> list[float]:
    return [float(t.split()[0]) for t in table.locator(f"tbody tr td:nth-child({k})").all_inner_texts()]


def test_the_page_of_a_front(browser: Any, here: Path) -> None:
    def failing(archs: Any) -> Any:
        if archs[0, 3] == 2 and archs[0, 0] == 1:
            raise RuntimeError("out of memory")
        return accuracy(archs)

    goals = [oracle("accuracy", failing), oracle("latency", latency)]
    found = nastk.search(Toy(), goals, "predictor", budget=14, constraints=["latency<=20"], retries=0, seed=1)
    found.report("front.html")

    def check(page: Any, wide: bool) -> None:
        table = page.locator("#table")
        assert page.locator("#plot .limit").count() >= 1, "the limit is drawn"
        texts = page.locator("#course").inner_text()
        assert "out of memory" in texts
        page.locator("#course svg polyline.curve").wait_for(timeout=WAITS)
        first = table.locator("tbody tr").first
        first.locator("summary").click()
        first.locator("details svg rect.node").nth(5).wait_for(timeout=WAITS)
        assert first.locator("details svg rect.node").count() == 6, "input, four choices, output"
        assert copied(page, first.locator("button.copy")) in found.front["arch"].tolist()
        if wide:
            table.locator("thead button.sort").nth(1).click()
            values = column(page, table, 2)
            assert values == sorted(values)
            assert len(values) > 2
        page.locator("#plot svg").focus()
        page.keyboard.press("ArrowRight")
        assert "accuracy" in page.locator("#read").inner_text()
        page.locator("#plot").scroll_into_view_if_needed()
        box = page.locator("#plot").bounding_box()
        page.mouse.move(box["x"] + 120, box["y"] + 60)
        before = page.locator("#plot text").all_inner_texts()
        page.mouse.down()
        page.mouse.move(box["x"] + 240, box["y"] + 200)
        page.mouse.up()
        assert page.locator("#plot text").all_inner_texts() != before, "zoomed"

    look(browser, Path("front.html").resolve().as_uri(), check)


COMPARED: dict[str, list[str]] = {
    "search": ["--searchers", "random,pareto-local-search,pymoo:nsga2", "--budgets", "6,10"],
    "predict": ["--objective", "val_accuracy", "--predictors", "ridge,gp", "--sizes", "5,10"],
}


@pytest.mark.parametrize("what", COMPARED)
@pytest.mark.usefixtures("table")
def test_the_page_of_a_comparison(browser: Any, here: Path, what: str) -> None:
    line = ["bench", what, "--space", "tiny.py:Tiny", "--seeds", "3", "--workers", "1", "--out", "out"]
    assert run([*line, *COMPARED[what]]) == 0

    def check(page: Any, wide: bool) -> None:
        page.wait_for_selector("figure.curves polyline.curve")
        assert page.locator("figure img").count() == 1, "the critical-difference diagram"
        chart = page.locator("figure.curves").first
        assert chart.locator(".band").count() <= chart.locator("svg[tabindex]").count(), "one band a panel"
        buttons = chart.locator(".legend button")
        buttons.nth(1).click()
        assert buttons.nth(1).get_attribute("aria-pressed") == "true"
        svg = chart.locator("svg[tabindex]").first
        svg.scroll_into_view_if_needed()
        box = svg.bounding_box()
        for k in (0, 5):
            page.mouse.move(box["x"] + box["width"] / 2 + k, box["y"] + box["height"] / 2)
        chart.locator(".tip td").first.wait_for(timeout=WAITS)
        assert copied(page, page.get_by_role("button", name="copy this table as CSV").last).startswith("method,")
        if wide:
            table = page.locator("table.front").last
            heads = table.locator("thead th").all_inner_texts()
            metric = {"search": "hypervolume", "predict": "Spearman"}[what]
            table.get_by_role("button", name=metric, exact=True).click()
            values = column(page, table, heads.index(metric) + 1)
            assert values == sorted(values)

    look(browser, Path("out/report.html").resolve().as_uri(), check)


def test_the_page_of_the_papers(browser: Any, here: Path) -> None:
    cells = [
        Cell("random", 0.5, 0.52, 0.03, 5),
        Cell("ours", 0.9, None, reason="no data"),
        Cell("third", 0.7, 0.9, 0.01, 5),
    ]
    done = [everything.Done(item, Outcome(cells), seconds=3.0) for item in everything.ITEMS[:4]]
    everything.write_page(here, "quick", done)

    def check(page: Any, wide: bool) -> None:
        page.locator("table.front a").first.click()
        assert "#" in page.url

    look(browser, (here / "index.html").as_uri(), check)


def test_the_pages_of_studies(browser: Any, here: Path) -> None:
    goals = [oracle("accuracy", accuracy), oracle("latency", latency)]
    nastk.search(Toy(), goals, "random", budget=8, storage="sqlite:///run.db")
    with StudyServer("sqlite:///run.db") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            look(browser, server.url, lambda page, wide: page.locator("table.front a").first.click())
            look(browser, f"{server.url}?study=nastk", lambda page, wide: page.wait_for_selector("#course .curve"))
        finally:
            server.shutdown()
            thread.join()
