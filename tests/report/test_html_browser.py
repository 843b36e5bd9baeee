"""The page in Chromium: sorting, filtering, links, colours, no requests, no console messages."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from robustbench_wb.report.html.gallery import Gallery, GallerySample, png_data_url, text_pieces
from robustbench_wb.report.html.leaderboard import leaderboard_page
from robustbench_wb.report.html.page import ReportContents, report_page
from robustbench_wb.store.loaded_table import load_table
from tests.report.big_sample import big_table
from tests.report.board_sample import board
from tests.report.test_html import PUBLISHED, everything_page
from tests.store.make import row

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome")
CONTRAST = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const blend = (over, under) => {
    const [r, g, b, a = 1] = over;
    return [r, g, b].map((value, at) => value * a + under[at] * (1 - a));
  };
  const behind = (element) => {
    if (!element) return [255, 255, 255];
    const style = getComputedStyle(element);
    const colour = parse(style.backgroundColor);
    const solid = colour.length === 4 && colour[3] === 0 ? behind(element.parentElement)
      : blend(colour, behind(element.parentElement));
    const shade = style.backgroundImage.match(/rgba?\\([^)]*\\)/);
    return shade ? blend(parse(shade[0]), solid) : solid;
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (one, other) => {
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  document.querySelectorAll("details").forEach((one) => { one.open = true; });
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("script, style, title")) continue;
    const style = getComputedStyle(element);
    const colour = element.closest("svg") ? style.fill : style.color;
    found.push([ratio(parse(colour).slice(0, 3), behind(element)), 4.5, element.outerHTML.slice(0, 120)]);
  }
  document.querySelectorAll(".series use, .series > path, .bar .value").forEach((element) => {
    const style = getComputedStyle(element);
    const colour = element.matches("path") ? style.stroke : style.fill;
    found.push([ratio(parse(colour).slice(0, 3), behind(element)), 3, element.outerHTML.slice(0, 120)]);
  });
  return [found.length, found.filter(([ratio, least]) => !(ratio >= least))];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.fail(f"no browser: install one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Function that opens a page from HTML or contents; afterwards no page may have console messages or requests."""
    troubles: list[str] = []
    contexts = []

    def show(contents: ReportContents | str, **options: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(contents if isinstance(contents, str) else report_page(contents), encoding="utf-8")
        context = browser.new_context(viewport={"width": 1200, "height": 900}, **options)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: troubles.append(f"console: {message.text}"))
        shown.on("pageerror", lambda error: troubles.append(f"error: {error}"))
        shown.on("request", lambda request: troubles.append(request.url) if alien(request.url) else None)
        shown.goto(file.as_uri())
        return shown

    def alien(url: str) -> bool:
        return not url.startswith("data:") and url.split("#")[0] != (tmp_path / "report.html").as_uri()

    yield show
    for context in contexts:
        context.close()
    assert troubles == []


def first_cells(shown: Page, column: int) -> list[str]:
    script = f"rows => rows.filter(row => !row.hidden).map(row => row.cells[{column}].textContent.trim())"
    found: list[str] = shown.locator(".matrix").first.locator("tbody tr").evaluate_all(script)
    return found


def unfolded(shown: Page) -> Page:
    """The page with its table of single evaluations opened, as a reader does."""
    shown.locator("details.single > summary").first.click()
    return shown


def numbers(texts: list[str]) -> list[float]:
    return [float(re.split(r"[ *]", text)[0]) for text in texts if re.match(r"\d", text)]


def test_a_heading_sorts_down_then_up_then_as_it_was(opened: Any) -> None:
    shown = unfolded(opened(ReportContents(name="v1", rows=big_table(20, 2))))
    heading = shown.locator(".matrix thead th").nth(8)
    before = first_cells(shown, 8)
    orders = []
    for expected in ("descending", "ascending", "none"):
        heading.locator("button").focus()
        shown.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == expected
        orders.append(first_cells(shown, 8))
    assert numbers(orders[0]) == sorted(numbers(before), reverse=True)
    assert numbers(orders[1]) == sorted(numbers(before))
    assert orders[2] == before
    assert numbers(before) not in (sorted(numbers(before)), sorted(numbers(before), reverse=True))


