"""The comparison page in Debian's Chromium, opened from a file with the network off.

Without Chromium the tests are skipped, but where LIGHTNING_NAS_BROWSER is set, as in CI, they fail.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lightning_nas.runs import Comparison, compare
from lightning_nas.runs.charts import all_charts
from tests.runs.folders import children_file, csv_run, pareto_file, supernet_rows

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
OPTIONS += ["--disable-component-update", "--disable-sync"]
EVIL = "<script>alert(1)</script> & <b>bold</b>"
DRAWN = ".js-plotly-plot .scatterlayer .point"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM.exists() and not os.environ.get("LIGHTNING_NAS_BROWSER"):
        pytest.skip(f"there is no {CHROMIUM}; apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("comparison")
    darts = csv_run(folder / "runs" / "darts" / "version_0", supernet_rows([0.6, 0.5, 0.55, 0.4]), seed=0)
    pareto_file(darts, [(0.6, 500.0), (0.5, 600.0), (0.55, 700.0), (0.4, 800.0)])
    csv_run(folder / "runs" / "darts" / "version_1", supernet_rows([0.7, 0.45, 0.35]), seed=1)
    children_file(folder / "runs" / EVIL.replace("/", "|"), [(0.5, 400), (None, 300), (0.3, 650)])
    (folder / "runs" / "damaged").mkdir()
    (folder / "runs" / "damaged" / "metrics.csv").write_text("a\n1\n")
    comparison = compare([folder / "runs"], folder, "CIFAR-10")
    return folder / "comparison.html", comparison


@pytest.fixture
def page(browser: Any, written: tuple[Path, Comparison]) -> Iterator[Any]:
    """The page; at the end of a test it must have been silent, and must have asked for nothing but itself."""
    context = browser.new_context(viewport={"width": 1280, "height": 1600})
    context.set_offline(True)
    page = context.new_page()
    heard: list[str] = []
    asked: list[str] = []

    def dismiss(dialog: Any) -> None:
        heard.append(dialog.message)
        dialog.dismiss()

    page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.append(str(error)))
    page.on("dialog", dismiss)
    page.on("requestfailed", lambda request: heard.append(request.url))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(written[0].as_uri())
    page.wait_for_selector(DRAWN)
    yield page
    page.wait_for_timeout(100)
    assert heard == []
    assert asked == [written[0].as_uri()]
    context.close()


def test_every_point_is_drawn(page: Any, written: tuple[Path, Comparison]) -> None:
    charts = all_charts(written[1])
    expected = [sum(len(trace["x"]) for trace in chart.traces) for chart in charts]
    assert len(expected) == 5
    assert min(expected) > 0
    plots = page.locator(".js-plotly-plot")
    assert [plots.nth(n).locator(".scatterlayer .point").count() for n in range(plots.count())] == expected
    # within the frame of their chart, and not on one spot
    boxes = [point.bounding_box() for point in plots.first.locator(".scatterlayer .point").all()]
    frame = plots.first.bounding_box()
    assert all(frame["x"] <= box["x"] <= frame["x"] + frame["width"] for box in boxes)
    assert len({(round(box["x"]), round(box["y"])) for box in boxes}) > len(boxes) // 2


def test_the_mouse_over_a_point_shows_what_it_is(page: Any) -> None:
    (dot,) = page.locator("#chart-4 .scatterlayer .trace").nth(1).locator(".point").all()
    box = dot.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    text = page.wait_for_selector("#chart-4 .hovertext").text_content()
    assert EVIL.replace("/", "|") in text  # as the user has written it
    assert "validation error: 30.00%" in text
    assert page.locator("#chart-4 .hovertext script").count() == 0


def test_a_button_hides_a_run_in_all_charts_and_shows_it_again(page: Any, written: tuple[Path, Comparison]) -> None:
    charts = all_charts(written[1])
    all_points = sum(len(trace["x"]) for chart in charts for trace in chart.traces)
    own = sum(len(t["x"]) for chart in charts for t in chart.traces if t["legendgroup"] == "run-1")
    assert own > 5
    button = page.get_by_role("button").nth(1)
    assert page.locator(DRAWN).count() == all_points
    button.click()
    page.wait_for_function(f"document.querySelectorAll('{DRAWN}').length === {all_points - own}")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    page.wait_for_function(f"document.querySelectorAll('{DRAWN}').length === {all_points}")
    assert button.get_attribute("aria-pressed") == "true"


def test_names_are_text_and_nothing_is_cut_off(page: Any, written: tuple[Path, Comparison]) -> None:
    name = EVIL.replace("/", "|")
    assert page.get_by_role("button").first.inner_text().endswith(name)
    assert page.locator("body > script").count() == 2
    assert "Not read" in page.locator("body").inner_text()
    sizes = "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 1600})
        page.wait_for_timeout(300)
        assert page.evaluate(sizes) == [width, width]