def test_what_has_no_number_is_last_in_both_directions(opened: Any) -> None:
    rows = big_table(4, 1)
    at = next(index for index, made in enumerate(rows) if made.strength == "4/255")
    failed = row(None, 1000, "NaN", variant="variant-0", stressor=rows[at].stressor, strength=rows[at].strength)
    gone = next(made for made in rows if made.variant == "variant-1" and made.strength == "4/255")
    rows[at] = failed
    shown = unfolded(opened(ReportContents(name="v1", rows=[made for made in rows if made is not gone])))
    headings = [text or "" for text in shown.locator(".matrix thead th").all_text_contents()]
    column = next(index for index, text in enumerate(headings) if "@4/255" in text)
    for _ in range(2):
        shown.locator(".matrix thead button").nth(column).click()
        cells = first_cells(shown, column)
        assert len(numbers(cells[:2])) == 2
        assert {cells[2][:5], cells[3][:5]} == {"error", "not m"}


def test_filters_hide_rows_and_columns_and_say_so(opened: Any) -> None:
    shown = unfolded(opened(ReportContents(name="v1", rows=big_table(20, 2))))
    shown.get_by_role("searchbox", name="models").fill("VARIANT-1")
    assert len(first_cells(shown, 0)) == 11
    shown.get_by_role("searchbox", name="perturbations").fill("attack-1@8")
    assert shown.locator(".matrix thead th:visible").count() == 2
    assert shown.locator(".single output").first.inner_text() == "11 of 20 rows, 1 of 19 columns"
    shown.get_by_role("searchbox", name="models").fill("")
    shown.get_by_role("searchbox", name="perturbations").fill("")
    assert len(first_cells(shown, 0)) == 20
    assert shown.locator(".matrix thead th:visible").count() == 20


def test_a_number_leads_to_its_own_line_and_opens_what_hides_it(opened: Any) -> None:
    shown = unfolded(opened(ReportContents(name="v1", rows=big_table(3, 2))))
    link = shown.locator(".matrix tbody tr").nth(1).locator("td").nth(4).locator("a")
    target = shown.locator(str(link.get_attribute("href")))
    assert not target.is_visible()
    link.focus()
    shown.keyboard.press("Enter")
    target.wait_for(state="visible")
    assert link.text_content() == f"{100 * float(target.locator('td').first.text_content() or 0):.1f}"
    assert target.evaluate("row => row.getBoundingClientRect().top < innerHeight")


def test_links_between_sections_work_without_a_mouse(opened: Any) -> None:
    shown = opened(everything_page())
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.className") == "skip"
    assert shown.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for link in shown.locator("nav a").all():
        link.focus()
        shown.keyboard.press("Enter")
        name = str(link.get_attribute("href"))
        assert shown.evaluate("location.hash") == name
        assert shown.locator(name).is_visible()


def test_headings_stay_in_view_and_only_the_table_scrolls_sideways(opened: Any) -> None:
    shown = unfolded(opened(ReportContents(name="v1", rows=big_table(20, 11))))
    scroll = shown.locator(".single .scroll").first
    corner = shown.locator(".matrix thead th").first
    before = corner.bounding_box()
    scroll.evaluate("box => box.scrollTo(3000, 400)")
    after = corner.bounding_box()
    assert before is not None
    assert after is not None
    assert before["x"] == after["x"]
    box = scroll.bounding_box()
    assert box is not None
    assert after["y"] >= box["y"]
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")
    scroll.focus()
    assert shown.evaluate("document.activeElement.getAttribute('role')") == "region"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_and_mark_stands_out(opened: Any, scheme: str) -> None:
    shown = opened(everything_page(), color_scheme=scheme)
    looked, faint = shown.evaluate(CONTRAST)
    assert looked > 500
    assert faint == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_leaderboard_stands_out_and_sorts(opened: Any, scheme: str) -> None:
    rows, rankings = board()
    shown = opened(leaderboard_page("v3", rows, rankings, 3), color_scheme=scheme)
    looked, faint = shown.evaluate(CONTRAST)
    assert looked > 100
    assert faint == []
    ranking = shown.locator("table").first
    names = "rows => rows.map(row => row.cells[1].textContent.trim())"
    assert ranking.locator("tbody tr").evaluate_all(names) == ["gone", "crate", "boosting", "vit"]
    ranking.locator("thead button").nth(4).click()
    assert ranking.locator("tbody tr").evaluate_all(names) == ["gone", "crate", "boosting", "vit"]
    radius = ranking.locator("thead button").nth(5)
    radius.click()
    assert ranking.locator("tbody tr").evaluate_all(names) == ["gone", "boosting", "vit", "crate"]
    radius.click()
    assert ranking.locator("tbody tr").evaluate_all(names) == ["vit", "boosting", "gone", "crate"]
    for link in shown.locator("nav a").all():
        link.click()
        assert shown.locator(str(link.get_attribute("href"))).is_visible()
    assert shown.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_dark_page_is_dark_and_print_is_light(opened: Any) -> None:
    ink = "getComputedStyle(document.body).color"
    surface = "getComputedStyle(document.body).backgroundColor"
    light, dark = (opened(everything_page(), color_scheme=scheme) for scheme in ("light", "dark"))
    assert light.evaluate(surface) == "rgb(255, 255, 255)"
    assert dark.evaluate(surface) != light.evaluate(surface)
    assert dark.evaluate(ink) != light.evaluate(ink)
    marks = [
        shown.locator(".series use").first.evaluate("mark => getComputedStyle(mark).fill") for shown in (light, dark)
    ]
    assert marks[0] != marks[1]
    dark.emulate_media(media="print")
    assert dark.evaluate(surface) == "rgb(255, 255, 255)"
    assert not dark.locator("nav").is_visible()
    assert not dark.locator(".filter").first.is_visible()


def test_without_script_nothing_is_missing_but_controls(opened: Any) -> None:
    shown = unfolded(opened(ReportContents(name="v1", rows=big_table(3, 2)), java_script_enabled=False))
    assert shown.locator(".matrix td:visible").count() == 3 * 19
    assert shown.locator("th button, .filter").count() == 0
    shown.locator("#numbers summary").first.click()
    assert shown.locator("#r1").is_visible()


def test_samples_of_a_gallery_are_shown(opened: Any, digits: Any) -> None:
    image = GallerySample(
        name="sample 0, class 2", broken="broken for vit", images=((png_data_url(digits.test.inputs[0]), "clean"),) * 3
    )
    text = GallerySample(
        name="sample 1, class good",
        broken="broken for vit",
        text=tuple(text_pieces("a good film", "a <b>god</b> film")),
    )
    shown = opened(ReportContents(name="v1", rows=big_table(2, 1), gallery=[Gallery("digits", "one", (image, text))]))
    assert shown.locator(".gallery img").count() == 3
    assert shown.locator(".gallery img").first.evaluate("image => image.naturalWidth") == 8
    assert shown.locator(".gallery img").first.get_attribute("alt") == "sample 0, class 2, clean"
    assert shown.locator(".gallery del").all_inner_texts() == ["good"]
    assert "".join(shown.locator(".gallery ins").all_inner_texts()) == "<b>god</b>"


def test_the_policy_lets_nothing_else_run_or_load(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    slipped = "<script>window.ran = 1</script><img src='https://example.org/x.png'><b onclick='window.ran = 1'>x</b>"
    file.write_text(everything_page().replace("</body>", f"{slipped}</body>"), encoding="utf-8")
    shown = browser.new_page()
    loaded: list[str] = []
    shown.on("requestfinished", lambda request: loaded.append(request.url))
    shown.goto(file.as_uri())
    shown.locator("b", has_text="x").last.click()
    assert shown.evaluate("fetch('https://example.org/').then(() => 'loaded', () => 'blocked')") == "blocked"
    assert shown.evaluate("window.ran") is None
    assert loaded == [file.as_uri()]
    shown.close()


def test_how_long_a_page_takes_to_open(opened: Any, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {
        path.stem: ReportContents(name=path.name, rows=load_table(str(path), "results").rows) for path in PUBLISHED
    }
    for name, contents in {**sides, "2,000 rows": ReportContents(name="v1", rows=big_table())}.items():
        shown = opened(contents)
        took = shown.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
        assert took > 0
        with capsys.disabled():
            sys.stdout.write(f"\n{name}: {took:.0f} ms to the end of loading")
